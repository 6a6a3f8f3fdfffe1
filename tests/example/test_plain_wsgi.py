"""The same protection without Flask, and logins shared with the Flask example."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import Client

from example_app import plain_wsgi
from flask_clustertoken import ClusterTokenMiddleware

from .conftest import MakeApp, log_in


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterTokenMiddleware]:
    """The site on this test's instance folder."""
    monkeypatch.setenv("INSTANCE", str(tmp_path / "instance"))
    made = plain_wsgi.create_application()
    yield made
    made.authority.close()


def test_an_import_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is built when a server asks for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSTANCE", str(tmp_path / "instance"))
    importlib.reload(plain_wsgi)
    assert not list(tmp_path.iterdir())
    application = plain_wsgi.application
    assert application is plain_wsgi.application
    application.authority.close()
    importlib.reload(plain_wsgi)


def test_one_logs_in_and_out(site: ClusterTokenMiddleware) -> None:
    """A login, a look, a logout; and the old cookie is refused afterwards."""
    client = Client(site)
    assert client.get("/me").status_code == 401
    answer = client.post("/login", data={"username": "alice", "password": "alice"})
    assert answer.status_code == 303
    assert client.get("/me").json["subject"] == "alice"
    assert "You are alice" in client.get("/").text
    cookie = client.get_cookie("clustertoken")
    assert cookie is not None

    assert client.post("/logout").status_code == 303

    client.set_cookie("clustertoken", cookie.value)
    assert client.get("/me").json == {"reason": "revoked"}


@pytest.mark.parametrize("size", ["", "x", "-1", "99999999"])
def test_odd_logins_are_refused(site: ClusterTokenMiddleware, size: str) -> None:
    """Neither a wrong password nor a body of no length is a login."""
    client = Client(site)
    assert client.post("/login", data={"username": "alice", "password": "x"}).status_code == 401
    odd = client.post("/login", environ_overrides={"CONTENT_LENGTH": size})
    assert odd.status_code in (401, 413)
    assert client.get("/nowhere").status_code == 404
    foreign = client.post(
        "/login",
        data={"username": "alice", "password": "alice"},
        headers={"Origin": "https://evil.example"},
    )
    assert foreign.status_code == 403


def test_a_login_beyond_the_limit_is_not_called_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reason why no token was made has its own words and status."""
    monkeypatch.setenv("INSTANCE", str(tmp_path / "instance"))
    limits = {"CLUSTERTOKEN_TOKEN_LIMIT": 1, "CLUSTERTOKEN_WHEN_LIMIT": "refuse"}
    made = plain_wsgi.create_application(**limits)
    alice = {"username": "alice", "password": "alice"}
    assert Client(made).post("/login", data=alice).status_code == 303

    refused = Client(made).post("/login", data=alice)

    assert refused.status_code == 403
    assert "ended" not in refused.text
    made.authority.close()


def test_who_is_locked_out_reads_why(site: ClusterTokenMiddleware) -> None:
    """The lock's own message, with 403, also without Flask."""
    site.authority.locking.lock(subject="alice", message="Please <call> the office.")

    refused = Client(site).post("/login", data={"username": "alice", "password": "alice"})

    assert refused.status_code == 403
    assert "Please &lt;call&gt; the office." in refused.text


def test_it_shares_its_logins_with_the_flask_example(
    site: ClusterTokenMiddleware, make_app: MakeApp
) -> None:
    """On one instance folder a login of one is known to the other, and ends in both."""
    flask = make_app().test_client()
    log_in(flask)
    cookie = flask.get_cookie("clustertoken")
    assert cookie is not None
    plain = Client(site)
    plain.set_cookie("clustertoken", cookie.value)
    assert plain.get("/me").json["subject"] == "alice"

    assert plain.post("/logout").status_code == 303

    assert flask.get("/api/me").status_code == 401
