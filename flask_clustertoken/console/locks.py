"""Locks: who may not come back in, and until when. They are set and lifted here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, abort, request
from werkzeug.wrappers import Response as BaseResponse

from ..authority import PlannedLock, StandingLock, TokenFilter
from ..tokens import WrongArgument
from . import gate
from .people import counted_in
from .texts import N_
from .words import DAY, HOUR

#: What can be locked, as the form names it; a name goes with the first two.
WHAT = ("subject", "label", "login", "api", "everyone")

#: Seconds after which a lock can end by itself; 0: it stands until it is lifted.
ENDS = (HOUR, 8 * HOUR, DAY, 7 * DAY, 30 * DAY, 0)

#: What the form says of a lock.
FIELDS = ("what", "name", "ends", "message", "spared")

#: Locks of one page.
MOST = 50


def show() -> Response:
    """Those in force, the newest first."""
    try:
        number = max(1, min(int(request.args.get("page", "1")), 10_000))
    except ValueError:
        abort(400, "This is no number of a page.")
    start = (number - 1) * MOST
    found = gate.authority().locking.locks()[::-1]
    return gate.show(
        "locks.html",
        locks=found[start : start + MOST],
        number=number,
        more=len(found) > start + MOST,
        args_of=args_of,
    )


def new(problem: str = "", status: int = 200) -> Response:
    """The form."""
    return gate.show(
        "lock.html", status, what=WHAT, ends=ENDS, given=request.values, problem=problem
    )


def ask() -> Response:
    """Before it is set: whom it locks out, until when, and how many logins end with it."""
    try:
        plan = _planned(request.args)
    except (WrongArgument, TypeError) as error:
        return new(str(error), 400)
    authority, lock = gate.authority(), plan.lock
    ends_logins = (lock.what, lock.name) != ("kind", "api")
    count, after, share = 0, "", 1.0
    if ends_logins:
        wanted = TokenFilter(
            subject=lock.name if lock.what == "subject" else "",
            label=lock.name if lock.what == "label" else "",
            kinds=("login",),
        )
        count, after = counted_in(request.args)
        step = authority.selecting.count(wanted, after)
        count, after, share = count + step.count, step.after, step.share
    return gate.show(
        "lock_out.html",
        lock=lock,
        args={name: request.args[name] for name in FIELDS if request.args.get(name)},
        ends_logins=ends_logins,
        count=count,
        after=after,
        share=share,
        recorded=authority.records_logins,
        stands=authority.locking.standing(**_target(request.args, typed=True)),
    )


def lock() -> BaseResponse:
    """Set it."""
    try:
        lock = _planned(request.form).lock
    except (WrongArgument, TypeError) as error:
        return new(str(error), 400)
    with gate.acting() as actor:
        revocation = gate.authority().locking.lock(
            **_target(request.form, typed=True),
            until=lock.until,
            message=lock.message,
            except_labels=lock.except_labels,
        )
    said = {"what": lock.what, "name": lock.name}
    return gate.to_work(gate.works().begin("lock", actor, said=said, revocation=revocation))


def ask_lift() -> Response:
    """Before it is lifted."""
    lock = _standing(request.args)
    return gate.show("lift.html", lock=lock, args=args_of(lock))


def lift() -> BaseResponse:
    """Lift it. What it has ended stays ended."""
    lock = _standing(request.form)
    with gate.acting() as actor:
        revocation = gate.authority().locking.unlock(**_target(request.form))
    said = {"what": lock.what, "name": lock.name}
    return gate.to_work(gate.works().begin("unlock", actor, said=said, revocation=revocation))


def args_of(lock: StandingLock) -> dict[str, str]:
    """What an address or a form says to mean this lock."""
    return {"what": lock.name} if lock.what == "kind" else {"what": lock.what, "name": lock.name}


def _target(values: Mapping[str, str], *, typed: bool = False) -> dict[str, Any]:
    """Whom *values* name, in the words of locking; a name that somebody *typed* without blanks."""
    what, name = values.get("what", ""), values.get("name", "")
    if what not in WHAT:
        raise WrongArgument(N_("choose what is to be locked"))
    if what in ("subject", "label"):
        return {what: name.strip() if typed else name}
    if typed and name.strip():
        # (Who chose a wrong line there would lock out all.)
        raise WrongArgument(N_("leave the name empty, or choose a person or a label"))
    return {"everyone": True} if what == "everyone" else {"kind": what}


def _planned(values: Mapping[str, str]) -> PlannedLock:
    """The lock that *values* say, which does not lock out whoever asks for it."""
    authority = gate.authority()
    ends = values.get("ends", "")
    if ends not in {str(one) for one in ENDS}:
        raise WrongArgument(N_("choose when it ends"))
    spared = [one.strip() for one in values.get("spared", "").splitlines()]
    plan = authority.locking.plan(
        **_target(values, typed=True),
        until=authority.clock.time() + int(ends) if int(ends) else None,
        message=values.get("message", "").strip(),
        except_labels=[one for one in spared if one],
    )
    if plan.refuses(gate.me()):
        raise WrongArgument(
            N_("this would lock you out as well: spare a label that your own login has")
        )
    return plan


def _standing(values: Mapping[str, str]) -> StandingLock:
    lock = gate.authority().locking.standing(**_target(values))
    if lock is None:
        abort(404, "No such lock stands any more.")
    return lock
