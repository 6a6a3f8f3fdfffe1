"""Login: the code flow, from the redirect to Keycloak to a login token of our own.

What has to survive until the browser comes back (state, nonce, PKCE verifier, target) travels
sealed in a short-lived cookie of this one login, so any worker of any host can go on.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...clock import Clock
from ...settings import SameSite, Settings
from ...tokens import validation
from ...wsgi import Cookie
from ..errors import KeycloakRefused, NotGenuine
from ..options import Options
from ..protocol import claims
from ..protocol.claims import Roles
from ..protocol.provider import Provider, TokenSet
from ..sessions import labels
from ..sessions.sealing import Sealer

logger = logging.getLogger("flask_clustertoken.keycloak")

#: Seconds that a person may take at Keycloak's login page.
PATIENCE = 1800
#: Logins under way in one browser (tabs), and characters of their cookies together.
TABS, ROOM = 6, 2800
#: Characters of all cookies together: servers and proxies read some 8 KB, and those of a login
#: that was ended elsewhere are still there.
ALL_COOKIES = 7800
#: Characters of the login's own cookie, at most: its claims have a limit (companion.CLAIMS_LIMIT).
LOGIN_COOKIE = 2000
#: Characters of the page to come back to; from a longer one the login leads to the start.
TARGET_LIMIT = 800
_PURPOSE = "login"


@dataclass(frozen=True, slots=True)
class Pending:
    """A login under way. Its ``repr`` hides what nobody else may know."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    target: str
    redirect_uri: str
    began_at: float


def begin(target: str, redirect_uri: str, clock: Clock) -> Pending:
    """A new one; each value is random and used once."""
    state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    return Pending(state, nonce, secrets.token_urlsafe(48), target, redirect_uri, clock.time())


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

    def header(self, pending: Pending) -> str:
        text = self._sealer.seal(asdict(pending), _PURPOSE, pending.state)
        return self._for(pending.state).header(text, PATIENCE)

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
        room = min(ROOM, ALL_COOKIES - others) - _size(new)
        return self._oldest(there, there[1 - TABS :], room)

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

    def read(self, environ: dict[str, Any], state: str) -> Pending | None:
        """The login under way that *state* names, if this browser began it in time."""
        if not 8 <= len(state) <= 100:
            return None
        for text in self._for(state).values(environ):
            data = self._sealer.open(text, _PURPOSE, state)
            if data is None:
                continue
            try:
                pending = Pending(**data)
            except TypeError:
                # Another version of us began it.
                continue
            if not hmac.compare_digest(pending.state, state):
                continue
            if 0 <= self._clock.time() - pending.began_at + 60 <= PATIENCE + 60:
                return pending
        return None


def _size(header: str) -> int:
    return len(header.partition(";")[0])


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom Keycloak vouches for, with what our own login token is made of."""

    subject: str
    claims: dict[str, Any]
    labels: tuple[str, ...]
    authenticated_at: float | None
    tokens: TokenSet
    roles: Roles


def arrive(
    provider: Provider,
    options: Options,
    pending: Pending,
    code: str,
    *,
    not_before: float,
    now: float,
) -> Arrival:
    """Exchange *code* and verify all that comes of it.

    Raises :class:`NotGenuine`, :class:`KeycloakRefused` or :class:`KeycloakUnavailable`.
    """
    session_state = secrets.token_urlsafe(18)
    fields = {"client_session_state": session_state, "client_session_host": options.node_host}
    tokens = provider.exchange(
        code, redirect_uri=pending.redirect_uri, verifier=pending.verifier, session=fields
    )
    issuer = provider.issuer
    header, identity = provider.keys.verify(tokens.id_token, urgent=True)
    claims.check_id_token(
        header,
        identity,
        issuer=issuer,
        client_id=options.client_id,
        nonce=pending.nonce,
        access_token=tokens.access_token,
        now=now,
    )
    # A user's own not-before comes with the response, and concerns this user alone.
    if identity["iat"] < max(not_before, tokens.not_before):
        raise KeycloakRefused("stale", "the login is older than a not-before")
    _, access = provider.keys.verify(tokens.access_token, urgent=True)
    # A lightweight access token names nobody. It came with this ID token, over our own line.
    access = {"sub": identity["sub"], **access}
    claims.check_access_token(
        access,
        issuer=issuer,
        options=replace(options, verify_token_audience=False),
        now=now,
    )
    if access["sub"] != identity["sub"]:
        raise NotGenuine("access token and ID token are of different people")
    roles = claims.roles_in(access)
    made = [labels.session_label(issuer, options.client_id, session_state)]
    sid = identity.get("sid")
    if isinstance(sid, str) and sid:
        made.insert(0, labels.sid_label(issuer, sid))
        try:
            validation.labels(made)
        except ValueError as error:
            raise NotGenuine(f"the session's id cannot be one ({error})") from error
    else:
        logger.warning("the ID token names no session (sid): only k_logout can end this login")
    auth_time = claims.time_in(identity, "auth_time")
    return Arrival(
        subject=identity["sub"],
        claims=_claims(identity, access, options),
        labels=tuple(made),
        authenticated_at=min(auth_time, now) if auth_time is not None else None,
        tokens=tokens,
        roles=roles,
    )


def _claims(
    identity: Mapping[str, Any], access: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    principal = identity.get(options.principal_attribute) or access.get(options.principal_attribute)
    found = {"principal": str(principal or identity["sub"])}
    for name in ("name", "preferred_username", "email"):
        if isinstance(identity.get(name), str):
            found[name] = identity[name]
    return found
