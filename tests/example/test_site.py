"""The example's site page: an uploaded logo, and a nightly task that one server runs."""

from __future__ import annotations

import io
import os

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from .conftest import MakeApp, log_in

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LOGO = b"\x89PNG" + bytes(range(256)) * 16


def form(content: bytes = LOGO, kind: str = "image/png") -> dict[str, object]:
    return {"logo": (io.BytesIO(content), "logo", kind)}


def test_an_admin_uploads_the_logo_and_everybody_is_sent_it(client: FlaskClient) -> None:
    """With its type, its ETag, and as an image that is shown."""
    assert client.get("/logo").status_code == 404
    log_in(client, "admin")
    assert "None yet" in client.get("/site", headers=HTML).text
    answer = client.post("/site/logo", data=form())
    assert (answer.status_code, answer.location) == (303, "/site")
    assert 'id="logo"' in client.get("/site", headers=HTML).text
    answer = client.get("/logo")
    assert answer.data == LOGO
    assert answer.mimetype == "image/png"
    assert answer.headers["Content-Disposition"].startswith("inline")
    asked = {"If-None-Match": answer.headers["ETag"]}
    assert client.get("/logo", headers=asked).status_code == 304


def test_only_an_admin_uploads_and_only_an_image(client: FlaskClient) -> None:
    """Each refusal says why."""
    log_in(client, "alice")
    assert client.post("/site/logo", data=form()).status_code == 403
    assert 'type="file"' not in client.get("/site", headers=HTML).text
    log_in(client, "admin")
    assert client.post("/site/logo", data=form(kind="text/html")).status_code == 415
    assert client.post("/site/logo", data={}).status_code == 400
    assert client.get("/logo").status_code == 404


def test_a_logo_may_be_larger_than_any_form(make_app: MakeApp, client: FlaskClient) -> None:
    """Of 2 MB, where the store takes as much; what is too large is said so, and all other
    addresses take as little as before."""
    log_in(client, "admin")
    large = os.urandom(2 * 1024 * 1024 - 1024)

    def upload(to: FlaskClient, content: bytes) -> TestResponse:
        sent = FileStorage(io.BytesIO(content), "logo", "logo", "image/png")
        boundary, body = encode_multipart({"logo": sent})
        kind = f"multipart/form-data; boundary={boundary}"
        return to.post("/site/logo", data=body, content_type=kind)

    assert upload(client, large).status_code == 303
    assert client.get("/logo").data == large
    answer = upload(client, large + bytes(1024))
    assert answer.status_code == 413
    assert "2 MB" in answer.text
    assert client.post("/login", data={"username": "x" * 66_000}).status_code == 413
    small = make_app(FILE_LIMIT=100_000).test_client()
    log_in(small, "admin")
    answer = upload(small, large)
    assert answer.status_code == 413
    assert "FILE_LIMIT" in answer.text
    assert client.get("/logo").data == large


def test_the_nightly_task_runs_once_a_night(app: Flask, client: FlaskClient) -> None:
    """Whoever is told to runs it, and every server shows when that was."""
    run = app.test_cli_runner().invoke
    log_in(client)
    assert "has not run yet" in client.get("/site", headers=HTML).text
    assert "Ran it" in run(args=["nightly", "--slot", "2026-11-30"]).output
    assert "Another one" in run(args=["nightly", "--slot", "2026-11-30"]).output
    assert "Ran for 2026-11-30 on <b>here</b>" in client.get("/site", headers=HTML).text
    assert "Ran it" in run(args=["nightly", "--slot", "2026-12-01"]).output
