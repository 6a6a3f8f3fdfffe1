"""The console of two hosts over a real server, the same for each kind of store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_clustertoken import ClusterToken, token_required
from flask_clustertoken.clock import ManualClock, SystemClock
from flask_clustertoken.console import Console
from flask_clustertoken.errors import Locked
from flask_clustertoken.extension import state_of
from tests.waiting import wait_until

from .parts import Desk, ids_in, people_in

SECRET = "the secret of these tests, long enough"


@contextmanager
def host(folder: Path, name: str, **settings: Any) -> Iterator[Desk]:
    """A host with the console, and a node of its own."""
    app = Flask(name, instance_path=str(folder / name))
    app.config.update({f"CLUSTERTOKEN_{key}": one for key, one in settings.items()})
    tokens = ClusterToken(app, clock=SystemClock())
    Console(app, may=lambda token: token.subject == "admin")

    @app.get("/me")
    @token_required
    def me() -> str:
        return "in"

    authority = state_of(app).authority
    try:
        authority.follower()
        yield Desk(app, tokens, ManualClock())
    finally:
        authority.close()


def an_administrator_at_work(url: str, folder: Path, **settings: Any) -> None:
    """Finds somebody, ends a login in force on both hosts, ends many, sees it in the trail, locks
    somebody out on both, and begins a rotation whose key is missing on the other host."""
    keys = [folder / f"{name}.keys" for name in ("red", "blue")]
    for one in keys:
        one.write_text(SECRET + "\n")
        one.chmod(0o600)
    given = {"STORE": url, "AUDIT": "store", "EXPECTED_NODES": [], **settings}
    with (
        host(folder, "red", SECRET_FILE=str(keys[0]), **given) as red,
        host(folder, "blue", SECRET_FILE=str(keys[1]), **given) as blue,
    ):
        wait_until(lambda: len(red.authority.nodes()) == 2)
        assert red.get("/").text.count("<tr>") == 3
        first, second = blue.browser("bob"), blue.browser("bob")
        crowd = [blue.authority.issue_login(f"person-{number}").text for number in range(120)]
        page = red.get("/people", q="bob").text
        assert "2 logins" in page.partition('id="exact-list"')[2]
        listed = ids_in(red.get("/tokens", subject="bob").text)
        assert len(listed) == 2
        shown = red.outcome(red.post("/tokens/end", id=listed[0], ticked="1"))
        assert "1 token ended" in shown
        assert "In force on all 2 nodes" in shown
        assert sorted([blue.is_in(first), blue.is_in(second)]) == [False, True]

        assert len(people_in(red.get("/people", q="person-").text)) == 50
        shown = red.outcome(red.post("/tokens/end", prefix="person-"))
        assert "120 tokens ended" in shown
        assert "In force on all 2 nodes" in shown
        assert not any(blue.authority.authenticate(text, "login") for text in crowd)
        shown = red.outcome(red.post("/tokens/end", everybody="1"))
        assert "In force on all 2 nodes" in shown
        assert not blue.is_in(second)
        assert red.is_in(red.admin)
        wait_until(lambda: red.get("/audit", event="revoked_everybody").text.count("</tr>") == 2)
        assert red.get("/revocations").text.count("</tr>") >= 4

        shown = red.outcome(red.post("/locks/set", what="subject", name="carol", ends="3600"))
        assert "In force on all 2 nodes" in shown
        with pytest.raises(Locked):
            blue.authority.issue_login("carol")
        assert "carol" in red.get("/locks").text
        red.outcome(red.post("/locks/lift", what="subject", name="carol"))
        assert blue.authority.issue_login("carol")

        shown = red.outcome(red.post("/keys/step", step="stage"))
        assert "In force on all 2 nodes" in shown
        missing = re.compile("on 1 of 2 nodes.*missing on", re.S)
        wait_until(lambda: missing.search(red.get("/keys").text))
        assert 'data-step="sign"' not in red.get("/keys").text
        keys[1].write_bytes(keys[0].read_bytes())
        wait_until(lambda: 'data-step="sign"' in red.get("/keys").text)
