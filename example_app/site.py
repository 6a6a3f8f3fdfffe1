"""The site itself: its logo, which is uploaded, and its nightly task, which one server runs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import click
from flask import Blueprint, Request, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from flask_clustertoken import require_token, send_shared_file, token_required
from flask_clustertoken.errors import FilesFull, ValueTooLarge

from .accounts import is_admin
from .answers import done
from .node import this_node
from .tokens import tokens

blueprint = Blueprint("site", __name__, cli_group=None)

#: What a logo may be. An SVG is shown, and runs nothing.
LOGOS = ("image/png", "image/jpeg", "image/webp", "image/svg+xml")

#: Bytes that come with an upload at most; ``FILE_LIMIT`` is what the store takes of any file.
UPLOAD_LIMIT = 2 * 1024 * 1024


class SiteRequest(Request):
    """Takes an upload where there is one, and elsewhere what a form may have."""

    # (By address: who looks at the form before the view does may read it, too. Flask 3.1 could
    # be told so in the view.)
    @property  # type: ignore[misc]
    def max_content_length(self) -> int | None:  # type: ignore[override]
        return UPLOAD_LIMIT if self.endpoint == "site.upload" else super().max_content_length


@blueprint.get("/site")
@token_required(kind="login")
def site() -> ResponseReturnValue:
    return render_template(
        "site.html",
        logo=tokens.files("site").stat("logo"),
        nightly=tokens.shared("tasks").get("nightly"),
        admin=is_admin(require_token().subject),
    )


@blueprint.get("/logo")
def logo() -> ResponseReturnValue:
    return send_shared_file("site", "logo", inline=LOGOS)


@blueprint.post("/site/logo")
@token_required(kind="login")
def upload() -> ResponseReturnValue:
    if not is_admin(require_token().subject):
        abort(403, "Only an admin may change the logo.")
    try:
        sent = request.files.get("logo")
    except RequestEntityTooLarge:
        abort(413, f"A logo has {UPLOAD_LIMIT // 1024**2} MB at most.")
    if sent is None or not sent.filename:
        abort(400, "Choose a file.")
    if sent.mimetype not in LOGOS:
        abort(415, "A logo is a PNG, JPEG, WebP or SVG image.")
    try:
        info = tokens.files("site").put("logo", sent.stream, sent.mimetype)
    except (ValueTooLarge, FilesFull) as error:
        abort(413, str(error))
    return done(url_for(".site"), size=info.size, sha256=info.sha256)


@blueprint.cli.command("nightly")
@click.option("--slot", help="The night that it is for; today's, if not given.")
def nightly(slot: str | None) -> None:
    """Run tonight's task, if no other server was told to: for a line of cron on each of them."""
    slot = slot or datetime.now(timezone.utc).date().isoformat()
    tasks = tokens.shared("tasks")
    if not tasks.once("nightly", slot):
        click.echo(f"Another one runs it for {slot}.")
        return
    run: dict[str, Any] = {
        "slot": slot,
        "at": int(datetime.now(timezone.utc).timestamp()),
        "node": this_node()["name"],
    }
    tasks.set("nightly", run)
    click.echo(f"Ran it for {slot}.")
