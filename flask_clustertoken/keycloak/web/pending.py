"""Pending: the cookies of logins under way, from the redirect to Keycloak until it leads back.

What has to survive until the browser comes back (state, nonce, PKCE verifier, target) travels
sealed in a short-lived cookie of this one login, so any worker of any host can go on.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from ...clock import Clock
from ...settings import SameSite, Settings
from ...wsgi import Cookie
from ..sessions import PendingLogin, Sealer

#: Seconds that a person may take at Keycloak's login page.
LOGIN_LASTS = 1800
#: Logins under way in one browser (tabs), and characters of their cookies together.
LOGINS_AT_ONCE, LOGINS_SIZE = 6, 2800
#: Characters of all cookies together: servers and proxies read some 8 KB, and those of a login
#: that was ended elsewhere are still there.
ALL_COOKIES = 7800
#: Characters of the login's own cookie, at most: its claims have a limit (companion.CLAIMS_LIMIT).
LOGIN_COOKIE = 2000
#: Characters of the page to come back to; from a longer one the login leads to the start.
TARGET_LIMIT = 800
_PURPOSE = "login"


class PendingCookie:
    """Keeps logins under way in the browser, each in a cookie of its own."""

    def __init__(
        self, settings: Settings, path: Callable[[], str], sealer: Sealer, clock: Clock
    ) -> None:
        bare = settings.cookie.name.removeprefix("__Host-").removeprefix("__Secure-")
        # Lax, whatever the login's cookie is: the browser comes back from another site.
        lax: SameSite = "None" if settings.cookie_samesite == "None" else "Lax"
        #: As well guarded as the login's own: whoever can plant a login under way in somebody's
        #: browser logs that browser in as somebody else. So where that one is for this host alone
        #: this one is, too, which takes the path "/". (Any other would not put __Host- there.)
        self._of_host = settings.cookie.name.startswith("__Host-")
        self._cookie = Cookie(
            name=f"{bare}_kclogin_0",
            path="/" if self._of_host else "/-",
            secure=settings.cookie_secure,
            samesite=lax,
        )
        #: Where the app stands is known with a request: a proxy may put a prefix in front.
        self._path = path
        self._login_name = settings.cookie.name
        self._sealer = sealer
        self._clock = clock

    def _for(self, state: str) -> Cookie:
        name = self._cookie.name[:-1] + state[:8]
        path = "/" if self._of_host else self._path()
        return replace(self._cookie, name=name, path=path)

    def header(self, pending: PendingLogin) -> str:
        text = self._sealer.seal(asdict(pending), _PURPOSE, pending.state)
        return self._for(pending.state).header(text, LOGIN_LASTS)

    def clearing(self, state: str) -> str:
        return self._for(state).clearing_header()

    def _sizes(self, cookies: Mapping[str, str]) -> tuple[list[tuple[str, int]], int]:
        """The logins under way with the characters that each takes, and those of all others."""
        prefix = self._cookie.name[:-1]
        there: list[tuple[str, int]] = []
        others = 0
        for name, value in cookies.items():
            size = len(name) + len(value) + 3
            if name.startswith(prefix):
                there.append((name[len(prefix) :], size))
            else:
                others += size
        return there, others

    def fits(self, cookies: Mapping[str, str], new: str) -> bool:
        """Whether *new* has room beside the cookies that are no logins under way."""
        return self._sizes(cookies)[1] + _size(new) <= ALL_COOKIES

    def surplus(self, cookies: Mapping[str, str], new: str) -> list[str]:
        """Headers that remove the oldest logins under way until there is room for *new*."""
        there, others = self._sizes(cookies)
        room = min(LOGINS_SIZE, ALL_COOKIES - others) - _size(new)
        return self._oldest(there, there[1 - LOGINS_AT_ONCE :], room)

    def crowded_out(self, cookies: Mapping[str, str], state: str, coming: list[str]) -> list[str]:
        """Headers that remove the oldest logins under way which have no room beside a new login.

        *state* has just become one, and *coming* are the headers of what it brings. Under the
        path "/" all of it goes with each request.
        """
        if not self._of_host:
            return []
        then = {name: value for name, value in cookies.items() if name != self._for(state).name}
        then[self._login_name] = "x" * LOGIN_COOKIE
        for header in coming:
            name, _, value = header.partition(";")[0].partition("=")
            then[name] = value
        there, others = self._sizes(then)
        return self._oldest(there, there, ALL_COOKIES - others)

    def _oldest(
        self, there: list[tuple[str, int]], candidates: list[tuple[str, int]], room: int
    ) -> list[str]:
        """Headers that remove all but the newest *candidates* that have *room* together."""
        kept = 0
        # A browser sends the oldest first (RFC 6265, 5.4).
        for _, size in reversed(candidates):
            if size > room:
                break
            room -= size
            kept += 1
        return [self.clearing(state) for state, _ in there[: len(there) - kept]]

    def read(self, environ: dict[str, Any], state: str) -> PendingLogin | None:
        """The login under way that *state* names, if this browser began it in time."""
        if not 8 <= len(state) <= 100:
            return None
        for text in self._for(state).values(environ):
            data = self._sealer.open(text, _PURPOSE, state)
            if data is None:
                continue
            try:
                pending = PendingLogin(**data)
            except TypeError:
                # Another version of us began it.
                continue
            if not hmac.compare_digest(pending.state, state):
                continue
            if 0 <= self._clock.time() - pending.began_at + 60 <= LOGIN_LASTS + 60:
                return pending
        return None


def _size(header: str) -> int:
    return len(header.partition(";")[0])
