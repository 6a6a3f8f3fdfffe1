"""Where a Redis is and how to sign on: the store's URL and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from ...errors import ConfigurationError

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379

#: What the names of our keys begin with, before the realm.
DEFAULT_PREFIX = "clustertoken"

#: Seconds after a fail-over, or a restart, in which nobody vouches: whoever knows more than
#: the server does publishes it again meanwhile. A node looks at the store each second, and
#: gives a primary up that no replica acknowledges within three; in trouble it tries again after
#: three seconds at the latest (``LONGEST_PAUSE`` of the follower).
SETTLE_AFTER_FAILOVER = 5.0
SETTLE_AFTER_RESTART = 5.0

_EXAMPLES = {
    "redis": "Write for example: redis://redis.example.org:6379/0",
    "rediss": "Write for example: rediss://redis.example.org:6380/0",
    "redis+sentinel": "Write for example: redis+sentinel://h1:26379,h2:26379,h3:26379/mymaster",
}

Host = tuple[str, int]


def named(host: Host) -> str:
    """``name:port``, an IPv6 address in brackets."""
    return f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """The server, or the Sentinels and what they call it, and the number of the database."""

    scheme: str
    hosts: tuple[Host, ...]
    master: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Without user and password."""
        parts = [self.scheme + "://" + ",".join(named(host) for host in self.hosts)]
        parts += [quote(self.master, safe="")] if self.master else []
        parts += [str(self.db)] if self.db else []
        return "/".join(parts)


def parse_place(url: str) -> RedisPlace:
    """Read a Redis URL; :class:`ConfigurationError` (``STORE``), never with its password."""
    scheme, separator, rest = url.partition("://")

    def wrong(problem: str) -> ConfigurationError:
        return ConfigurationError("STORE", problem, _EXAMPLES.get(scheme, _EXAMPLES["redis"]))

    if scheme not in _EXAMPLES or not separator:
        raise wrong("a Redis store's URL begins with redis://, rediss:// or redis+sentinel://.")
    sign_on, at, rest = rest.rpartition("@")
    username, password = _sign_on(sign_on) if at else (None, None)
    if any(sign in rest for sign in "?#") or any(ord(sign) <= 32 for sign in rest):
        raise wrong("a Redis store's URL has no query, no fragment and no blanks.")
    servers, *path = rest.split("/")
    port = SENTINEL_PORT if scheme == "redis+sentinel" else DEFAULT_PORT
    hosts = tuple(_host(server, port, wrong) for server in servers.split(","))
    master = ""
    if scheme == "redis+sentinel":
        master = unquote(path.pop(0)) if path else ""
        if not master:
            raise wrong("the name by which the Sentinels know the primary is missing.")
    elif len(hosts) > 1:
        raise wrong("redis:// names one server; several are found through their Sentinels.")
    if len(path) > 1 or (path and path[0] and not (path[0].isascii() and path[0].isdigit())):
        raise wrong("what follows the last slash is the number of the database.")
    return RedisPlace(scheme, hosts, master, int(path[0] or 0) if path else 0, username, password)


def _sign_on(text: str) -> tuple[str | None, str | None]:
    username, colon, password = text.partition(":")
    return unquote(username) or None, unquote(password) if colon else None


def _host(server: str, default: int, wrong: Any) -> Host:
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or not host or (port and not port.startswith(":")):
            raise wrong("a server's name is not an IPv6 address in brackets.")
        port = port[1:]
    else:
        host, _, port = server.partition(":")
        if ":" in port:
            raise wrong("a server's name has more than one colon; IPv6 stands in brackets.")
    if not host:
        raise wrong("a server's name is missing.")
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise wrong(f"the port of {host!r} is not a number from 1 to 65535.")
    return host, int(port or default)


@dataclass(frozen=True, slots=True)
class Options:
    """How to sign on and what to hold to: the setting ``STORE_OPTIONS``, checked.

    =====================  ===============================================================
    option                 meaning
    =====================  ===============================================================
    ``username``,          sign on; instead of in the URL
    ``password``
    ``sentinel_username``, sign on to the Sentinels, where they ask for it
    ``sentinel_password``
    ``tls``                connect with TLS, also to the Sentinels (``rediss:`` implies it);
                           chain and host name are always checked
    ``ca``                 file with the certificates of the authorities to trust, instead
                           of the system's (implies ``tls``)
    ``cert``, ``key``      files with our own certificate and its key (imply ``tls``)
    ``prefix``             what the keys' names begin with; ``clustertoken``
    ``replicas``           so many replicas must have a revocation, and a proof of freshness,
                           before it counts; half of those that the Sentinels know, none
                           without Sentinels
    ``settle``             seconds after a fail-over or restart before a node is fresh again; 5
    ``managed``            ``True``: the server is somebody else's, and what it does not let
                           us look at was looked at by you
    =====================  ===============================================================
    """

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    prefix: str = DEFAULT_PREFIX
    replicas: int | None = None
    settle: float | None = None
    managed: bool = False


_TEXTS = (
    "username",
    "password",
    "sentinel_username",
    "sentinel_password",
    "ca",
    "cert",
    "key",
    "prefix",
)
_KNOWN = sorted((*_TEXTS, "tls", "replicas", "settle", "managed"))


def _bad(option: str, problem: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError("STORE_OPTIONS", f"{option!r}: {problem}", remedy)


def parse_options(options: Mapping[str, Any], place: RedisPlace) -> Options:
    """Check ``STORE_OPTIONS``; :class:`ConfigurationError` names what is wrong, never its value."""
    for name in options:
        if name not in _KNOWN:
            raise _bad(name, "there is no such option for redis:.", f"Known: {', '.join(_KNOWN)}.")
    given = {name: value for name, value in options.items() if value is not None}
    for name in _TEXTS:
        if name in given and not (isinstance(given[name], str) and given[name]):
            raise _bad(name, "is no text.")
    if ("username" in given or "password" in given) and (place.username or place.password):
        raise _bad("password", "is given in the URL too.", "Remove one of them.")
    if bool(given.get("cert")) != bool(given.get("key")):
        raise _bad("cert", "goes with key, and key with cert.", "Give both or none.")
    files = any(given.get(name) for name in ("ca", "cert", "key"))
    tls = given.get("tls", files or place.scheme == "rediss")
    for name, value in (("tls", tls), ("managed", given.get("managed", False))):
        if not isinstance(value, bool):
            raise _bad(name, "is neither True nor False.")
    if not tls and (files or place.scheme == "rediss"):
        raise _bad("tls", "is False although the rest asks for TLS.", "Remove one of them.")
    if any(sign in given.get("prefix", "") for sign in "{}") or not _printable(given):
        raise _bad("prefix", "has a brace, a blank or a sign that cannot be printed.")
    _number(given, "replicas", int, 0, 100)
    _number(given, "settle", (int, float), 0, 300)
    return Options(**{**given, "tls": tls})


def _printable(given: Mapping[str, Any]) -> bool:
    prefix = given.get("prefix", DEFAULT_PREFIX)
    return prefix.isprintable() and " " not in prefix


def _number(given: Mapping[str, Any], name: str, kind: Any, low: int, high: int) -> None:
    value = given.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        raise _bad(name, f"is not a number from {low} to {high}.")
