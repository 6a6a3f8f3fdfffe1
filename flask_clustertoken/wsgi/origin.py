"""Where an unsafe request came from: the defence against cross-site request forgery.

The order of decisions is Go 1.25's ``CrossOriginProtection``. It concerns requests that
authenticate by cookie alone (a browser adds a cookie by itself, never a bearer token) and the
making of a login, which would put somebody else's account into the browser.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

#: What is asked of the environ besides the method.
ORIGIN_KEYS = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_HOST", "HTTP_UPGRADE")

#: What an origin leaves out, and a proxy may have put behind the host.
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_cross_origin(environ: dict[str, Any], trusted: Collection[str]) -> bool:
    """Whether an unsafe request was sent by a page of another origin.

    A request with neither ``Sec-Fetch-Site`` nor ``Origin`` is not a browser's and passes.
    ``Origin: null`` and ``Sec-Fetch-Site: same-site`` do not. The handshake of a WebSocket
    counts as unsafe: it is a GET with cookies that any page may send and then read from. Any
    other ``Upgrade`` (``h2c`` of a program, an empty one of a proxy) says nothing of a page.
    """
    if environ.get("REQUEST_METHOD", "GET") in SAFE_METHODS and (
        "HTTP_UPGRADE" not in environ or not _names_websocket(environ["HTTP_UPGRADE"])
    ):
        return False
    origin: str | None = environ.get("HTTP_ORIGIN")
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none") and origin not in trusted
    if origin is None:
        return False
    scheme, _, host = origin.lower().partition("://")
    here = environ.get("HTTP_HOST", "").lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return (not host or host != here) and origin not in trusted


def _names_websocket(upgrade: str) -> bool:
    """Whether it is among the protocols (with or without a version) of a list by commas."""
    names = (one.partition("/")[0].strip() for one in upgrade.lower().split(","))
    return "websocket" in names


def whence(environ: dict[str, Any]) -> str:
    """Where a request that :func:`is_cross_origin` refuses came from, and what may be wrong.

    One sentence or two for whoever sent it: both values are that client's own.
    """
    origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")
    if origin is None:
        return f"Its browser calls it {_shown(environ.get('HTTP_SEC_FETCH_SITE', ''))}."
    said = f"Its Origin is {_shown(origin)}, its Host {_shown(host)}."
    if origin == "null":
        return (
            f"{said} A page says null that was sent with Referrer-Policy: no-referrer, or that "
            "is a file or a sandboxed frame; use Referrer-Policy: same-origin."
        )
    there = origin.lower().partition("://")[2]
    if there == host.lower():
        return said
    if there.rpartition(":")[0] == host.lower():
        return f"{said} A proxy leaves the port out: let it pass on $http_host (nginx), not $host."
    forwarded = environ.get("HTTP_X_FORWARDED_HOST", "").lower()
    if forwarded and there in (one.strip() for one in forwarded.split(",")):
        return (
            f"{said} A proxy has changed the Host: let it pass Host on, or use ProxyFix(x_host=1)."
        )
    return f"{said} If they are one site, let the proxy in front pass on the Host that it got."


def _shown(value: str) -> str:
    return ascii(value[:100])
