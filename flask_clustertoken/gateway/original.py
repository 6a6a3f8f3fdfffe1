"""Original: the request that a proxy asks about, as the proxy tells it.

A page of another origin cannot set these headers (a browser would ask first, by a preflight),
and a client that lies in them harms its own login alone. What must not be is that a proxy which
says nothing, or which nobody vouches for, makes a POST pass as the GET that it asks with. So a
request counts as safe only where *everything* that is said of its method says so.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from ..wsgi import SAFE_METHODS
from .peers import Peers, tell_of_stranger

#: Where a proxy asks. Below it (``/auth/…``), Envoy's ``path_prefix`` puts the path that was asked
#: for, and asks with the method that it was asked with.
PATH = "/auth"

#: nginx by our configuration; Traefik and Caddy by themselves.
_METHODS = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_FORWARDED_METHOD")
_HOSTS = ("HTTP_X_ORIGINAL_HOST", "HTTP_X_FORWARDED_HOST")
_PAGES = ("HTTP_X_ORIGINAL_URI", "HTTP_X_FORWARDED_URI")
_SAID = (*_METHODS, *_HOSTS, *_PAGES)

_HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

#: Characters of a page to come back to; behind a longer one ``Location`` is too much for proxies.
PAGE_LIMIT = 2000
_IN_PAGE = "/!$&'()*+,:;=@~?%-._"


def put_original(environ: dict[str, Any], peers: Peers) -> bool:
    """Make *environ* that of the original request: its method and its host. Whether it is told.

    The method is ``GET`` or ``POST``: all that a judgement asks is whether it is safe.
    """
    said = [environ[key] for key in _METHODS if key in environ]
    believed = peers.trusts(environ)
    if not believed and any(key in environ for key in _SAID):
        tell_of_stranger(environ.get("REMOTE_ADDR") or "")
    told = believed and (bool(said) or is_beneath(environ))
    safe = told and SAFE_METHODS.issuperset([environ["REQUEST_METHOD"], *said])
    environ["REQUEST_METHOD"] = "GET" if safe else "POST"
    if believed:
        for key in _HOSTS:
            if key in environ:
                environ["HTTP_HOST"] = environ[key]
    return told


def is_beneath(environ: dict[str, Any]) -> bool:
    """Whether the path that was asked for stands behind ours, and its query is the client's."""
    path: str = environ.get("PATH_INFO", "")
    return path.startswith(PATH + "/")


def origin_of(environ: dict[str, Any], believed: bool) -> str:
    """``scheme://host`` of the original request, as a browser spells it; ``""``: not known."""
    scheme: str = environ.get("wsgi.url_scheme", "http")
    if believed:
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", scheme)
    host: str = environ.get("HTTP_HOST", "")
    if scheme.lower() not in ("http", "https") or not _HOST.fullmatch(host):
        return ""
    return f"{scheme}://{host}".lower()


def page_of(environ: dict[str, Any]) -> str:
    """Path and query that were asked for, to come back to; ``""``: not known, or no such thing.

    Nothing is decided by it. (It begins with one slash: ``//host`` is another server's.)
    """
    if is_beneath(environ):
        path = environ["PATH_INFO"][len(PATH) :].encode("latin-1")
        page = quote(path, safe="/!$&'()*+,:;=@~")
        query = environ.get("QUERY_STRING", "")
        page += f"?{query}" if query else ""
    else:
        page = next((environ[key] for key in _PAGES if key in environ), "")
    if not page.startswith("/") or page.startswith("//") or "\\" in page or len(page) > PAGE_LIMIT:
        return ""
    if any(ord(one) < 33 or ord(one) == 127 for one in page):
        return ""
    return quote(page.encode("latin-1", "replace"), safe=_IN_PAGE)
