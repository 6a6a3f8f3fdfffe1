"""Shared files as answers: sent so that what somebody uploaded is data, and no page of the app."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, abort, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from ..tokens import WrongArgument
from .state import current_state

#: Types that may hold programs: shown in a page's place they may do nothing.
_ACTIVE = ("html", "xml", "svg")


def send_shared_file(
    name: str,
    key: str,
    *,
    inline: Collection[str] = (),
    download_name: str | None = None,
    max_age: int | None = None,
) -> Response:
    """The file *key* of ``tokens.files(name)`` as an answer; 404 where there is none, also where
    no file can be called so.

    A browser saves it, and does not show it, unless its type is among *inline*: whoever uploaded
    a page would have it run as the app. It never guesses another type (``nosniff``), and scripts
    in what is shown are not run. ETag, conditional requests and ranges are those of
    :func:`werkzeug.utils.send_file`; *max_age* is in seconds. Raises
    :class:`~flask_clustertoken.errors.StoreError`, which is answered by 503. A file that turns out
    to be damaged while it is sent ends short of its length.
    """
    files = current_state().authority.files(name)
    try:
        opened = files.open(key)
    except (FileNotFoundError, WrongArgument):
        abort(404)
    info = opened.info
    shown = info.content_type.partition(";")[0].strip().lower()
    called = download_name or info.key.rpartition("/")[2] or info.key
    answer = send_file(
        opened,
        mimetype=info.content_type,
        as_attachment=shown not in inline,
        download_name="".join(one if one.isprintable() else "_" for one in called),
        conditional=False,
        etag=info.sha256,
        last_modified=info.stored_at,
        max_age=max_age,
    )
    answer.content_length = info.size
    answer.headers["X-Content-Type-Options"] = "nosniff"
    if any(one in shown for one in _ACTIVE):
        answer.headers["Content-Security-Policy"] = "sandbox; script-src 'none'"
    try:
        # (As send_file does it, which does not ask a stream for its length.)
        answer.make_conditional(request, accept_ranges=True, complete_length=info.size)
    except RequestedRangeNotSatisfiable:
        opened.close()
        raise
    return answer
