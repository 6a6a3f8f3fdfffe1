"""Files: what the servers of this deployment share, and the end of one."""

from __future__ import annotations

from itertools import islice

from flask import Response, abort, request, url_for
from flask import redirect as to
from werkzeug.wrappers import Response as BaseResponse

from ..audit import AuditTrail
from ..extension import send_shared_file
from ..shared import FileInfo, every_file, room_of
from . import gate

#: Files of one page.
MOST = 50


def show() -> Response:
    authority = gate.authority()
    settings = authority.settings
    store = authority.runtime.used()
    try:
        number = max(1, min(int(request.args.get("page", "1")), 10_000))
    except ValueError:
        abort(400, "This is no number of a page.")
    start = (number - 1) * MOST
    found = list(islice(every_file(store, settings.deployment), start, start + MOST + 1))
    room = room_of(store, authority.clock, settings.deployment, settings.files_total)
    return gate.show(
        "files.html",
        files=found[:MOST],
        number=number,
        more=len(found) > MOST,
        taken=room.used(),
        total=room.total,
        deployment=settings.deployment,
    )


def send() -> Response:
    """The file itself, to be saved and never shown."""
    name, key, _ = _file()
    return send_shared_file(name, key)


def ask() -> Response:
    name, _, info = _file()
    return gate.show("delete.html", name=name, info=info)


def delete() -> BaseResponse:
    name, key, _ = _file()
    authority = gate.authority()
    with gate.acting():
        there = authority.files(name).delete(key)
        outcome = "done" if there else "was not there"
        AuditTrail.of(authority).note("file_deleted", outcome=outcome, detail=f"{name}: {key}")
    return to(url_for(f"{gate.NAME}.files", said="deleted"), 303)


def _file() -> tuple[str, str, FileInfo]:
    given = request.values
    name, key = given.get("name", ""), given.get("key", "")
    try:
        info = gate.authority().files(name).stat(key)
    except (TypeError, ValueError):
        info = None
    if info is None:
        abort(404, "There is no such file any more.")
    return name, key, info
