"""Options: a client's ``keycloak.json`` as it is, and the few settings of our own.

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
from urllib.parse import urlsplit

from ..errors import ConfigurationError

PREFIX = "KEYCLOAK_"

#: ``${env.NAME:default}`` inside a value.
_VARIABLE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")

ClientAuth = Literal["client_secret_basic", "client_secret_jwt", "none"]


@dataclass(frozen=True, slots=True)
class Options:
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


# -- reading one value -----------------------------------------------------------------


def _wrong(name: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(name, problem, remedy)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "not a text.", "Correct it.")
    return value.strip()


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _wrong(name, f"{value!r} is not true or false.", "Correct it.")
    return value


def _number(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise _wrong(name, f"{value!r} is not a whole number.", "Correct it.") from None


def _url(name: str, value: Any) -> str:
    url = _text(name, value).rstrip("/") or "/"
    parts = urlsplit(url)
    absolute = parts.scheme in ("http", "https") and parts.hostname
    relative = url.startswith("/") and not url.startswith("//")
    if not (absolute or relative) or parts.query or parts.fragment or parts.username:
        raise _wrong(
            name, f"{value!r} is not a usable URL.", "Write https://host[:port][/path], or a path."
        )
    return url


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= 60:
        raise _wrong(name, f"{value!r} is no number of seconds.", "Use 1 to 60.")
    return seconds


def _scope(name: str, value: Any) -> str:
    scope = _text(name, value)
    if "openid" not in scope.split():
        raise _wrong(name, f"{value!r} asks for no ID token.", f"Write it as 'openid {scope}'.")
    return scope


def _path(name: str, value: Any) -> str:
    path = _text(name, value)
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise _wrong(name, f"{value!r} is no path of this app.", "Write it as '/goodbye'.")
    return path


def plain_origin(scheme: str, netloc: str) -> str:
    """``scheme://host[:port]``, without the port that the scheme has anyway."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    netloc = netloc.lower()
    return f"{scheme}://{netloc.removesuffix(default) if default else netloc}"


def _origins(name: str, value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given:
        raise _wrong(name, f"{value!r} is no list of origins.", 'Write ["https://app.example"].')
    found = []
    for one in given:
        parts = urlsplit(_url(name, one))
        if not parts.netloc or parts.path.strip("/"):
            raise _wrong(name, f"{one!r} is no origin.", "Write https://host[:port].")
        found.append(plain_origin(parts.scheme, parts.netloc))
    return tuple(found)


def _choice(*allowed: str) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> str:
        if value not in allowed:
            raise _wrong(name, f"{value!r} is unknown.", f"Use {' or '.join(allowed)}.")
        return str(value)

    return read


def _milliseconds(name: str, value: Any) -> float | None:
    number = _number(name, value)
    return number / 1000 if number > 0 else None


_SIMPLE: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "realm": ("realm", _text),
    "resource": ("client_id", _text),
    "auth-server-url": ("auth_server_url", _url),
    "auth-server-url-for-backend-requests": ("backend_url", _url),
    "bearer-only": ("bearer_only", _flag),
    "autodetect-bearer-only": ("autodetect_bearer_only", _flag),
    "use-resource-role-mappings": ("use_resource_role_mappings", _flag),
    "principal-attribute": ("principal_attribute", _text),
    "verify-token-audience": ("verify_token_audience", _flag),
    "always-refresh-token": ("always_refresh_token", _flag),
    "token-minimum-time-to-live": ("token_minimum_time_to_live", _number),
    "register-node-at-startup": ("register_node_at_startup", _flag),
    "register-node-period": ("register_node_period", _number),
    "min-time-between-jwks-requests": ("min_time_between_jwks_requests", _number),
    "public-key-cache-ttl": ("public_key_cache_ttl", _number),
    "connection-pool-size": ("connection_pool_size", _number),
    "connection-timeout-millis": ("connect_timeout", _milliseconds),
    "socket-timeout-millis": ("read_timeout", _milliseconds),
    "proxy-url": ("proxy_url", _url),
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
    "URL_PREFIX": ("url_prefix", _url),
    "LOGOUT": ("logout", _choice("session", "local")),
    "AFTER_LOGOUT": ("after_logout", _path),
    "NODE_HOST": ("node_host", _text),
    "SCOPE": ("scope", _scope),
    "CA_BUNDLE": ("ca_bundle", _text),
    "ORIGINS": ("origins", _origins),
}


def _filled(value: Any) -> Any:
    """*value* with ``${env.NAME:default}`` replaced in every text."""
    if isinstance(value, str):

        def one(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], match[2])
            if found is None:
                raise _wrong(
                    "keycloak.json",
                    f"it names the variable {match[1]}, which is not set.",
                    "Set it, or give a default: ${env." + match[1] + ":value}",
                )
            return found

        return _VARIABLE.sub(one, value)
    if isinstance(value, Mapping):
        return {key: _filled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one) for one in value]
    return value


