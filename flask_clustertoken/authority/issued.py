"""Issued: a token that was made, with its text."""

from __future__ import annotations

from dataclasses import dataclass

from ..tokens import Token


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its text. The text is shown once; ``repr`` hides it."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.token!r}, text=<hidden>)"
