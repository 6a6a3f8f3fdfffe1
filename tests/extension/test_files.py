"""Shared files as answers of a view."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_clustertoken import ClusterToken, send_shared_file
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.shared.fileinfo import PIECE

CONTENT = bytes(range(256)) * 1024  # two pieces

tokens = ClusterToken()


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask(__name__)
    app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET="k" * 40)
    tokens.init_app(app)

    @app.get("/files/<path:key>")
    def send(key: str) -> object:
        return send_shared_file("uploads", key, inline=["image/png", "image/svg+xml"])

    @app.get("/named")
    def named() -> object:
        return send_shared_file("uploads", request.args["key"])

    with app.app_context():
        tokens.files("uploads").put("logos/a.png", CONTENT)
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_a_file_is_sent_with_what_is_known_of_it(client: FlaskClient) -> None:
    """Its bytes, length, type and a strong ETag; no browser guesses another type."""
    answer = client.get("/files/logos/a.png")
    assert answer.status_code == 200
    assert answer.data == CONTENT
    assert answer.content_length == len(CONTENT)
    assert answer.mimetype == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("inline")
    etag, weak = answer.get_etag()
    assert etag
    assert not weak
    assert client.head("/files/logos/a.png").content_length == len(CONTENT)


def test_what_is_known_already_is_not_sent_again(client: FlaskClient) -> None:
    """By ETag and by time; after another file took the name it is."""
    first = client.get("/files/logos/a.png")
    asked = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/files/logos/a.png", headers=asked).status_code == 304
    later = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert client.get("/files/logos/a.png", headers=later).status_code == 304
    tokens.files("uploads").put("logos/a.png", b"new")
    assert client.get("/files/logos/a.png", headers=asked).data == b"new"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        (f"bytes={PIECE - 5}-{PIECE + 4}", PIECE - 5, PIECE + 5),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes={PIECE}-", PIECE, len(CONTENT)),
    ],
)
def test_a_part_is_sent_where_one_is_asked_for(
    client: FlaskClient, asked: str, start: int, end: int
) -> None:
    """Also across the pieces; only of the version that the client has, where it says so."""
    answer = client.get("/files/logos/a.png", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.data == CONTENT[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    other = {"Range": asked, "If-Range": '"another"'}
    assert client.get("/files/logos/a.png", headers=other).status_code == 200


def test_a_part_that_is_not_there_is_refused(client: FlaskClient) -> None:
    """With the length that there is."""
    answer = client.get("/files/logos/a.png", headers={"Range": "bytes=999999-"})
    assert answer.status_code == 416


def test_an_uploaded_page_does_not_run_as_the_app(client: FlaskClient) -> None:
    """It is saved, not shown; and what is shown although it may hold scripts runs none."""
    files = tokens.files("uploads")
    for key, kind in (("x.html", "text/html"), ("x", "text/html; charset=utf-8"), ("y", None)):
        files.put(key, b"<script>alert(1)</script>", kind)
        answer = client.get(f"/files/{key}")
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    files.put("logo.svg", b"<svg><script>alert(1)</script></svg>", "image/SVG+xml")
    answer = client.get("/files/logo.svg")
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_name_for_saving_is_harmless(client: FlaskClient) -> None:
    """Whatever the key was made of."""
    tokens.files("uploads").put('a"\r\nX: y/b\n"Ü.bin', b"x")
    answer = client.get("/named", query_string={"key": 'a"\r\nX: y/b\n"Ü.bin'})
    assert answer.status_code == 200
    assert "\n" not in answer.headers["Content-Disposition"]
    assert "X" not in answer.headers


def test_no_file_is_a_404_and_trouble_a_503(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble is never absence."""
    assert client.get("/files/nothing").status_code == 404

    def cut(*_: object) -> None:
        raise StoreUnavailable("cut")

    store = app.extensions["clustertoken"].authority.store
    monkeypatch.setattr(store, "get_many", cut)
    assert client.get("/files/logos/a.png").status_code == 503


@pytest.mark.parametrize("key", ["", "x" * 513, "é" * 300])
def test_what_no_file_can_be_called_is_a_404(client: FlaskClient, key: str) -> None:
    """Whoever asks chooses the key: no text of theirs is an error of the app's."""
    assert client.get("/named", query_string={"key": key}).status_code == 404


def test_a_name_of_files_that_is_none_is_the_apps_mistake(app: Flask) -> None:
    """The view chose that one, and would find nothing for ever."""
    with app.test_request_context(), pytest.raises(ValueError, match="name of shared files"):
        send_shared_file("", "logos/a.png")


def test_what_a_form_sends_is_stored(app: Flask, client: FlaskClient) -> None:
    """The stream that Flask has for an uploaded file."""

    @app.post("/upload")
    def upload() -> str:
        sent = request.files["file"]
        return tokens.files("uploads").put("sent", sent.stream, sent.mimetype).sha256

    answer = client.post("/upload", data={"file": (io.BytesIO(CONTENT), "x.png", "image/png")})
    assert answer.text == tokens.files("uploads").open("logos/a.png").info.sha256
