"""Messages: the addresses that Keycloak calls. What they tell us is judged, and obeyed in time."""

from __future__ import annotations

import logging

from flask import Flask, make_response, request
from flask.typing import ResponseReturnValue

from ...clock import Clock
from ...errors import StoreError
from ...oidc import LogoutTokens, NotGenuine, ProviderUnavailable, Reception, message_body
from ..options import KeycloakOptions
from ..protocol import Origins, Provider, claims
from .receiver import Receiver

logger = logging.getLogger(__name__)


class ServersViews:
    """What Keycloak calls. No redirect, no cookie looked at, an answer well under 5 seconds."""

    def __init__(
        self,
        app: Flask,
        options: KeycloakOptions,
        clock: Clock,
        origins: Origins,
        receiver: Receiver,
    ) -> None:
        self._options = options
        self._clock = clock
        self._origins = origins
        self._receiver = receiver
        self._reception = Reception(app.app_context)
        self._logout_tokens = LogoutTokens(
            self._reception,
            clock,
            client_id=options.client_id,
            obey=receiver.obey_logout_token,
        )

    def admin(self, action: str) -> ResponseReturnValue:
        """``k_logout``, ``k_push_not_before``, ``k_test_available``: 200, 400, 403 or 503."""
        text = message_body(request)
        try:
            provider = self._origins.for_messages()
            self._reception.in_time(text, provider.keys, lambda: self._obey(action, text, provider))
        except _NotSigned as error:
            return _answer(action, 403, str(error))
        except NotGenuine as error:
            return _answer(action, 400, str(error))
        except (StoreError, ProviderUnavailable) as error:
            return _answer(action, 503, str(error))
        return _answer(action, 200)

    def _obey(self, action: str, text: str, provider: Provider) -> None:
        try:
            _, said = provider.keys.verify(text, urgent=True)
        except NotGenuine as error:
            raise _NotSigned(str(error)) from error
        message = claims.read_admin_message(
            said,
            action=action,
            client_id=self._options.client_id,
            now=self._clock.time(),
        )
        self._receiver.obey(message, text, provider.issuer)

    def logout_token(self) -> ResponseReturnValue:
        """OpenID Connect Back-Channel Logout 1.0: 200, or 400 with an OAuth error."""
        return self._logout_tokens.answer(request, self._origins.for_messages)


class _NotSigned(NotGenuine):
    """Not even the signature holds: Keycloak's adapters answer that by another status."""


def _answer(what: str, status: int, problem: str = "") -> ResponseReturnValue:
    if problem:
        logger.warning("%s was answered with %d: %s", what, status, problem)
    answer = make_response(problem, status)
    answer.headers["Cache-Control"] = "no-store"
    answer.mimetype = "text/plain"
    return answer
