"""Demands: which kind of token and which scopes, checked where they are written.

What is wrong there should stop the start of an app, not each request or, worse, those of API
tokens alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tokens import TokenKind

#: What a view says it needs, for each kind.
NEEDED: dict[TokenKind, str] = {
    "login": "a login; an API token will not do",
    "api": "an API token",
}


def check_kind(kind: Any) -> None:
    """:class:`ValueError` for what is no kind of token."""
    if kind is not None and kind not in NEEDED:
        raise ValueError(f'kind is "login", "api" or None, not {kind!r}')


def checked_scopes(scopes: Any) -> tuple[str, ...]:
    """*scopes*, or :class:`TypeError`. (A text is a list of letters to Python.)"""
    if not isinstance(scopes, Iterable) or isinstance(scopes, str | bytes):
        raise TypeError('scopes is a list of texts: scopes=["read"]')
    found = tuple(scopes)
    if not all(isinstance(one, str) for one in found):
        raise TypeError('scopes is a list of texts: scopes=["read"]')
    return found


def kind_of_test(kind: TokenKind | None, scopes: Iterable[str] | None) -> TokenKind:
    """The kind of token that a test asks for: scopes alone mean an API token."""
    check_kind(kind)
    limited = scopes is not None and checked_scopes(scopes) != ()
    if kind == "login" and limited:
        raise ValueError('scopes limit API tokens only: leave kind="login" out, or the scopes')
    return kind or ("login" if scopes is None else "api")
