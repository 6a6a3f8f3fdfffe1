"""Login: what logging in and out does beyond the request.

Functions of what a request's token says (``current``); what they give back, the request's token
remembers and answers with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn

from ..authority import IssuedToken
from ..cluster import Revocation
from ..errors import ForeignOrigin, NotAllowed, StoreUnavailable
from ..events import LoginEnding
from ..tokens import Refusal, Token
from .gate import Gate, tell_of_bearers
from .origin import is_cross_origin, whence


def check_allowed(gate: Gate, current: Token | Refusal, environ: dict[str, Any]) -> None:
    """Raise :class:`NotAllowed` where this request may neither make nor end a login."""
    if gate.by_bearer(environ) or (isinstance(current, Token) and current.kind == "api"):
        if not current:
            tell_of_bearers()
        raise NotAllowed("a bearer token neither makes nor ends logins")
    # Also without a cookie. SameSite holds it back, and the answer would all the same put
    # the account of whoever wrote that page into this browser, or throw its user out.
    if is_cross_origin(environ, gate.trusted_origins):
        raise ForeignOrigin(
            "the request came from a page of another origin; TRUSTED_ORIGINS can allow it. "
            + whence(environ)
        )


#: Refusals of what is a login all the same: whoever logs in or out with it ends it. (Who only has
#: a copy of a bound one can do that much with it, and nothing else.)
_STILL_LOGINS = ("stale", "unproven", "unbound")

#: Those of a login that may be a copy in other hands, and what is missing to know that it is not:
#: by it alone nobody's other logins end.
_MAYBE_COPIES = {
    "unproven": "its browser has not proven that it is on its device",
    "unbound": "it is not bound to a device",
}


def end_unjudged(gate: Gate, current: Token | Refusal) -> None:
    """End the login that came with a request, where it was not accepted and may be good."""
    if isinstance(current, Refusal) and current.reason in _STILL_LOGINS and current.token_id:
        gate.authority.revoke_ids([current.token_id])


def issue(
    gate: Gate,
    current: Token | Refusal,
    asker: Token | None,
    subject: str,
    claims: Mapping[str, Any] | None,
    *,
    since: int | None,
    remember: bool | None,
    labels: Sequence[str],
    authenticated_at: float | datetime | None,
    device: str,
    network: str,
) -> IssuedToken:
    """A new login, in place of *current*; on the strength of *asker*, if that is a token."""
    return gate.authority.issue_login(
        subject,
        claims,
        since=since,
        persistent=remember is not False,
        labels=labels,
        authenticated_at=authenticated_at,
        device=device,
        network=network,
        replaces=current if isinstance(current, Token) else None,
        on=asker,
        check=lambda issued: _check_size(gate, issued),
    )


def end(gate: Gate, current: Token | Refusal) -> Revocation | None:
    """End this login everywhere; ``None`` where there is none."""
    if isinstance(current, Token):
        gate.authority.events.announce(LoginEnding(current))
        return gate.authority.end(current)
    if current.reason in _STILL_LOGINS:
        if current.token_id is None:
            _not_ended(current)
        return gate.authority.revoke_ids([current.token_id])
    return None


def end_everywhere(gate: Gate, current: Token | Refusal) -> Revocation | None:
    """End every login of this subject; ``None`` where nobody is logged in.

    A login that may be a copy ends alone, as in :func:`end`, and :class:`NotAllowed` is raised.
    """
    if isinstance(current, Token):
        gate.authority.events.announce(LoginEnding(current))
        return gate.authority.revoke_subject(current.subject)
    if current.reason == "stale":
        _not_ended(current)
    if current.reason in _MAYBE_COPIES:
        end_unjudged(gate, current)
        _not_everywhere(current, "this login alone was ended")
    return None


def check_others(current: Refusal) -> None:
    """Raise where whoever wants to keep this login would be told that the others had ended."""
    if current.reason == "stale":
        _not_ended(current)
    if current.reason in _MAYBE_COPIES:
        _not_everywhere(current, "no login was ended")


def end_others(gate: Gate, current: Token, asker: Token | None) -> tuple[Revocation, IssuedToken]:
    """End every login of this subject, and the new one that *current* goes on as."""
    revocation = gate.authority.revoke_subject(current.subject, on=asker)
    return revocation, carry_on(gate, current, asker, revocation)


def carry_on(
    gate: Gate, current: Token, asker: Token | None, revocation: Revocation
) -> IssuedToken:
    """The new login that *current* goes on as, behind the mark *revocation* that covers it."""
    # The mark covers who asked for it, like all others. It was there when the mark was
    # set, and counts here as one that was issued at the mark: by that one alone it is
    # not covered.
    return gate.authority.issue_login(
        current.subject,
        current.claims,
        since=revocation.seq,
        persistent=current.persistent,
        labels=current.labels,
        authenticated_at=current.authenticated_at,
        device=current.device,
        network=current.network,
        carries_on=current,
        on=None if asker is None else replace(asker, since=revocation.seq),
        check=lambda issued: _check_size(gate, issued),
    )


def _not_ended(current: Refusal) -> NoReturn:
    """Whoever logs out must not be told that it worked where nothing was ended."""
    raise StoreUnavailable(
        "this login cannot be checked at the moment, so it was not ended"
    ) from current.cause


def _not_everywhere(current: Refusal, instead: str) -> NoReturn:
    raise NotAllowed(
        f"{instead}, since {_MAYBE_COPIES[current.reason]}; log in again to end the others"
    )


def _check_size(gate: Gate, issued: IssuedToken) -> None:
    gate.cookie.header(issued.text, None)
