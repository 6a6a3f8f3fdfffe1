"""Companion cookie: the provider's tokens in the browser, sealed, in cookies with numbers.

For the token store ``cookie``. A browser keeps 4 KB a cookie and drops a larger one without a
word; servers and proxies read some 8 KB of cookies together. What is larger than
:data:`COMPANION_LIMIT` therefore goes into the cluster store, and no login ends in a loop.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from ...settings import Settings
from ...wsgi import Cookie
from .sealing import Sealer
from .token_store import ProviderTokens

#: Characters of a part.
COMPANION_PART = 3600
#: Characters of all parts together. Beside them go the login's own cookie (up to 2000 with its
#: claims) and those of logins under way, in a header line that gunicorn reads up to 8190.
COMPANION_LIMIT = 4000
#: Characters that the claims of the login's own token may have, roles included.
CLAIMS_LIMIT = 1200
_PURPOSE = "companion"


class CompanionCookie:
    """Reads and writes the cookies of one app."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        base = Cookie.of(settings.cookie)
        bare = base.name.removeprefix("__Host-").removeprefix("__Secure-")
        self._parts = [replace(base, name=f"{bare}_kc{number}") for number in range(8)]
        self._sealer = sealer
        self._max_age = settings.absolute_lifetime or 400 * 86_400

    def read(self, environ: dict[str, Any], label: str) -> ProviderTokens | None:
        """The tokens of the login *label* that the request carries."""
        if self._parts[0].name not in environ.get("HTTP_COOKIE", ""):
            return None
        values = [_one(part, environ) for part in self._parts]
        count, _, start = values[0].partition("~")
        if not count.isdecimal() or not 1 <= int(count) <= len(values):
            return None
        text = "".join([start, *values[1 : int(count)]])
        data = self._sealer.open(text, _PURPOSE, label)
        return ProviderTokens.from_json(data) if data is not None else None

    def headers(
        self, environ: dict[str, Any], label: str, tokens: ProviderTokens, *, persistent: bool
    ) -> list[str] | None:
        """``Set-Cookie`` headers, the removal of surplus parts included; ``None``: too large."""
        text = self._sealer.seal(asdict(tokens), _PURPOSE, label)
        if len(text) > COMPANION_LIMIT:
            return None
        pieces = [text[at : at + COMPANION_PART] for at in range(0, len(text), COMPANION_PART)]
        pieces[0] = f"{len(pieces)}~{pieces[0]}"
        age = self._max_age if persistent else None
        made = [part.header(piece, age) for part, piece in zip(self._parts, pieces, strict=False)]
        return made + self.clearing(environ, len(pieces))

    def clearing(self, environ: dict[str, Any], keep: int = 0) -> list[str]:
        """Headers that remove what the request has beyond the first *keep* parts."""
        there = [part for part in self._parts[keep:] if part.values(environ)]
        return [part.clearing_header() for part in there]


def _one(part: Cookie, environ: dict[str, Any]) -> str:
    return next(iter(part.values(environ)), "")


def fits(claims: dict[str, Any]) -> bool:
    """Whether *claims* leave room for the other cookies."""
    return len(json.dumps(claims)) <= CLAIMS_LIMIT
