"""State: the parts of one app's adapter; found in ``app.extensions["keycloak"]``."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from ..authority import TokenAuthority
from ..extension import AppState
from .nodes import Hosts, NodeRegistration, NotBefore
from .options import KeycloakOptions
from .protocol import Background, Origins, Provider, Providers
from .sessions import (
    CarriedTokens,
    Keys,
    LogoutSync,
    ProviderTokenStore,
    Sealer,
    SessionRoles,
    SessionTokens,
    TokenRefresher,
)

EXTENSION_KEY = "keycloak"


@dataclass(frozen=True, slots=True)
class KeycloakState:
    """The parts that ``init_app`` built for one app. Each is given those that it needs."""

    core: AppState
    authority: TokenAuthority
    options: KeycloakOptions
    keys: Keys
    sealer: Sealer
    providers: Providers
    origins: Origins
    background: Background
    not_before: NotBefore
    hosts: Hosts
    registration: NodeRegistration
    provider_tokens: ProviderTokenStore
    refresher: TokenRefresher
    carried: CarriedTokens
    roles: SessionRoles
    tokens: SessionTokens
    logout_sync: LogoutSync

    def provider(self) -> Provider:
        """Keycloak, as this request reaches it. Raises :class:`KeycloakUnavailable` where the
        request names a host that is not ours."""
        return self.origins.provider()


def current_state() -> KeycloakState:
    """The state of the current app; :class:`RuntimeError` where there is none."""
    found = current_app.extensions.get(EXTENSION_KEY)
    if not isinstance(found, KeycloakState):
        raise RuntimeError("Keycloak was not initialised for this app; call Keycloak(app) first")
    return found
