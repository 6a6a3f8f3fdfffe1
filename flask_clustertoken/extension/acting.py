"""Acting: requests that a test built by hand, and who makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from ..tokens import Refusal, Token, TokenKind, new_id, validation
from ..wsgi import Gate, RequestToken

#: The token of ``acting_as``, for requests that did not come through ``wsgi_app``.
acting: ContextVar[Token | None] = ContextVar("clustertoken_acting", default=None)


def acting_token(
    subject: str, claims: Mapping[str, Any], kind: TokenKind, scopes: Sequence[str], now: int
) -> Token:
    """A token that no store knows and no text spells, issued at *now* (seconds since 1970)."""
    return Token(
        id=new_id(validation.subject(subject)),
        subject=subject,
        kind=kind,
        issued_at=now,
        authenticated_at=now,
        expires_at=None,
        claims=validation.claims(claims),
        scopes=validation.scopes(scopes),
    )


class HandMade(RequestToken):
    """The token of a request that a test built by hand: ``acting_as`` says who makes it."""

    __slots__ = ("_actor",)

    def __init__(self, gate: Gate, environ: dict[str, Any]) -> None:
        super().__init__(gate, environ)
        self._actor: Token | None = None

    def look(self) -> Token | Refusal:
        actor = acting.get()
        if actor is not self._actor:
            # Somebody else acts now, or nobody any more; a login that was made meanwhile stays.
            if actor is not None or self._found is self._actor:
                self._found = None
            self._actor = actor
        return super().look()

    def asker(self) -> Token | None:
        # (No store knows who acts, so nothing can have ended it.)
        found = super().asker()
        return None if found is self._actor else found

    def _look(self) -> Token | Refusal:
        actor = acting.get()
        return actor if actor is not None else super()._look()