def _credentials(value: Any, public: bool) -> dict[str, Any]:
    if public:
        return {"client_auth": "none"}
    if not isinstance(value, Mapping):
        raise _wrong("credentials", "not an object.", 'Write {"secret": "…"}.')
    if "secret" in value:
        return {
            "client_auth": "client_secret_basic",
            "secret": _text("credentials.secret", value["secret"]),
        }
    if "secret-jwt" in value:
        inner = value["secret-jwt"]
        if not isinstance(inner, Mapping):
            inner = {"secret": inner}
        algorithm = inner.get("algorithm") or "HS256"
        return {
            "client_auth": "client_secret_jwt",
            "secret": _text("credentials.secret-jwt.secret", inner.get("secret")),
            "secret_algorithm": _choice("HS256", "HS384", "HS512")(
                "credentials.secret-jwt.algorithm", algorithm
            ),
        }
    raise _wrong(
        "credentials",
        "only 'secret' and 'secret-jwt' can be used (a Java key store cannot be read).",
        "Set the client's authenticator to 'Client Id and Secret' or 'Signed JWT with Client "
        "Secret' in Keycloak.",
    )


def read_options(data: Mapping[str, Any], token_store: str = "session") -> Options:
    """The options in *data*, the contents of a ``keycloak.json``.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` that names what is unknown,
    missing or contradicts *token_store*.
    """
    data = {name: _filled(value) for name, value in data.items()}
    given: dict[str, Any] = {}
    unhonoured: dict[str, str] = {}
    public = _flag("public-client", data.pop("public-client", False))
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
            raise _wrong(name, "there is no such option in keycloak.json.", "Remove it.")
    for name in ("realm", "resource", "auth-server-url"):
        if _SIMPLE[name][0] not in given:
            raise _wrong(name, "it is missing.", "Copy keycloak.json from Keycloak again.")
    if credentials is not None or public:
        given |= _credentials(credentials, public)
    elif not given.get("bearer_only"):
        raise _wrong(
            "credentials",
            "missing, and the client is neither public nor bearer-only.",
            "Copy keycloak.json from Keycloak again.",
        )
    else:
        given["client_auth"] = "none"
    if store is not None and store != token_store:
        raise _wrong(
            "token-store",
            f"keycloak.json says {store!r}, the app {token_store!r}.",
            f"Set CLUSTERTOKEN_TOKEN_STORE={store!r}, or remove token-store.",
        )
    options = Options(**given, not_honoured=unhonoured)
    if options.register_node_at_startup and options.client_auth == "none":
        raise _wrong(
            "register-node-at-startup",
            "Keycloak registers nodes of clients with a secret only.",
            "Remove it, or make the client confidential.",
        )
    return options


def from_config(
    config: Mapping[str, Any], *, root: str, instance: str, token_store: str
) -> Options:
    """The options of an app, from ``KEYCLOAK_FILE`` or ``KEYCLOAK_OPTIONS`` and the rest.

    A relative file is looked for in *instance*, then in *root*.
    """
    ours = {key[len(PREFIX) :]: value for key, value in config.items() if key.startswith(PREFIX)}
    file, inline = ours.pop("FILE", None), ours.pop("OPTIONS", None)
    data: dict[str, Any] = {}
    if file is not None or inline is None:
        data = _load(_find(str(file or "keycloak.json"), root, instance))
    if inline is not None:
        if not isinstance(inline, Mapping):
            raise _wrong(PREFIX + "OPTIONS", "not a mapping.", "Use the keys of keycloak.json.")
        data |= inline
    options = read_options(data, token_store)
    changes: dict[str, Any] = {}
    for name, value in ours.items():
        if name == "TIMEOUT":
            seconds = _seconds(PREFIX + name, value)
            changes |= {"connect_timeout": min(3.0, seconds), "read_timeout": seconds}
        elif name in _OWN:
            key, read = _OWN[name]
            changes[key] = read(PREFIX + name, value)
        else:
            known = ", ".join(sorted([*_OWN, "FILE", "OPTIONS", "TIMEOUT"]))
            raise _wrong(PREFIX + name, "there is no such setting.", f"Known: {known}.")
    options = replace(options, **changes)
    if not options.url_prefix.startswith("/"):
        raise _wrong(PREFIX + "URL_PREFIX", "not a path.", "Write it as '/keycloak'.")
    return replace(options, node_host=bare_host(options.node_host or socket.gethostname()))


def bare_host(host: str) -> str:
    """*host* as Keycloak compares it: lower case, without a port."""
    host = host.strip().lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\]", host):
        raise _wrong(
            PREFIX + "NODE_HOST",
            f"{host!r} is not a bare host name.",
            "Keycloak puts it into the admin URL: a name or an address, without port.",
        )
    return host


def _find(name: str, root: str, instance: str) -> Path:
    places = [Path(name)] if os.path.isabs(name) else [Path(instance, name), Path(root, name)]
    for path in places:
        if path.is_file():
            return path
    raise _wrong(
        PREFIX + "FILE",
        f"there is no {' and no '.join(str(one) for one in places)}.",
        "Download keycloak.json from the client's page in Keycloak, or set KEYCLOAK_OPTIONS.",
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(PREFIX + "FILE", f"{path} cannot be read ({error}).", "Correct it.") from error
    if not isinstance(data, dict):
        raise _wrong(PREFIX + "FILE", f"{path} holds no object.", "Correct it.")
    return data
