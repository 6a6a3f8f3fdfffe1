"""KeycloakOptions: a client's ``keycloak.json`` as it is, and the few settings of our own.

The names are those of Keycloak's Java adapter. What is not honoured is named at start with
what to do instead; nothing is silently ignored.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .values import (
    choice,
    filled,
    read_connections,
    read_flag,
    read_milliseconds,
    read_number,
    read_origins,
    read_path,
    read_scope,
    read_seconds,
    read_text,
    read_url,
    wrong,
)

SETTINGS_PREFIX = "KEYCLOAK_"


ClientAuth = Literal["client_secret_basic", "client_secret_jwt", "none"]


@dataclass(frozen=True, slots=True)
class KeycloakOptions:
    """One client of one realm, and how we speak with it. Durations are seconds."""

    realm: str
    client_id: str
    #: With scheme and host, or a path that is resolved against the request's own origin.
    auth_server_url: str
    #: The same server as our hosts reach it, where that differs.
    backend_url: str = ""
    client_auth: ClientAuth = "client_secret_basic"
    secret: str = field(default="", repr=False)
    #: How the client's own assertions are signed, with ``client_secret_jwt``.
    secret_algorithm: str = "HS256"
    bearer_only: bool = False
    autodetect_bearer_only: bool = False
    use_resource_role_mappings: bool = False
    principal_attribute: str = "sub"
    verify_token_audience: bool = False
    always_refresh_token: bool = False
    token_minimum_time_to_live: int = 0
    register_node_at_startup: bool = False
    register_node_period: int = -1
    min_time_between_jwks_requests: int = 10
    public_key_cache_ttl: int = 86_400
    connection_pool_size: int = 20
    connect_timeout: float = 3.0
    read_timeout: float = 5.0
    proxy_url: str = ""
    #: Of our own, from ``app.config``.
    url_prefix: str = "/keycloak"
    logout: Literal["session", "local"] = "session"
    after_logout: str = "/"
    node_host: str = ""
    scope: str = "openid"
    ca_bundle: str = ""
    #: Where the app is, as ``scheme://host[:port]``: a relative URL is resolved against these only.
    origins: tuple[str, ...] = ()
    #: What was given and is not honoured, with what to do.
    not_honoured: Mapping[str, str] = field(default_factory=dict)

    @property
    def relative(self) -> bool:
        """Whether ``auth-server-url`` is a path of whichever origin the browser uses."""
        return self.auth_server_url.startswith("/")


_SIMPLE: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "realm": ("realm", read_text),
    "resource": ("client_id", read_text),
    "auth-server-url": ("auth_server_url", read_url),
    "auth-server-url-for-backend-requests": ("backend_url", read_url),
    "bearer-only": ("bearer_only", read_flag),
    "autodetect-bearer-only": ("autodetect_bearer_only", read_flag),
    "use-resource-role-mappings": ("use_resource_role_mappings", read_flag),
    "principal-attribute": ("principal_attribute", read_text),
    "verify-token-audience": ("verify_token_audience", read_flag),
    "always-refresh-token": ("always_refresh_token", read_flag),
    "token-minimum-time-to-live": ("token_minimum_time_to_live", read_number),
    "register-node-at-startup": ("register_node_at_startup", read_flag),
    "register-node-period": ("register_node_period", read_number),
    "min-time-between-jwks-requests": ("min_time_between_jwks_requests", read_number),
    "public-key-cache-ttl": ("public_key_cache_ttl", read_number),
    "connection-pool-size": ("connection_pool_size", read_connections),
    "connection-timeout-millis": ("connect_timeout", read_milliseconds),
    "socket-timeout-millis": ("read_timeout", read_milliseconds),
    "proxy-url": ("proxy_url", read_url),
}

#: Given and needing nothing: what they ask for is always so here, or has no counterpart.
_NOT_NEEDED = {
    "enable-pkce",  # always on
    "ignore-oauth-query-parameter",  # a token in the query is never read
    "turn-off-change-session-id-on-login",  # each login is a new token
    "confidential-port",
    "ssl-required",  # read below: only "all" is named
    "expose-token",  # read below: only "true" is named
    "enable-cors",
    "enable-basic-auth",
    "disable-trust-manager",
    "allow-any-hostname",
}

#: Given (or given as true) and not honoured: what to do instead.
_INSTEAD = {
    "realm-public-key": "the realm's keys are read from Keycloak, so that they may rotate; "
    "remove it.",
    "enable-cors": "use Flask-CORS, or answer preflight requests in the proxy.",
    "cors-max-age": "use Flask-CORS.",
    "cors-allowed-methods": "use Flask-CORS.",
    "cors-allowed-headers": "use Flask-CORS.",
    "cors-exposed-headers": "use Flask-CORS.",
    "enable-basic-auth": "passwords belong to Keycloak's own page; use tokens for programs.",
    "expose-token": "call keycloak_token() in a view of your own.",
    "adapter-state-cookie-path": "set CLUSTERTOKEN_COOKIE_PATH.",
    "token-cookie-path": "set CLUSTERTOKEN_COOKIE_PATH.",
    "redirect-rewrite-rules": "let werkzeug's ProxyFix tell the app its own address.",
    "policy-enforcer": "ask Keycloak's authorization services with keycloak_token().",
    "allow-any-hostname": "host names are always checked; issue a certificate for the right name.",
    "disable-trust-manager": "certificates are always checked; set KEYCLOAK_CA_BUNDLE.",
    "connection-ttl-millis": "connections are kept while they work, and replaced once they are "
    "broken; remove it.",
    "truststore": "a Java key store cannot be read; set KEYCLOAK_CA_BUNDLE to a PEM file.",
    "truststore-password": "see truststore.",
    "client-keystore": "a Java key store cannot be read; let the proxy present the certificate.",
    "client-keystore-password": "see client-keystore.",
    "client-key-password": "see client-keystore.",
}

_SSL = (
    "CLUSTERTOKEN_COOKIE_SECURE (on by default) keeps logins to HTTPS; for bearer tokens let the "
    "proxy refuse plain HTTP, and write https:// in auth-server-url."
)

_OWN: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "URL_PREFIX": ("url_prefix", read_url),
    "LOGOUT": ("logout", choice("session", "local")),
    "AFTER_LOGOUT": ("after_logout", read_path),
    "NODE_HOST": ("node_host", read_text),
    "SCOPE": ("scope", read_scope),
    "CA_BUNDLE": ("ca_bundle", read_text),
    "ORIGINS": ("origins", read_origins),
}


def _credentials(value: Any, public: bool) -> dict[str, Any]:
    if public:
        return {"client_auth": "none"}
    if not isinstance(value, Mapping):
        raise wrong("credentials", "not an object.", 'Write {"secret": "…"}.')
    if "secret" in value:
        return {
            "client_auth": "client_secret_basic",
            "secret": read_text("credentials.secret", value["secret"]),
        }
    if "secret-jwt" in value:
        inner = value["secret-jwt"]
        if not isinstance(inner, Mapping):
            inner = {"secret": inner}
        algorithm = inner.get("algorithm") or "HS256"
        return {
            "client_auth": "client_secret_jwt",
            "secret": read_text("credentials.secret-jwt.secret", inner.get("secret")),
            "secret_algorithm": choice("HS256", "HS384", "HS512")(
                "credentials.secret-jwt.algorithm", algorithm
            ),
        }
    raise wrong(
        "credentials",
        "only 'secret' and 'secret-jwt' can be used (a Java key store cannot be read).",
        "Set the client's authenticator to 'Client Id and Secret' or 'Signed JWT with Client "
        "Secret' in Keycloak.",
    )


def read_options(data: Mapping[str, Any], token_store: str = "session") -> KeycloakOptions:
    """The options in *data*, the contents of a ``keycloak.json``.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` that names what is unknown,
    missing or contradicts *token_store*.
    """
    data = {name: filled(value) for name, value in data.items()}
    given: dict[str, Any] = {}
    unhonoured: dict[str, str] = {}
    public = read_flag("public-client", data.pop("public-client", False))
    credentials = data.pop("credentials", None)
    store = data.pop("token-store", None)
    for name, value in data.items():
        if name in _SIMPLE:
            key, read = _SIMPLE[name]
            found = read(name, value)
            if found is not None:
                given[key] = found
        elif name in _INSTEAD:
            if value is not False and str(value).lower() != "false":
                unhonoured[name] = _INSTEAD[name]
        elif name == "ssl-required" and str(value).lower() == "all":
            unhonoured[name] = _SSL
        elif name not in _NOT_NEEDED:
            raise wrong(name, "there is no such option in keycloak.json.", "Remove it.")
    for name in ("realm", "resource", "auth-server-url"):
        if _SIMPLE[name][0] not in given:
            raise wrong(name, "it is missing.", "Copy keycloak.json from Keycloak again.")
    if credentials is not None or public:
        given |= _credentials(credentials, public)
    elif not given.get("bearer_only"):
        raise wrong(
            "credentials",
            "missing, and the client is neither public nor bearer-only.",
            "Copy keycloak.json from Keycloak again.",
        )
    else:
        given["client_auth"] = "none"
    if store is not None and store != token_store:
        raise wrong(
            "token-store",
            f"keycloak.json says {store!r}, the app {token_store!r}.",
            f"Set CLUSTERTOKEN_TOKEN_STORE={store!r}, or remove token-store.",
        )
    options = KeycloakOptions(**given, not_honoured=unhonoured)
    if options.register_node_at_startup and options.client_auth == "none":
        raise wrong(
            "register-node-at-startup",
            "Keycloak registers nodes of clients with a secret only.",
            "Remove it, or make the client confidential.",
        )
    return options


def from_config(
    config: Mapping[str, Any], *, root: str, instance: str, token_store: str
) -> KeycloakOptions:
    """The options of an app, from ``KEYCLOAK_FILE`` or ``KEYCLOAK_OPTIONS`` and the rest.

    A relative file is looked for in *instance*, then in *root*.
    """
    ours = {
        key[len(SETTINGS_PREFIX) :]: value
        for key, value in config.items()
        if key.startswith(SETTINGS_PREFIX)
    }
    file, inline = ours.pop("FILE", None), ours.pop("OPTIONS", None)
    data: dict[str, Any] = {}
    if file is not None or inline is None:
        data = _load(_find(str(file or "keycloak.json"), root, instance))
    if inline is not None:
        if not isinstance(inline, Mapping):
            raise wrong(
                SETTINGS_PREFIX + "OPTIONS", "not a mapping.", "Use the keys of keycloak.json."
            )
        data |= inline
    options = read_options(data, token_store)
    changes: dict[str, Any] = {}
    for name, value in ours.items():
        if name == "TIMEOUT":
            seconds = read_seconds(SETTINGS_PREFIX + name, value)
            changes |= {"connect_timeout": min(3.0, seconds), "read_timeout": seconds}
        elif name in _OWN:
            key, read = _OWN[name]
            changes[key] = read(SETTINGS_PREFIX + name, value)
        else:
            known = ", ".join(sorted([*_OWN, "FILE", "OPTIONS", "TIMEOUT"]))
            raise wrong(SETTINGS_PREFIX + name, "there is no such setting.", f"Known: {known}.")
    options = replace(options, **changes)
    if not options.url_prefix.startswith("/"):
        raise wrong(SETTINGS_PREFIX + "URL_PREFIX", "not a path.", "Write it as '/keycloak'.")
    return replace(options, node_host=bare_host(options.node_host or socket.gethostname()))


def bare_host(host: str) -> str:
    """*host* as Keycloak compares it: lower case, without a port."""
    host = host.strip().lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\]", host):
        raise wrong(
            SETTINGS_PREFIX + "NODE_HOST",
            f"{host!r} is not a bare host name.",
            "Keycloak puts it into the admin URL: a name or an address, without port.",
        )
    return host


def _find(name: str, root: str, instance: str) -> Path:
    places = [Path(name)] if os.path.isabs(name) else [Path(instance, name), Path(root, name)]
    for path in places:
        if path.is_file():
            return path
    raise wrong(
        SETTINGS_PREFIX + "FILE",
        f"there is no {' and no '.join(str(one) for one in places)}.",
        "Download keycloak.json from the client's page in Keycloak, or set KEYCLOAK_OPTIONS.",
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise wrong(
            SETTINGS_PREFIX + "FILE", f"{path} cannot be read ({error}).", "Correct it."
        ) from error
    if not isinstance(data, dict):
        raise wrong(SETTINGS_PREFIX + "FILE", f"{path} holds no object.", "Correct it.")
    return data
