"""Pages: what a person is told by a refusal that this library words itself."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .clients import client_of, is_safe

_PAGE = """<!doctype html>
<html lang="en">
<head>
<title>{title}</title>
<meta name="viewport" content="width=device-width">
{head}</head>
<body>
{body}</body>
</html>
"""

_AGAIN = "<p>This page tries again by itself in {seconds} seconds.</p>\n"
_FRAME = '<turbo-frame id="{id}">\n{body}</turbo-frame>\n'
#: Also read where Turbo Drive puts the page into place itself, which looks at no header.
_REFRESH = '<meta http-equiv="refresh" content="{seconds}">\n'
#: (An empty address is the page's own; within a frame, that of the page around it.)
_LINK = '<p><a href="{page}">Try again</a></p>\n'


def refusal_page(
    title: str, description: str, environ: Mapping[str, Any], retry_after: int | None, page: str
) -> str:
    """The page. *description* is HTML; *page* is the address that was asked for.

    With *retry_after*, in seconds, what asked for a page asks again after them: once, and as often
    as this is the answer; never what did something. A Turbo frame gets its part of it, with a link.
    """
    client = client_of(environ)
    head, body = "", f"<h1>{escape(title)}</h1>\n{description}\n"
    if retry_after is not None and is_safe(environ):
        if client in ("navigation", "follower"):
            head = _REFRESH.format(seconds=retry_after)
            body += _AGAIN.format(seconds=retry_after)
        body += _LINK.format(page=escape(page))
    if client == "frame":
        body = _FRAME.format(id=escape(environ["HTTP_TURBO_FRAME"]), body=body)
    return _PAGE.format(title=escape(title), head=head, body=body)
