"""Where a PostgreSQL is and how to sign on: the store's URL and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ...errors import ConfigurationError

DEFAULT_PORT = 5432

#: The schema that is ours.
DEFAULT_SCHEMA = "clustertoken"

#: Connections of one process, besides the one that looks at the feed's head.
CONNECTIONS = 4

#: Seconds between two looks at the feed's head.
LOOK_AT_HEAD = 0.025

#: Seconds after another server, or another history, took over in which nobody vouches: whoever
#: knows more than it does publishes that again meanwhile. Longer than a node that is in trouble
#: waits between two tries (``LONGEST_PAUSE`` of the follower).
SETTLE = 5.0

_EXAMPLE = "Write for example: postgresql://app@db.example.org:5432/app"

#: What libpq is told besides hosts, role and database. (No time-out of its own: a call's time is
#: what there is. No encoding: it is ours.)
_LIBPQ_NAMES = """
    application_name channel_binding gssdelegation gssencmode gsslib keepalives keepalives_count
    keepalives_idle keepalives_interval krbsrvname max_protocol_version min_protocol_version
    options passfile require_auth requirepeer ssl_max_protocol_version ssl_min_protocol_version
    sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslmode sslnegotiation
    sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout
"""
_LIBPQ = frozenset(_LIBPQ_NAMES.split())
_IGNORED = frozenset({"connect_timeout", "client_encoding"})
_SECRET = frozenset({"sslpassword"})

Host = tuple[str, int]


def named(host: Host) -> str:
    """``name:port``, an IPv6 address in brackets; a socket's folder as it is."""
    name, port = host
    return f"[{name}]:{port}" if ":" in name and not name.startswith("/") else f"{name}:{port}"


@dataclass(frozen=True, slots=True)
class PostgreSQLPlace:
    """The servers, one of which is the primary, and the database."""

    hosts: tuple[Host, ...]
    database: str = ""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    libpq: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """Without role and password."""
        hosts = ",".join(named(host) for host in self.hosts if not _is_socket(host[0]))
        sockets = [("host", name) for name, _ in self.hosts if name and _is_socket(name)]
        ports = [("port", str(port)) for name, port in self.hosts if _is_socket(name)]
        said = [*sockets, *(ports if not hosts and ports[0][1] != str(DEFAULT_PORT) else ())]
        said += [one for one in self.libpq if one[0] not in _SECRET]
        query = f"?{urlencode(said, quote_via=quote, safe='/')}" if said else ""
        return f"postgresql://{hosts}/{quote(self.database, safe='')}{query}"


def _is_socket(name: str) -> bool:
    return not name or name.startswith(("/", "@"))


