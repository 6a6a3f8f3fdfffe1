"""Instructions: how headers and answers are spelled for a browser.

The headers are Structured Fields (RFC 9651); of them a browser sends single texts and we write
lists of known form, so no parser is needed for either.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ..settings import CookieAttributes
from .proof import ALGORITHM


def address(environ: dict[str, Any], prefix: str, name: str) -> str:
    """The path of *name* below *prefix*, as the browser sees it: also where the app is mounted."""
    mounted = str(environ.get("SCRIPT_NAME", "")).rstrip("/")
    # (WSGI puts each byte of a path into a character of its own: PEP 3333.)
    return f"{quote(mounted.encode('latin-1'), safe='/~')}{prefix}/{name}"


def registration(path: str, challenge: str) -> tuple[str, str]:
    """The header that asks a browser to register a key at *path*."""
    return (
        "Secure-Session-Registration",
        f'({ALGORITHM});path="{path}";challenge="{challenge}"',
    )


def challenge_header(challenge: str, session: str) -> tuple[str, str]:
    """The header that asks for a proof of *session*."""
    return "Secure-Session-Challenge", f'"{challenge}";id="{session}"'


def said(environ: dict[str, Any], name: str) -> str:
    """The text of the request's header *name*, with or without quotes; ``""``: none.

    (The draft writes texts in quotes; Chromium sends them bare.)
    """
    value = str(environ.get(f"HTTP_{name.upper().replace('-', '_')}", ""))
    value = value.strip(" \t")
    if value[:1] == '"':
        value = value[1:].partition('"')[0]
    return value


def session(identifier: str, refresh: str, cookie: CookieAttributes) -> bytes:
    """The session of the draft's 9.6: which cookie counts, in this origin, refreshed where."""
    return json.dumps(
        {
            "session_identifier": identifier,
            "refresh_url": refresh,
            "scope": {"include_site": False, "scope_specification": []},
            "credentials": [
                {"type": "cookie", "name": cookie.name, "attributes": attributes(cookie)}
            ],
        }
    ).encode()


def attributes(cookie: CookieAttributes) -> str:
    """The attributes as ``Set-Cookie`` has them: where one differs the cookie does not count."""
    found = [f"Path={cookie.path}"]
    if cookie.secure:
        found.append("Secure")
    if cookie.httponly:
        found.append("HttpOnly")
    found.append(f"SameSite={cookie.samesite}")
    if cookie.partitioned:
        found.append("Partitioned")
    return "; ".join(found)
