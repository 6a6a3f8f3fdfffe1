"""Roles: what whoever is logged in may do, by Keycloak's last word."""

from __future__ import annotations

from ...clock import Clock
from ...errors import StoreError
from ...extension import current_request_token
from ...tokens import Token
from ..options import KeycloakOptions
from ..protocol import claims
from . import labels
from .carried import CarriedTokens
from .token_store import ProviderTokens, ProviderTokenStore

#: Seconds for which this process goes by the roles that it has seen last.
ROLES_REMEMBERED = 10.0
#: Logins whose roles are remembered at once.
ROLES_LIMIT = 10_000


class SessionRoles:
    """The roles of the request's login, and this process's memory of those of others."""

    def __init__(
        self,
        options: KeycloakOptions,
        clock: Clock,
        store: ProviderTokenStore,
        carried: CarriedTokens,
    ) -> None:
        self._options = options
        self._clock = clock
        self._store = store
        self._carried = carried
        #: By a login's label, with the end of the time for which they are good.
        self._known: dict[str, tuple[float, claims.Roles]] = {}

    def current(self) -> frozenset[str]:
        """The current roles: of a bearer token, of the last refreshed access token, or as at
        login."""
        request_token = current_request_token()
        token = request_token.token if request_token is not None else None
        if not isinstance(token, Token):
            return frozenset()
        at_login = claims.roles_from_claims(token.claims)
        label = labels.login_label(token.labels)
        if token.kind == "login" and label is not None:
            found = self._refreshed(label)
            if found is not None:
                return found.mine(self._options)
        return at_login.mine(self._options) if at_login is not None else frozenset()

    def _refreshed(self, label: str) -> claims.Roles | None:
        carried = self._carried.read(label)
        if carried is not None:
            return _roles_of(carried)
        until, roles = self._known.get(label, (float("-inf"), None))
        if roles is not None and self._clock.monotonic() < until:
            return roles
        try:
            tokens = self._store.read(label)
        except StoreError:
            return roles
        return self.remember(label, tokens) if tokens is not None else None

    def remember(self, label: str, tokens: ProviderTokens) -> claims.Roles:
        """The roles in *tokens*, by which this process goes for :data:`ROLES_REMEMBERED` s."""
        roles = _roles_of(tokens)
        if len(self._known) >= ROLES_LIMIT:
            self._known.clear()
        self._known[label] = (self._clock.monotonic() + ROLES_REMEMBERED, roles)
        return roles


def _roles_of(tokens: ProviderTokens) -> claims.Roles:
    """The roles in an access token that was verified when it came."""
    return claims.roles_in(claims.unverified_claims(tokens.access_token))
