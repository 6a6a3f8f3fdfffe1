"""Endings: a login here and its session at Keycloak end together, whichever ends first."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from flask import has_request_context, request

from ...errors import StoreError
from ...events import LoginEnding, TokenRenewed, TokenRevoked
from ...tokens import Token
from ..errors import KeycloakError, NoProviderTokens, SessionEnded
from ..web.scratch import scratch
from . import labels
from .vault import ProviderTokens

if TYPE_CHECKING:
    from ..adapter import Adapter

logger = logging.getLogger("flask_clustertoken.keycloak")


class Endings:
    """What is done when a login ends, and who asks whether its session still lives."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def end_login(self, token: Token, label: str) -> None:
        """Keycloak does not know the session any more: our login ends, on every node.

        By its id and not by its label: the same session may go on at Keycloak (a refresh token
        was used twice), and a label could never log in again.
        """
        self._adapter.authority.revoke_ids([token.id])
        self._adapter.vault.drop(label)

    def login_ending(self, event: LoginEnding) -> None:
        """A user logs out of the app: forget the tokens, and end the session at Keycloak."""
        label = labels.login_label(event.token.labels)
        if label is None:
            return
        mine = scratch()
        tokens = self._last_tokens(label)
        if has_request_context():
            mine.cookies = self._adapter.companion.clearing(request.environ)
        mine.ended, mine.ended_tokens = label, tokens
        if not mine.by_redirect and self._adapter.options.logout == "session":
            # First, and of use also where the store takes nothing: Keycloak calls all others.
            self.end_session(tokens)
        mine.ending = label
        self._adapter.vault.drop(label)

    def login_ended(self, _: TokenRevoked) -> None:
        """The store knows of the logout: what a refresh wrote while it did not, goes too."""
        mine = scratch()
        label, mine.ending = mine.ending, None
        if label is not None and self._adapter.vault.where == "cookie":
            self._adapter.vault.drop(label)

    def _last_tokens(self, label: str) -> ProviderTokens | None:
        """The newest tokens of a login that ends; ``None`` where there are none at hand."""
        cookie = self._adapter.cookie_tokens(label)
        try:
            stored = self._adapter.vault.read(label)
        except StoreError as error:
            logger.warning("the tokens of a login that ends could not be read: %s", error)
            return cookie
        if cookie is None or (stored is not None and stored.number > cookie.number):
            return stored
        return cookie

    def end_session(self, tokens: ProviderTokens | None) -> None:
        """End the session at Keycloak soon, and wait for nothing: it calls us back."""
        if tokens is None or not tokens.refresh_token:
            logger.warning(
                "a login ended here, and its session at Keycloak goes on: there is no refresh "
                "token to end it with; keycloak_logout() ends it by way of the browser"
            )
            return
        try:
            provider = self._adapter.provider()
        except KeycloakError as error:
            logger.warning("a session at Keycloak goes on: %s", error)
            return

        def end() -> None:
            with suppress(SessionEnded):
                provider.end_session(tokens.refresh_token)

        self._adapter.background.run("the logout at Keycloak", end)

    def token_renewed(self, event: TokenRenewed) -> None:
        """Our login lives on: ask Keycloak, at leisure, whether its session does.

        A session that expired at Keycloak is followed by no call.
        """
        label = labels.login_label(event.token.labels)
        if label is None or not has_request_context():
            return
        if self._adapter.cookie_tokens(label) is not None:
            return
        token, provider = event.token, self._adapter.provider()

        def ask() -> None:
            self._adapter.vault.prolong(label)
            if self._adapter.vault.where == "cookie":
                # Only a response can replace those, so the request itself asks.
                return
            try:
                self._adapter.vault.refresh(provider, token, label, None, voluntary=True)
            except SessionEnded:
                self.end_login(token, label)
            except NoProviderTokens:
                pass

        self._adapter.background.look(label, "the look at Keycloak's session", ask)

    def ask_before_renewal(self) -> None:
        """The same where the tokens are in the browser: only a response can replace them."""
        if self._adapter.vault.where != "cookie":
            return
        try:
            token, _ = self._adapter.login()
            if self._adapter.authority.renewal_due(token):
                self._adapter.access_token(voluntary=True)
        except NoProviderTokens:
            return
        except SessionEnded:
            logger.info("a login was not renewed: its session at Keycloak is over")
        except (KeycloakError, StoreError) as error:
            logger.info("whether a session at Keycloak still lives is not known: %s", error)
