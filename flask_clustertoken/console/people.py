"""People: who is logged in where, and the end of it. One filter lists, counts and ends."""

from __future__ import annotations

from dataclasses import replace

from flask import Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from ..authority import Person, TokenFilter
from ..cluster import Revocation
from ..extension import own_request_token
from ..tokens import validation
from . import gate
from .filters import args_of, filter_in, filter_to_end

#: Pages of the store that are read for others, where one was found who is called exactly so.
FEW = 2


def search() -> Response:
    """Find people: one exactly, at once; and those whose names begin so, step by step."""
    selecting = gate.authority().selecting
    asked = request.args.get("q", "").strip()
    if asked:
        validation.subject(asked)
    after = request.args.get("after", "")
    exact: Person | None = None
    if asked and not after:
        exact = next(iter(selecting.people(TokenFilter(subject=asked)).people), None)
    # (Who was found is shown at once; others are looked for where somebody goes on.)
    wanted = TokenFilter(prefix=asked)
    found = selecting.people(wanted, after, calls=FEW) if exact else selecting.people(wanted, after)
    return gate.show(
        "people.html",
        asked=asked,
        exact=exact,
        first=not after,
        people=[one for one in found.people if exact is None or one.subject != asked],
        found=found,
        recorded=gate.authority().records_logins,
        me=gate.me().subject,
    )


def tokens() -> Response:
    """What a filter means, page by page."""
    return _list("tokens.html", filter_in(request.args, gate.me()))


def api_tokens() -> Response:
    """The same of API tokens alone."""
    return _list("api_tokens.html", replace(filter_in(request.args, gate.me()), kinds=("api",)))


def _list(template: str, wanted: TokenFilter) -> Response:
    authority = gate.authority()
    found = authority.selecting.page(wanted, request.args.get("after", ""))
    programs = [one.id for one in found.tokens if one.kind == "api"]
    whose = wanted.subject
    return gate.show(
        template,
        lock=authority.locking.standing(subject=whose) if whose else None,
        wanted=wanted,
        args=args_of(wanted, own=request.args.get("own", "")),
        found=found,
        uses=authority.last_uses(programs),
        recorded=authority.records_logins,
        me=gate.me(),
        now=authority.clock.time(),
    )


def ask() -> Response:
    """Before anything ends: what it is, how many, and the first of them."""
    return _ask(request.args)


def _ask(values: MultiDict[str, str], status: int = 200) -> Response:
    """The page that asks. Its form ends one's own login where that is ticked, and says where it
    has to be: :func:`_ends_own`."""
    authority = gate.authority()
    wanted = filter_in(values, gate.me())
    own_ends = _ends_own(wanted)
    if own_ends:
        wanted = replace(wanted, spared=())
    before, after = counted_in(values)
    step = authority.selecting.count(wanted, after)
    return gate.show(
        "end.html",
        status,
        wanted=wanted,
        own_ends=own_ends,
        refused=status >= 400,
        args=args_of(wanted, own=values.get("own", "")),
        count=before + step.count,
        after=step.after,
        share=step.share,
        first=authority.selecting.page(wanted, most=10),
        whole=_as_a_whole(wanted),
        recorded=authority.records_logins,
        me=gate.me(),
    )


def end() -> BaseResponse:
    """End what the filter means: by one entry of the feed where one says it, else one by one."""
    wanted = filter_to_end(request.form, request.args, gate.me())
    if _ends_own(wanted):
        return _ask(request.form, 400)
    said = args_of(wanted, own=request.form.get("own", ""))
    works = gate.works()
    if wanted.mark is None:
        return gate.to_work(works.begin("end", gate.actor(), said=said, wanted=wanted))
    with gate.acting() as actor:
        revocation = _end_all(wanted)
    return gate.to_work(works.begin("end_all", actor, said=said, revocation=revocation))


def _end_all(wanted: TokenFilter) -> Revocation:
    selecting = gate.authority().selecting
    if not wanted.spared:
        return selecting.end_all(wanted)
    # One's own login stays: it goes on as another one, behind the mark that ends all others.
    everybody = replace(wanted, spared=())
    return own_request_token().carry_on(lambda: selecting.end_all(everybody))


def _ends_own(wanted: TokenFilter) -> bool:
    """Whether one entry of the feed ends it, and one's own login with it, which was to be spared.

    That is a label: it ends what is issued behind it, too, so that one's own login cannot go on as
    another one. Without that entry it would be ended halfway: what is recorded, and until now.
    """
    return bool(wanted.spared) and wanted.mark != replace(wanted, spared=()).mark


def _as_a_whole(wanted: TokenFilter) -> bool:
    """Whether also what is not recorded ends, and what is issued until then."""
    return wanted.mark is not None


def counted_in(values: MultiDict[str, str]) -> tuple[int, str]:
    """How far a count has come, which the page's own address says: so many, up to there."""
    after, counted = values.get("after", ""), values.get("counted", "0")
    # (What has more digits than any count, somebody has written.)
    known = counted.isdecimal() and len(counted) <= 12
    return (int(counted), after) if after and known else (0, "")
