"""Desk: the console of an app. Where its pages are, who gets in, and what that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..errors import ConfigurationError, NodesTooOld
from ..extension import fresh_login_required
from ..operations import RotationRefused
from ..tokens import Token, WrongArgument
from . import apitokens, files, gate, keys, locks, overview, people, trail
from .pages import POLICY, Pages, Tab
from .texts import N_, Language

#: How long ago credentials may have been checked where something is to be changed.
MAX_AGE = timedelta(minutes=15)

#: Seconds after which a page that waits asks again.
WAIT = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a page is. *changes*: it changes something, or asks whether it is to: it takes a
    login that is fresh."""

    path: str
    name: str
    view: Callable[[], ResponseReturnValue]
    method: str = "GET"
    changes: bool = False


def watch() -> Response:
    """What comes of an act, until it is over."""
    work = gate.works().find(request.args.get("work", ""))
    if work is None:
        abort(404, "Nothing is known of this any more; what it did is in the audit trail.")
    stands_still = work.stands_still(gate.authority().clock.time())
    wait = 0 if work.over or stands_still else WAIT
    # (One by one: of what is not recorded none is found.)
    logins = work.wanted is not None and "login" in work.wanted.get("kinds", ())
    return gate.show(
        "work.html",
        work=work,
        stands_still=stands_still,
        wait=wait,
        unreached=logins and not gate.authority().records_logins,
    )


def go_on() -> BaseResponse:
    """Somebody goes on with what stands still."""
    works = gate.works()
    work = works.find(request.form.get("work", ""))
    if work is None:
        abort(404, "Nothing is known of this any more; what it did is in the audit trail.")
    if work.stands_still(gate.authority().clock.time()) and work.may_go_on:
        # (Who began it spared their own login, and whoever goes on has another one.)
        spared = "" if work.said.get("own") else gate.me().id
        works.go_on(work, gate.actor(), spared=spared)
    return gate.to_work(work)


ADDRESSES = (
    Address("/", "overview", overview.show),
    Address("/people", "people", people.search),
    Address("/tokens", "tokens", people.tokens),
    Address("/api-tokens", "api_tokens", people.api_tokens),
    Address("/tokens/end", "ask_end", people.ask, changes=True),
    Address("/tokens/end", "end", people.end, "POST", changes=True),
    Address("/tokens/new", "new_token", apitokens.new, changes=True),
    Address("/tokens/new", "issue", apitokens.issue, "POST", changes=True),
    Address("/locks", "locks", locks.show),
    Address("/locks/new", "new_lock", locks.new, changes=True),
    Address("/locks/set", "ask_lock", locks.ask, changes=True),
    Address("/locks/set", "lock", locks.lock, "POST", changes=True),
    Address("/locks/lift", "ask_lift", locks.ask_lift, changes=True),
    Address("/locks/lift", "lift", locks.lift, "POST", changes=True),
    Address("/keys", "keys", keys.show),
    Address("/keys/step", "ask_step", keys.ask, changes=True),
    Address("/keys/step", "take_step", keys.take, "POST", changes=True),
    Address("/audit", "audit", trail.show),
    Address("/revocations", "revocations", trail.revocations),
    Address("/files", "files", files.show),
    Address("/files/get", "send_file", files.send),
    Address("/files/delete", "ask_delete", files.ask, changes=True),
    Address("/files/delete", "delete_file", files.delete, "POST", changes=True),
    Address("/work", "watch", watch),
    Address("/work", "go_on", go_on, "POST", changes=True),
)

TABS = (
    Tab("overview", N_("Overview")),
    Tab("people", N_("People"), ("tokens", "ask_end")),
    Tab("api_tokens", N_("API tokens"), ("new_token", "issue")),
    Tab("locks", N_("Locks"), ("new_lock", "ask_lock", "lock", "ask_lift")),
    Tab("keys", N_("Keys"), ("ask_step",)),
    Tab("audit", N_("Audit trail")),
    Tab("revocations", N_("Revocations")),
    Tab("files", N_("Shared files"), ("ask_delete",)),
)


class Console:
    """The pages of an app's administrators: nodes, people and their tokens, keys, audit trail.

    ``Console(app, may=…)`` or ``init_app(app)``, behind ``ClusterToken(app)``. *may* says of the
    login that asks (a :class:`~flask_clustertoken.Token`) whether it is an administrator's; whoever
    is not is answered by 403 at every address, and whoever is not logged in as at any protected
    view. What changes anything asks for credentials that were checked at most *max_age* ago
    (seconds or a :class:`~datetime.timedelta`; 15 minutes), says before what it will do, and
    afterwards on which nodes it is in force. It comes by POST, and from this origin alone; the
    audit trail says ``by: console`` of it. An API token gets in nowhere.

    *base*, *language* and *policy* are those of :class:`~flask_clustertoken.console.Devices`.
    Raises :class:`~flask_clustertoken.errors.ConfigurationError` without *may*, or where
    *url_prefix* is no path.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        may: Callable[[Token], bool] | None = None,
        url_prefix: str = "/console",
        max_age: float | timedelta = MAX_AGE,
        base: str = "",
        language: Language = None,
        policy: str | None = POLICY,
    ) -> None:
        if not callable(may):
            raise ConfigurationError(
                "Console(may=…)",
                "nobody said who administers this app, and its console shows and ends the logins "
                "of all.",
                "Give a function of the login that asks, such as "
                "may=lambda token: token.subject in ADMINISTRATORS.",
            )
        self._may = may
        self._url_prefix = url_prefix
        self._max_age = max_age
        self._base, self._language, self._policy = base, language, policy
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the pages below *url_prefix*."""
        pages = Pages(
            gate.NAME,
            base=self._base,
            language=self._language,
            policy=self._policy,
        )
        pages.tabs += TABS
        blueprint = pages.blueprint
        blueprint.before_request(gate.let_in)
        fresh = fresh_login_required(max_age=self._max_age)
        for one in ADDRESSES:
            view: Any = fresh(one.view) if one.changes else one.view
            blueprint.add_url_rule(one.path, one.name, view, methods=[one.method])
        blueprint.register_error_handler(WrongArgument, _wrong)
        for refusal in (RotationRefused, NodesTooOld):
            blueprint.register_error_handler(refusal, _refused)
        for code in (400, 404):
            blueprint.register_error_handler(code, _told)
        pages.add_to(app, self._url_prefix)
        app.extensions[gate.KEY] = gate.Rules(pages, self._may)


def _wrong(error: Exception) -> Response:
    said = str(error)
    return gate.show("sorry.html", 400, problem=f"{said[:1].upper()}{said[1:]}.")


def _refused(error: Exception) -> Response:
    said = str(error)
    return gate.show("sorry.html", 409, problem=f"{said[:1].upper()}{said[1:]}.")


def _told(error: HTTPException) -> Response:
    return gate.show("sorry.html", error.code or 400, problem=error.description or error.name)
