"""Credentials: which of those that a request carries decides, and what is said of it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from ..authority import TokenAuthority
from ..events import TokenRefused
from ..tokens import MISSING, Refusal, Token
from .gate import Gate, tell_of_bearers
from .origin import SAFE_METHODS, is_cross_origin

logger = logging.getLogger("flask_clustertoken")

#: By what header a browser says that it did not get to prove a bound login.
_SKIPPED = "HTTP_SECURE_SESSION_SKIPPED"

#: Why a cookie was not looked at.
CROSS_ORIGIN = Refusal("invalid", "an unsafe request from a page of another origin")


def judge_bearer(gate: Gate, text: str, environ: dict[str, Any], strict: bool) -> Token | Refusal:
    """What the bearer token *text* is good for: an API token of ours, or another verifier's."""
    authority = gate.authority
    if authority.wire.looks_like_api(text):
        return authority.authenticate(text, "api", strict=strict)
    for verify in gate.verifiers:
        found = verify(text, environ)
        if isinstance(found, Refusal):
            authority.refused(found)
        if found is not None:
            return found
    if gate.cookie.values(environ):
        tell_of_bearers()
    return authority.authenticate(text, "api", strict=strict)


def judge_cookies(
    gate: Gate, values: list[str], environ: dict[str, Any], strict: bool
) -> tuple[Token | Refusal, str | None]:
    """What the cookie's *values* are good for, and the one that was accepted."""
    if not values:
        return MISSING, None
    authority = gate.authority
    # (Asked where it may say so: most requests are safe ones, and a call costs a third of a
    # microsecond.)
    plain = environ.get("REQUEST_METHOD") in SAFE_METHODS and "HTTP_UPGRADE" not in environ
    if not plain and is_cross_origin(environ, gate.trusted_origins):
        authority.refused(CROSS_ORIGIN)
        return CROSS_ORIGIN, None
    # Several under one name: a parent domain's, or an attack. One at most is honoured.
    refusal: Refusal | None = None
    for text in values:
        found = authority.authenticate(
            text, "login", strict=strict, proofs=gate.bound.values, request=environ
        )
        if isinstance(found, Token):
            return found, text
        if refusal is None or _telling(found) > _telling(refusal):
            refusal = found
    return MISSING if refusal is None else refusal, None


def was_not_asked(refusal: Refusal, environ: Mapping[str, Any]) -> bool:
    """Whether *refusal* is of a bound login whose browser says that it did not get to prove it.

    That is "try again", and no reason to log in. Anybody may write the header: it makes a refusal
    milder, and never anything good.
    """
    return refusal.reason == "unproven" and _SKIPPED in environ


def unjudged(authority: TokenAuthority, error: Exception) -> Refusal:
    """The refusal where judging itself failed with *error*."""
    # Whatever failed, it authenticates nobody; that the token is bad is not known either. The
    # error's own text is left out: it may quote what it read.
    logger.error(
        "a token could not be judged: %s\n%s",
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)),
    )
    refusal = Refusal("stale", "an error while it was judged", cause=error)
    authority.events.announce(TokenRefused(refusal))
    return refusal


def _telling(refusal: Refusal) -> int:
    """Of several refused cookies, which one decides: what may still be good, then what was."""
    if refusal.reason == "stale":
        return 3
    if refusal.reason in ("unproven", "unbound"):
        return 2
    return 2 if refusal.reason in ("expired", "revoked", "locked") else int(not refusal.garbled)
