"""Actor: on whose behalf a request does something, for the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..audit import Actor, network_of
from ..tokens import Refusal, Token


def actor_of(current: Token | Refusal | None, environ: Mapping[str, Any]) -> Actor:
    """Whoever sent the request, by the token *current* that it carried, if it was looked at."""
    token = current if isinstance(current, Token) else None
    return Actor(
        by="request",
        subject=token.subject if token is not None else "",
        token_id=token.id if token is not None else "",
        network=network_of(environ.get("REMOTE_ADDR") or ""),
    )
