"""Streams: what a stream or a socket tells its client when the token is over."""

from __future__ import annotations

from ..tokens import Refusal, Token
from .globals import CurrentToken

#: With which code a WebSocket is closed then; the reason is the refusal's. (Of those that
#: applications may choose, the one that looks like 401.)
CLOSE_CODE = 4401


def end_event(refusal: Refusal) -> str:
    """The last of server-sent events: named ``end``, with the refusal's reason as its data."""
    return f"event: end\ndata: {refusal.reason}\n\n"


def watched(token: Token | CurrentToken) -> Token:
    """The token itself. :class:`TypeError` where there is none."""
    found = token.token if isinstance(token, CurrentToken) else token
    if not isinstance(found, Token):
        raise TypeError(
            "there is no token to watch: nobody is logged in here (protect the view, with "
            "@token_required)"
        )
    return found
