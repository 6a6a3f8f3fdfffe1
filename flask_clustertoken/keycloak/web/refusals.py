"""Refusals: what is answered where nobody is logged in, or Keycloak's token cannot be had."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ...extension import NodeNotFresh, TokenMissing, current_request_token, way_to
from ...tokens import Refusal
from ..errors import KeycloakRefused, KeycloakUnavailable, NoProviderTokens, SessionEnded
from ..options import KeycloakOptions
from .routes import NAME

logger = logging.getLogger(__name__)

#: By which Keycloak's Java adapters tell a program from a person.
_PROGRAM = (
    ("X-Requested-With", "xmlhttprequest"),
    ("Faces-Request", "partial/"),
    ("SOAPAction", ""),
)


class RefusalAnswers:
    """The answers of one app."""

    def __init__(self, options: KeycloakOptions) -> None:
        self._options = options

    def by_error(self) -> dict[type[Exception], Callable[[Exception], ResponseReturnValue]]:
        """Errors of ``keycloak_token()`` that a view lets pass, each with its error handler."""
        return {
            SessionEnded: self._not_logged_in,
            NoProviderTokens: self._not_logged_in,
            KeycloakUnavailable: self._unavailable,
            KeycloakRefused: self._unavailable,
        }

    def unauthorized(self, refusal: Refusal) -> ResponseReturnValue:
        """What a protected view answers where nobody is logged in: the login page, or 401."""
        by_bearer = request.headers.get("Authorization", "")[:7].lower() == "bearer "
        if (
            self._options.bearer_only
            or by_bearer
            or (self._options.autodetect_bearer_only and _is_program())
        ):
            raise TokenMissing(refusal)
        refused = TokenMissing(refusal)
        way = way_to(f"{NAME}.login", refused)
        if way is None:
            raise refused
        return way

    def _not_logged_in(self, error: Exception) -> ResponseReturnValue:
        request_token = current_request_token()
        if request_token is not None:
            request_token.policy(strict=True)
        ended = isinstance(error, SessionEnded)
        try:
            return self.unauthorized(Refusal("revoked" if ended else "missing"))
        except HTTPException as answer:
            return answer

    def _unavailable(self, error: Exception) -> ResponseReturnValue:
        logger.warning("Keycloak's token was asked for in vain: %s", error)
        return NodeNotFresh(None, "Keycloak does not answer at the moment. Please try again.")


def _is_program() -> bool:
    return any(
        name in request.headers and request.headers[name].lower().startswith(value)
        for name, value in _PROGRAM
    )
