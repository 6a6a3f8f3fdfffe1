"""Response: which cookie an answer takes along that nobody asked for.

A login that is being used is renewed, and a cookie that no key of ours wrote is cleared. (What a
login or a logout sets was decided before the answer began.)
"""

from __future__ import annotations

import logging
from typing import Any

from ..tokens import Refusal, Token
from .gate import Gate
from .origin import ORIGIN_KEYS

#: What a look asks of the request.
_ASKED = (
    "REQUEST_METHOD",
    "HTTP_COOKIE",
    "HTTP_AUTHORIZATION",
    *ORIGIN_KEYS,
)

logger = logging.getLogger("flask_clustertoken")


def cookie_to_set(
    gate: Gate,
    found: Token | Refusal,
    text: str | None,
    slide: bool,
    environ: dict[str, Any],
    looked_at: float | None,
) -> str | None:
    """The ``Set-Cookie`` header for a request on which a look *found* this; ``None`` for none.

    *text* is the accepted cookie's, *slide* whether the request may renew it, *looked_at* when
    it was looked at first (monotonic). Never raises.
    """
    if isinstance(found, Token):
        if text is not None and slide and gate.authority.renewal_due(found):
            return _renewed(gate, found, text, environ, looked_at)
    elif found.garbled and _all_seen(gate, environ):
        return gate.cookie.clearing_header()
    return None


def _all_seen(gate: Gate, environ: dict[str, Any]) -> bool:
    """Whether the cookie was judged in full: a good value may lie behind a flood of others,
    and clearing would take it, too.
    """
    return not gate.by_bearer(environ) and not gate.cookie.flooded(environ)


def _renewed(
    gate: Gate, token: Token, text: str, environ: dict[str, Any], looked_at: float | None
) -> str | None:
    try:
        issued = gate.authority.renew(text, token, came_at=looked_at, request=environ)
        # (Too big for a cookie now, perhaps: another key's name may be longer.)
        return gate.cookie_for(issued) if issued is not None else None
    except Exception:
        # The answer is ready and good; the next request tries again.
        logger.warning("a login could not be renewed", exc_info=True)
        return None


def agent_of(environ: dict[str, Any]) -> str:
    """What the client calls itself, in 200 printable characters."""
    said: str = environ.get("HTTP_USER_AGENT", "")
    return "".join(one if one.isprintable() else "?" for one in said[:200])


def asked_of(environ: dict[str, Any]) -> dict[str, Any]:
    """Of *environ* what a look would ask once the answer has begun."""
    return {key: environ[key] for key in _ASKED if key in environ}
