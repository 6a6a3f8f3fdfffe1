"""Hooks: what is done before and after each request of the app."""

from __future__ import annotations

import logging

from flask import Flask, request
from werkzeug.wrappers import Response

from ...errors import StoreError
from ...extension import current_request_token
from ..errors import KeycloakError, NoProviderTokens, SessionEnded
from ..sessions import request_state
from ..state import KeycloakState
from .routes import NAME, exempt_from_csrf

logger = logging.getLogger(__name__)


class RequestHooks:
    """For ``before_request`` and ``after_request`` of one app."""

    def __init__(self, app: Flask, state: KeycloakState) -> None:
        self._app = app
        self._options = state.options
        self._tokens = state.tokens
        self._logout_sync = state.logout_sync
        self._is_complete = False

    def complete(self) -> None:
        """With the first request: what was added to the app after us has to know of us too.

        (Its own hooks run after this one, since they were added later.)
        """
        if not self._is_complete:
            exempt_from_csrf(self._app)
            self._is_complete = True

    def refresh_always(self) -> None:
        """``always-refresh-token``: with each request of whoever is logged in with Keycloak."""
        if not self._options.always_refresh_token or request.blueprint == NAME:
            return
        if request.endpoint in (None, "static"):
            return
        try:
            self._tokens.login()
        except NoProviderTokens:
            return
        try:
            self._tokens.access_token(forced=True, voluntary=True)
        except SessionEnded:
            request_token = current_request_token()
            if request_token is not None:
                # Looks again: the login was good a moment ago.
                request_token.policy(strict=True)
        except (KeycloakError, StoreError) as error:
            # No reason to throw anybody out before the login's own end.
            logger.warning("the token was not refreshed on this request: %s", error)

    def send_cookies(self, response: Response) -> Response:
        """The companion cookies that this request has made or removed."""
        request_token = current_request_token()
        if request_token is not None and request_token.looked and request_state().cookies is None:
            self._logout_sync.ask_before_renewal()
        for header in request_state().cookies or ():
            response.headers.add("Set-Cookie", header)
            response.headers["Cache-Control"] = "no-store"
        return response
