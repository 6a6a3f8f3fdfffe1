"""Where to go after a login: to a page of this very origin, or nowhere."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request, url_for


def safe_target(target: str | None, default: str = "/") -> str:
    """*target* if it names a page of this origin, else *default*.

    Accepts a path, or a URL with this request's scheme and host. Browsers read ``//host`` and
    ``/\\host`` as another host, and drop control characters before they do.
    """
    if not target or any(ord(one) < 33 or ord(one) == 127 for one in target) or "\\" in target:
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    if parts.scheme or parts.netloc:
        if (parts.scheme, parts.netloc) != (request.scheme, request.host):
            return default
        target = parts._replace(scheme="", netloc="").geturl() or "/"
    if not target.startswith("/") or target.startswith("//"):
        return default
    return target


def login_url(endpoint: str) -> str:
    """The login view with ``next`` set to the page that was asked for."""
    asked = request.full_path if request.query_string else request.path
    return url_for(endpoint, next=request.script_root + asked)
