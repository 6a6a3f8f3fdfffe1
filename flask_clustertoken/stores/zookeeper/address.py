"""Where a ZooKeeper ensemble is and how to sign on: the connect string and its options.

Both forms are read: ``h1:2181,h2:2181/root``, as ZooKeeper itself writes it, and
``h1:2181/root,h2:2181/root``, which repeats the root. kazoo must not see the second one: its
own parser keeps the first host only, with the root ``/root,h2:2181/root``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigurationError

DEFAULT_PORT = 2181

#: Where a deployment lives if the URL names no root.
DEFAULT_ROOT = "/clustertoken"

_EXAMPLE = "Write for example: zookeeper://h1:2181,h2:2181,h3:2181/myapp"


#: A host's name in any script, with the underscores that people give containers.
_NAME = re.compile(r"\w[\w.-]*")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(?:%[\w.-]+)?")


def _wrong(problem: str, remedy: str = _EXAMPLE) -> ConfigurationError:
    return ConfigurationError("STORE", problem, remedy)


@dataclass(frozen=True, slots=True)
class EnsembleAddress:
    """The servers of an ensemble, and the path under which all that is ours lives."""

    hosts: tuple[tuple[str, int], ...]
    root: str

    @property
    def servers(self) -> str:
        """The servers as kazoo wants them, without any root."""
        return ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )

    @property
    def url(self) -> str:
        return f"zookeeper://{self.servers}{self.root}"


def parse_address(url: str) -> EnsembleAddress:
    """Read a ``zookeeper:`` URL; :class:`ConfigurationError` (``STORE``) if it is not one."""
    scheme, separator, rest = url.partition("://")
    # (Schemes have no case: RFC 3986, 3.1.)
    if scheme.lower() != "zookeeper" or not separator:
        raise _wrong("a ZooKeeper store's URL begins with zookeeper://.")
    if "@" in rest:
        # The URL is shown in messages and lists, so nothing of this one is repeated.
        raise _wrong(
            "the URL holds a user or a password, which would be shown.",
            'Put it into STORE_OPTIONS: {"auth": "digest:user:password"}.',
        )
    if any(sign in rest for sign in "?#") or any(ord(sign) <= 32 for sign in rest):
        raise _wrong("a ZooKeeper store's URL has no query, no fragment and no blanks.")
    if ";" in rest:
        raise _wrong("a semicolon separates no servers.", f"Write commas. {_EXAMPLE}")
    hosts: dict[tuple[str, int], None] = {}
    roots: list[str | None] = []
    for part in rest.split(","):
        server, slash, path = part.partition("/")
        hosts[_host(server)] = None
        roots.append(_root(path) if slash else None)
    return EnsembleAddress(tuple(hosts), _one_root(roots) or DEFAULT_ROOT)


def _host(server: str) -> tuple[str, int]:
    if not server:
        raise _wrong("a server's name is missing.")
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or not host or (port and not port.startswith(":")):
            raise _wrong(f"{server!r} is not an IPv6 address in brackets.")
        if not _ADDRESS.fullmatch(host):
            raise _wrong(f"{server!r} is not an IPv6 address in brackets.")
        return host, _port(server, port[1:] if port else None)
    host, colon, port = server.partition(":")
    if ":" in port:
        raise _wrong(
            f"{server!r} has more than one colon.", "Put an IPv6 address in brackets: [::1]:2181"
        )
    if not host:
        raise _wrong(f"{server!r} has a port but no server's name.")
    if not _NAME.fullmatch(host):
        raise _wrong(f"{host!r} is no server's name.")
    return host, _port(server, port if colon else None)


def _port(server: str, port: str | None) -> int:
    if port is None:
        return DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise _wrong(f"the port of {server!r} is not a number from 1 to 65535.")
    return int(port)


def _root(path: str) -> str:
    """``app/x/`` → ``/app/x``; ``""`` where only a slash was written."""
    path = path.rstrip("/")
    if not path:
        return ""
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names) or names[0] == "zookeeper":
        raise _wrong(f"{'/' + path!r} cannot be a root.", "Choose a path such as /myapp.")
    return "/" + path


def _one_root(roots: list[str | None]) -> str:
    given = [root for root in roots if root is not None]
    if not given:
        return ""
    only_at_the_end = len(given) == 1 and roots[-1] is not None
    if not only_at_the_end and (len(given) != len(roots) or len(set(given)) > 1):
        shown = ", ".join("(none)" if root is None else root or "/" for root in roots)
        raise _wrong(
            f"the servers are given different roots: {shown}.",
            "Write the root once, after the last server.",
        )
    return given[0]


@dataclass(frozen=True, slots=True)
class ZooKeeperOptions:
    """How to sign on and what to protect: the setting ``STORE_OPTIONS``, checked.

    ==================  ==================================================================
    option              meaning
    ==================  ==================================================================
    ``auth``            ``"digest:user:password"``: sign on with scheme and credential
    ``sasl``            a mapping for kazoo's SASL: ``mechanism``, ``username``, …
    ``acl``             ``"creator"``: only who signed on as we do may read and write what we
                        make (the default with ``auth``, ``sasl`` or ``cert``); ``"world"``:
                        anybody who reaches the servers
    ``tls``             connect with TLS; chain and host name are always checked
    ``ca``              file with the certificates of the authorities to trust, instead of the
                        system's (implies ``tls``)
    ``cert``, ``key``   files with our own certificate and its key (imply ``tls``)
    ``session_timeout`` seconds of silence after which a server is given up; 6
    ==================  ==================================================================
    """

    auth: tuple[str, str] | None = field(default=None, repr=False)
    sasl: Mapping[str, Any] | None = field(default=None, repr=False)
    acl: str = "world"
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    session_timeout: float = 6.0


_KNOWN = ("acl", "auth", "ca", "cert", "key", "sasl", "session_timeout", "tls")


def parse_options(options: Mapping[str, Any]) -> ZooKeeperOptions:
    """Check ``STORE_OPTIONS``; :class:`ConfigurationError` names what is wrong, never its value."""
    for name in options:
        if name not in _KNOWN:
            raise _bad(name, "there is no such option for zookeeper:.", f"Known: {_listed()}.")
    auth = _auth(options.get("auth"))
    sasl = options.get("sasl")
    if sasl is not None and not (
        isinstance(sasl, Mapping) and isinstance(sasl.get("mechanism"), str)
    ):
        raise _bad(
            "sasl", "is no mapping with a mechanism.", 'E.g. {"mechanism": "DIGEST-MD5", …}.'
        )
    files = {name: _file(name, options.get(name)) for name in ("ca", "cert", "key")}
    tls = options.get("tls", any(files.values()))
    if not isinstance(tls, bool):
        raise _bad("tls", "is neither True nor False.")
    if not tls and any(files.values()):
        raise _bad("tls", "is False although a certificate is given.", "Remove one of them.")
    if bool(files["cert"]) != bool(files["key"]):
        raise _bad("cert", "goes with key, and key with cert.", "Give both or none.")
    acl = options.get("acl", "creator" if auth or sasl or files["cert"] else "world")
    if acl not in ("creator", "world"):
        raise _bad("acl", "is neither 'creator' nor 'world'.")
    if acl == "creator" and not (auth or sasl or files["cert"]):
        raise _bad("acl", "'creator' needs to know who creates.", "Add auth, sasl or cert and key.")
    wait = options.get("session_timeout", 6.0)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 1 <= wait <= 60:
        raise _bad("session_timeout", "is not a number of seconds from 1 to 60.")
    return ZooKeeperOptions(
        auth, sasl, acl, tls, files["ca"], files["cert"], files["key"], float(wait)
    )


def _listed() -> str:
    return ", ".join(_KNOWN)


def _bad(option: str, problem: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError("STORE_OPTIONS", f"{option!r}: {problem}", remedy)


def _auth(value: object) -> tuple[str, str] | None:
    if value is None:
        return None
    scheme, _, credential = value.partition(":") if isinstance(value, str) else ("", "", "")
    user, _, password = credential.partition(":")
    if not scheme or not user or (scheme == "digest" and not password):
        raise _bad("auth", "is not of the form scheme:credential.", "E.g. digest:user:password.")
    return scheme, credential


def _file(option: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise _bad(option, "is not the name of a file.")
    return value
