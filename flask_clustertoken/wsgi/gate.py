"""Gate: what a request's token is judged by, and by whom.

The middleware makes one, and hands it to each request's token instead of itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..authority import IssuedToken, TokenAuthority
from ..tokens import Refusal, Token
from .cookies import Cookie

logger = logging.getLogger("flask_clustertoken")

#: Judges a bearer text that is not ours; ``None``: not mine, ask the next one.
BearerVerifier = Callable[[str, "dict[str, Any]"], "Token | Refusal | None"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What each request is asked for, and who judges it."""

    authority: TokenAuthority
    cookie: Cookie
    #: In small letters, as browsers send them.
    trusted_origins: frozenset[str]
    #: Who else may judge bearer tokens; adapters add theirs to this very list.
    verifiers: list[BearerVerifier]

    def by_bearer(self, environ: dict[str, Any]) -> bool:
        """Whether a bearer token decides: one that is ours to judge, by how it begins."""
        authorization: str | None = environ.get("HTTP_AUTHORIZATION")
        if authorization is None or authorization[:7].lower() != "bearer ":
            return False
        ours = self.authority.settings.bearer_prefixes
        return not ours or authorization[7:].strip().startswith(ours)

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
