"""Where to go after a login: to a page of this very origin, of the realm's, or nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from flask import current_app, request, url_for

from ..settings import Settings
from .state import EXTENSION_KEY

#: Characters of the page to come back to, as they stand in a URL. Behind a longer one, ``Location``
#: would be more than proxies let pass, and a form's whole answer may stand in a query.
NEXT_LIMIT = 2_000

#: What a URL's path and query hold as they are.
_IN_PATH = "/!$&'()*+,:;=@~"
_IN_QUERY = _IN_PATH + "?%"

_NETLOC = re.compile(r"(?P<host>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?P<port>:[0-9]{1,5})?")


def safe_target(target: str | None, default: str = "/") -> str:
    """*target* if it names a page of this origin or of the realm's, else *default*.

    Accepts a path, or a URL with this request's scheme and host, of which the path is given back.
    Of other origins these are the realm's: hosts within ``COOKIE_DOMAIN``, which have the cookie,
    with this request's scheme and port, and what ``TRUSTED_ORIGINS`` names; such a URL is given
    back whole. Browsers read ``//host`` and ``/\\host`` as another host, and drop control
    characters before they do.
    """
    parts = _split(target)
    if target is None or parts is None:
        return default
    return _in_here(target, parts) or _in_realm(parts) or default


def page_in_here(url: str | None) -> str | None:
    """The path and the rest of *url*, if it names a page of this very origin."""
    parts = _split(url)
    return None if url is None or parts is None else _in_here(url, parts)


def own_page(environ: Mapping[str, Any]) -> str | None:
    """The address that was asked for, without its host; ``None`` where it would read as one."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    page = quote(path.encode("latin-1"), safe=_IN_PATH) or "/"
    query = environ.get("QUERY_STRING", "")
    if query:
        page += "?" + quote(query.encode("latin-1"), safe=_IN_QUERY)
    return None if page.startswith("//") else page


def login_url(endpoint: str, page: str | None) -> str:
    """The login view's address, with *page* of this origin as ``next``.

    A whole URL where the view has another host (a subdomain's pages may share one). Without
    ``next`` where there is no page or a very long one. Raises
    :class:`~werkzeug.routing.BuildError` where the view's rule needs values that nobody gives.
    """
    bare = url_for(endpoint)
    if page is None:
        return bare
    host = urlsplit(bare).netloc
    if host and host != request.host:
        page = f"{request.scheme}://{request.host}{page}"
    # (A page that was cut off would be another one.)
    return bare if len(quote(page)) > NEXT_LIMIT else url_for(endpoint, next=page)


def _split(url: str | None) -> SplitResult | None:
    if not url or any(ord(one) < 33 or ord(one) == 127 for one in url) or "\\" in url:
        return None
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _in_here(url: str, parts: SplitResult) -> str | None:
    if parts.scheme or parts.netloc:
        if (parts.scheme, parts.netloc) != (request.scheme, request.host):
            return None
        url = parts._replace(scheme="", netloc="").geturl() or "/"
    return url if url.startswith("/") and not url.startswith("//") else None


def _in_realm(parts: SplitResult) -> str | None:
    state = current_app.extensions.get(EXTENSION_KEY)
    netloc = parts.netloc.lower()
    found = _NETLOC.fullmatch(netloc)
    if state is None or found is None or parts.scheme not in ("http", "https"):
        return None
    if f"{parts.scheme}://{netloc}" not in state.settings.trusted_origins and not (
        parts.scheme == request.scheme
        and found["port"] == _port_here()
        and _within_domain(found["host"], state.settings)
    ):
        return None
    if parts.path and not parts.path.startswith("/"):
        return None
    return parts._replace(netloc=netloc, path=parts.path or "/").geturl()


def _port_here() -> str | None:
    found = re.search(r":[0-9]{1,5}$", request.host)
    return None if found is None else found[0]


def _within_domain(host: str, settings: Settings) -> bool:
    domain = (settings.cookie_domain or "").lower().lstrip(".")
    return bool(domain) and (host == domain or host.endswith("." + domain))
