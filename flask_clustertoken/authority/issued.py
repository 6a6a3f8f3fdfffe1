"""Issued: a token that was made, with its text; and one that no text spells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tokens import Token, TokenKind, new_id, validation


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its text. The text is shown once; ``repr`` hides it."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.token!r}, text=<hidden>)"


def acting_token(
    subject: str, claims: Mapping[str, Any], kind: TokenKind, scopes: Sequence[str]
) -> Token:
    """A token that no store knows and no text spells: for tests of views."""
    return Token(
        id=new_id(validation.subject(subject)),
        subject=subject,
        kind=kind,
        issued_at=0,
        authenticated_at=0,
        expires_at=None,
        claims=validation.claims(claims),
        scopes=validation.scopes(scopes),
    )
