"""Logout sync: a login here and its session at Keycloak end together, whichever ends first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from flask import has_request_context

from ...authority import TokenAuthority
from ...errors import StoreError
from ...events import LoginEnding, TokenRenewed, TokenRevoked
from ..errors import KeycloakError, NoProviderTokens, SessionEnded
from ..options import KeycloakOptions
from ..protocol import Background, Provider
from . import labels
from .carried import CarriedTokens
from .refresher import TokenRefresher
from .request_state import request_state
from .token_store import ProviderTokens, ProviderTokenStore
from .tokens import SessionTokens

logger = logging.getLogger(__name__)


class LogoutSync:
    """What is done when a login ends, and who asks whether its session still lives.

    *provider* gives Keycloak as the current request reaches it.
    """

    def __init__(
        self,
        authority: TokenAuthority,
        options: KeycloakOptions,
        provider: Callable[[], Provider],
        background: Background,
        store: ProviderTokenStore,
        refresher: TokenRefresher,
        carried: CarriedTokens,
        tokens: SessionTokens,
    ) -> None:
        self._authority = authority
        self._options = options
        self._provider = provider
        self._background = background
        self._store = store
        self._refresher = refresher
        self._carried = carried
        self._tokens = tokens

    def login_ending(self, event: LoginEnding) -> None:
        """A user logs out of the app: forget the tokens, and end the session at Keycloak."""
        label = labels.login_label(event.token.labels)
        if label is None:
            return
        mine = request_state()
        tokens = self._last_tokens(label)
        self._carried.clear()
        mine.ended, mine.ended_tokens = label, tokens
        if not mine.by_redirect and self._options.logout == "session":
            # First, and of use also where the store takes nothing: Keycloak calls all others.
            self.end_session(tokens)
        mine.ending = label
        self._store.drop(label)

    def login_ended(self, _: TokenRevoked) -> None:
        """The store knows of the logout: what a refresh wrote while it did not, goes too."""
        mine = request_state()
        label, mine.ending = mine.ending, None
        if label is not None and self._store.where == "cookie":
            self._store.drop(label)

    def _last_tokens(self, label: str) -> ProviderTokens | None:
        """The newest tokens of a login that ends; ``None`` where there are none at hand."""
        carried = self._carried.read(label)
        try:
            stored = self._store.read(label)
        except StoreError as error:
            logger.warning("the tokens of a login that ends could not be read: %s", error)
            return carried
        if carried is None or (stored is not None and stored.number > carried.number):
            return stored
        return carried

    def end_session(self, tokens: ProviderTokens | None) -> None:
        """End the session at Keycloak soon, and wait for nothing: it calls us back."""
        if tokens is None or not tokens.refresh_token:
            logger.warning(
                "a login ended here, and its session at Keycloak goes on: there is no refresh "
                "token to end it with; keycloak_logout() ends it by way of the browser"
            )
            return
        try:
            provider = self._provider()
        except KeycloakError as error:
            logger.warning("a session at Keycloak goes on: %s", error)
            return

        def end() -> None:
            with suppress(SessionEnded):
                provider.end_session(tokens.refresh_token)

        self._background.run("the logout at Keycloak", end)

    def token_renewed(self, event: TokenRenewed) -> None:
        """Our login lives on: ask Keycloak, at leisure, whether its session does.

        A session that expired at Keycloak is followed by no call.
        """
        label = labels.login_label(event.token.labels)
        if label is None or not has_request_context():
            return
        if self._carried.read(label) is not None:
            return
        token, provider = event.token, self._provider()

        def ask() -> None:
            self._store.prolong(label)
            if self._store.where == "cookie":
                # Only a response can replace those, so the request itself asks.
                return
            try:
                self._refresher.refresh(provider, token, label, None, voluntary=True)
            except SessionEnded:
                self._tokens.end_login(token, label)
            except NoProviderTokens:
                pass

        self._background.look(label, "the look at Keycloak's session", ask)

    def ask_before_renewal(self) -> None:
        """The same where the tokens are in the browser: only a response can replace them."""
        if self._store.where != "cookie":
            return
        try:
            token, _ = self._tokens.login()
            if self._authority.renewal_due(token):
                self._tokens.access_token(voluntary=True)
        except NoProviderTokens:
            return
        except SessionEnded:
            logger.info("a login was not renewed: its session at Keycloak is over")
        except (KeycloakError, StoreError) as error:
            logger.info("whether a session at Keycloak still lives is not known: %s", error)
