"""The one cookie: read from an environ, written as a header.

Its name and attributes are the settings' (:mod:`~flask_clustertoken.settings.cookie`).
"""

from __future__ import annotations

import logging
from dataclasses import fields
from functools import cache
from typing import Any

from werkzeug.http import dump_cookie

from ..errors import ValueTooLarge
from ..settings import CookieAttributes

logger = logging.getLogger("flask_clustertoken")

#: Bytes of name and value together that browsers keep (rfc6265bis).
COOKIE_LIMIT = 4096

#: Values under our name that are looked at: more is an attack, not a browser. With as many, what
#: lies behind them was not judged.
CANDIDATES = 4


class Cookie(CookieAttributes):
    """The cookie with these attributes, read and written."""

    __slots__ = ()

    @classmethod
    def of(cls, attributes: CookieAttributes) -> Cookie:
        """The cookie that has *attributes* (those of the settings, for one)."""
        return cls(*(getattr(attributes, one.name) for one in fields(attributes)))

    def values(self, environ: dict[str, Any]) -> list[str]:
        """What the request carries under our exact name, at most :data:`CANDIDATES` of them.

        Cut by hand: one cookie by search costs 0.4 µs, parsing them all 4 to 20 (measured).
        """
        header: str = environ.get("HTTP_COOKIE", "")
        wanted = self.name + "="
        parts = header.split(wanted)
        if len(parts) == 2:
            before, rest = parts
            if not before or before[-2:] == "; ":
                # One, set apart as browsers do it.
                value = rest.partition(";")[0].strip(" \t")
                return [_bare(value) if value[-1:] == '"' or "," in value else value]
        return self._candidates(header, wanted) if len(parts) > 1 else []

    def _candidates(self, header: str, wanted: str) -> list[str]:
        # A gateway may have joined the cookies with commas. Browsers let one stand inside a value,
        # too: behind it anybody who may set *some* cookie for this host could write one of ours,
        # with a prefix that no browser has looked at. So what a prefix promises is not read there.
        promised = wanted.lower().startswith(("__host-", "__secure-"))
        joints = ";" if promised else ";,"
        start = header.find(wanted)
        found: list[str] = []
        while start >= 0 and len(found) < CANDIDATES:
            end = _end(header, start, joints)
            if _begins(header, start, joints):
                value = _bare(header[start + len(wanted) : end].strip(" \t"))
                if value not in found:
                    found.append(value)
            elif promised and _begins(header, start, ","):
                _tell_of_commas(self.name)
            start = header.find(wanted, end)
        return found

    def flooded(self, environ: dict[str, Any]) -> bool:
        """Whether :meth:`values` may have left some out. Lookalikes count: when in doubt, yes."""
        header: str = environ.get("HTTP_COOKIE", "")
        return header.count(self.name + "=") >= CANDIDATES

    def header(self, value: str, max_age: int | None) -> str:
        """The ``Set-Cookie`` header; *max_age* ``None`` ends with the browser.

        Raises :class:`ValueTooLarge` where a browser would silently drop it.
        """
        size = len(self.name) + len(value)
        if size > COOKIE_LIMIT:
            raise ValueTooLarge(
                "the login token's cookie",
                size,
                COOKIE_LIMIT,
                "Put less into the claims, or use TOKEN_STORE='session', which keeps them in "
                "the cluster store.",
            )
        return dump_cookie(
            self.name,
            value,
            max_age=max_age,
            domain=self.domain,
            path=self.path,
            secure=self.secure,
            httponly=self.httponly,
            samesite=self.samesite,
            partitioned=self.partitioned,
            max_size=0,
        )

    def clearing_header(self) -> str:
        """Removes the cookie: the same attributes, or the browser would keep it."""
        return dump_cookie(
            self.name,
            "",
            max_age=0,
            expires=0,
            domain=self.domain,
            path=self.path,
            secure=self.secure,
            httponly=self.httponly,
            samesite=self.samesite,
            partitioned=self.partitioned,
        )


def _begins(header: str, start: int, joints: str) -> bool:
    """Whether a cookie begins at *start*, and not in the middle of another one's name."""
    before = start - 1
    while before >= 0 and header[before] in " \t":
        before -= 1
    return before < 0 or header[before] in joints


def _end(header: str, start: int, joints: str) -> int:
    """Where the cookie that begins at *start* ends."""
    ends = [end for end in (header.find(one, start) for one in joints) if end >= 0]
    return min(ends, default=len(header))


def _bare(value: str) -> str:
    """*value* without what Java's clients and gateways put round it; ours has none of it.

    They write a value in double quotes (RFC 2109 asked for it), and join cookies with a comma.
    """
    value = value.partition(",")[0].rstrip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


@cache
def _tell_of_commas(name: str) -> None:
    """Once a process: whoever sends such requests should not fill the log."""
    logger.warning(
        "a Cookie header has %s behind a comma, where it is not read: a page of a sibling domain "
        "could have written it there; let the gateway join cookies with '; ' (RFC 9113, 8.2.3)",
        name,
    )
