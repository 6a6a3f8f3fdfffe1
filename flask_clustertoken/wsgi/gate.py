"""Gate: what a request's token is judged by, and by whom.

The middleware makes one, and hands it to each request's token instead of itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from ..authority import IssuedToken, TokenAuthority
from ..tokens import Refusal, Token
from .cookies import Cookie

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger("flask_clustertoken")

#: Judges a bearer text that is not ours; ``None``: not mine, ask the next one.
BearerVerifier = Callable[[str, "dict[str, Any]"], "Token | Refusal | None"]


class Binder(Protocol):
    """What binds logins to devices, where that is set; the room ``binding`` has it."""

    def offer(self, environ: dict[str, Any], token: Token) -> tuple[str, str]:
        """The header by which a browser is asked to bind the new login *token*."""
        ...

    def answer(self, environ: dict[str, Any], gate: Gate) -> WSGIApplication | None:
        """What answers the request, where it is a browser's that binds or proves a login."""
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """What each request is asked for, and who judges it."""

    authority: TokenAuthority
    cookie: Cookie
    #: In small letters, as browsers send them.
    trusted_origins: frozenset[str]
    #: Who else may judge bearer tokens; adapters add theirs to this very list.
    verifiers: list[BearerVerifier]
    binder: Binder | None = None
    #: The cookie that proves bound logins.
    bound: Cookie = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", Cookie.of(self.authority.settings.bound_cookie))

    def by_bearer(self, environ: dict[str, Any]) -> bool:
        """Whether a bearer token decides: one that is ours to judge, by how it begins."""
        authorization: str | None = environ.get("HTTP_AUTHORIZATION")
        if authorization is None or authorization[:7].lower() != "bearer ":
            return False
        ours = self.authority.settings.bearer_prefixes
        return not ours or authorization[7:].strip().startswith(ours)

    def bound_cookie_for(self, token: Token) -> str:
        """The ``Set-Cookie`` header that proves the bound *token* for a while."""
        text, kept = self.authority.proving.proof(token)
        return self.bound.header(text, kept)

    def cookie_for(self, issued: IssuedToken) -> str:
        """The ``Set-Cookie`` header of *issued*.

        Raises :class:`~flask_clustertoken.errors.ValueTooLarge`.
        """
        token = issued.token
        max_age = None
        if token.persistent and token.expires_at is not None:
            max_age = max(0, token.expires_at - int(self.authority.clock.time()))
        return self.cookie.header(issued.text, max_age)


@cache
def tell_of_bearers() -> None:
    """Once a process: whoever sends such requests should not fill the log."""
    logger.warning(
        "a bearer token that is not ours decided over a login's cookie, or stood in the way of a "
        "login: if a proxy adds it, say in CLUSTERTOKEN_BEARER_PREFIXES how yours begin"
    )
