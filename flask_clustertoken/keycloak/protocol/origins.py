"""Origins: by which of the app's own addresses Keycloak is reached, where its URL is a path.

Whoever sends a request names the host. So a host counts only where the operator said that it is
the app's: else the server whose keys are believed could be anybody's.
"""

from __future__ import annotations

from flask import Flask, has_request_context, request
from werkzeug.sansio.utils import host_is_trusted

from ...errors import ConfigurationError
from ..errors import KeycloakUnavailable
from ..options import KeycloakOptions
from ..values import plain_origin
from .provider import Provider, Providers


class Origins:
    """Finds the provider of a request, of a message of Keycloak's, or of no request at all."""

    def __init__(self, app: Flask, options: KeycloakOptions, providers: Providers) -> None:
        if options.relative and not (options.origins or app.config.get("TRUSTED_HOSTS")):
            raise ConfigurationError(
                "auth-server-url",
                f"{options.auth_server_url!r} is a path of whichever host a request names, and "
                "whoever sends a request could name their own.",
                "Set KEYCLOAK_ORIGINS to where the app is, or write the whole URL.",
            )
        self._app = app
        self._options = options
        self._providers = providers

    def provider(self) -> Provider:
        """Keycloak, as this request reaches it. Raises :class:`KeycloakUnavailable` where the
        request names a host that is not ours."""
        if not self._options.relative:
            return self._providers.at("")
        if not has_request_context():
            return self._of_ours()
        origin = plain_origin(request.scheme, request.host)
        if not self._is_ours(origin):
            raise KeycloakUnavailable(f"the request names {origin}, which is not known as ours")
        return self._providers.at(origin)

    def for_messages(self) -> Provider:
        """Keycloak, for what it sends us itself: to a host's own address, perhaps, where browsers
        never come."""
        if self._options.relative:
            if self._options.backend_url.startswith("http"):
                return self._of_ours()
            if self._options.origins and not self._is_ours(
                plain_origin(request.scheme, request.host)
            ):
                return self._of_ours()
        return self.provider()

    def _of_ours(self) -> Provider:
        """Where no request says by which address Keycloak is reached."""
        options = self._options
        if options.origins:
            return self._providers.at(options.origins[0])
        if options.backend_url.startswith("http"):
            return self._providers.at(options.backend_url)
        raise ConfigurationError(
            "auth-server-url",
            "it is a path, and there is no request that names the host.",
            "Set KEYCLOAK_ORIGINS, or auth-server-url-for-backend-requests to a whole URL.",
        )

    def _is_ours(self, origin: str) -> bool:
        if self._options.origins:
            return origin in self._options.origins
        # TRUSTED_HOSTS says nothing of ports, and behind another port of our host somebody else
        # may be listening: whose keys would then be believed.
        host = origin.partition("://")[2]
        trusted = self._app.config.get("TRUSTED_HOSTS") or ()
        return not _has_port(host) and host_is_trusted(host, trusted)


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