def parse_place(url: str) -> PostgreSQLPlace:
    """Read the URL; :class:`ConfigurationError` (``STORE``), never with its password."""
    scheme, separator, rest = url.partition("://")

    def wrong(problem: str) -> ConfigurationError:
        return ConfigurationError("STORE", problem, _EXAMPLE)

    if scheme != "postgresql" or not separator:
        raise wrong("a PostgreSQL store's URL begins with postgresql://.")
    rest, _, query = rest.partition("?")
    before, _, database = rest.rpartition("/") if "/" in rest else (rest, "", "")
    sign_on, at, servers = before.rpartition("@")
    if any(sign in servers + database for sign in "#@/") or any(ord(sign) <= 32 for sign in url):
        raise wrong("a PostgreSQL store's URL has no fragment and no blanks.")
    username, colon, password = sign_on.partition(":")
    said = dict(parse_qsl(query, keep_blank_values=True))
    named_hosts = said.pop("host", None)
    port = said.pop("port", "")
    if port and not _is_port(port):
        raise wrong("the port is not a number from 1 to 65535.")
    default = int(port or DEFAULT_PORT)
    if named_hosts is not None:
        if servers:
            raise wrong("the hosts are named twice, before the slash and behind host=.")
        hosts = tuple((one, default) for one in named_hosts.split(","))
    else:
        hosts = tuple(_host(one, default, wrong) for one in servers.split(","))
    found_user, found_password = said.pop("user", ""), said.pop("password", None)
    database = unquote(said.pop("dbname", "") or database)
    if not database:
        raise wrong("the name of the database is missing behind the last slash.")
    for name in said:
        if name not in _LIBPQ | _IGNORED:
            raise wrong(f"libpq has no option {name!r} that this store takes.")
    return PostgreSQLPlace(
        hosts,
        database,
        unquote(username) or found_user or None,
        unquote(password) if at and colon else found_password,
        tuple((name, value) for name, value in said.items() if name not in _IGNORED),
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535


def _host(server: str, default: int, wrong: Callable[[str], ConfigurationError]) -> Host:
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or not host or (port and not port.startswith(":")):
            raise wrong("a server's name is not an IPv6 address in brackets.")
        port = port[1:]
    else:
        host, _, port = server.partition(":")
        if ":" in port:
            raise wrong("a server's name has more than one colon; IPv6 stands in brackets.")
    if port and not _is_port(port):
        raise wrong(f"the port of {host!r} is not a number from 1 to 65535.")
    return unquote(host), int(port or default)


@dataclass(frozen=True, slots=True)
class PostgreSQLOptions:
    """How to sign on and what to hold to: the setting ``STORE_OPTIONS``, checked.

    ==================  ==================================================================
    option              meaning
    ==================  ==================================================================
    ``username``,       sign on; instead of in the URL, or in ``~/.pgpass``
    ``password``
    ``schema``          what is ours stands in this schema; ``clustertoken``
    ``connections``     connections of one process at most; 4, and one that looks at the head
    ``look``            seconds between two looks at the feed's head; 0.025
    ``listen``          a URL over which to ``LISTEN`` instead of looking: straight to the
                        servers, past any pooler
    ``settle``          seconds after another server took over before a node is fresh; 5
    ``demoted_after``   your word: an old primary takes no write longer than these seconds
                        after another one took its place
    ==================  ==================================================================
    """

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    schema: str = DEFAULT_SCHEMA
    connections: int = CONNECTIONS
    look: float = LOOK_AT_HEAD
    listen: PostgreSQLPlace | None = field(default=None, repr=False)
    settle: float = SETTLE
    demoted_after: float | None = None


_KNOWN = sorted(one.name for one in fields(PostgreSQLOptions))


def _bad(option: str, problem: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError("STORE_OPTIONS", f"{option!r}: {problem}", remedy)


def parse_options(options: Mapping[str, Any], place: PostgreSQLPlace) -> PostgreSQLOptions:
    """Check ``STORE_OPTIONS``; :class:`ConfigurationError` names what is wrong, never its value."""
    for name in options:
        if name not in _KNOWN:
            raise _bad(
                name, "there is no such option for postgresql:.", f"Known: {', '.join(_KNOWN)}."
            )
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("username", "password", "schema", "listen"):
        if name in given and not (isinstance(given[name], str) and given[name]):
            raise _bad(name, "is no text.")
    for name in ("username", "password"):
        if name in given and getattr(place, name):
            raise _bad(name, "is given in the URL too.", "Remove one of them.")
    schema = given.get("schema", DEFAULT_SCHEMA)
    if not schema.isprintable() or len(schema.encode()) > 63 or schema.startswith("pg_"):
        raise _bad("schema", "is no name of a schema: at most 63 bytes, and not pg_….")
    if "listen" in given:
        given["listen"] = _listen(given["listen"])
    _number(given, "connections", int, 1, 100)
    _number(given, "look", (int, float), 0.005, 10)
    _number(given, "settle", (int, float), 0, 300)
    _number(given, "demoted_after", (int, float), 0, 3600)
    return PostgreSQLOptions(**given)


def _listen(url: str) -> PostgreSQLPlace:
    try:
        return parse_place(url)
    except ConfigurationError as error:
        raise _bad("listen", error.problem, error.remedy) from None


def _number(given: Mapping[str, Any], name: str, kind: Any, low: float, high: float) -> None:
    value = given.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        raise _bad(name, f"is not a number from {low} to {high}.")
