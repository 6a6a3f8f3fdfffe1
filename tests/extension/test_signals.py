"""Signals: sent by the app, once, with what happened; receivers change nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from blinker import Signal
from flask import Flask, current_app

from flask_clustertoken import ClusterToken, Token, TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import signals, state_of
from flask_clustertoken.stores.memory import MemoryStore
from tests.extension.parts import DAY, MakeApp, cookie, login_text

NAMES = [
    "token_issued",
    "token_renewed",
    "token_revoked",
    "revocation_applied",
    "token_refused",
    "token_reused",
    "node_stale",
    "node_fresh",
    "login_ending",
]


@pytest.fixture
def heard(site: tuple[Flask, ClusterToken]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the app said, in order."""
    said: list[tuple[str, dict[str, Any]]] = []
    receivers: list[tuple[Signal, Callable[..., None]]] = []
    for name in NAMES:

        def hear(sender: Flask, name: str = name, **extra: Any) -> None:
            assert sender is site[0]
            said.append((name, extra))

        signal: Signal = getattr(signals, name)
        signal.connect(hear, site[0])
        receivers.append((signal, hear))
    yield said
    for signal, hear in receivers:
        signal.disconnect(hear, site[0])


def names(heard: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in heard]


def test_the_life_of_a_login_is_told(
    site: tuple[Flask, ClusterToken],
    heard: list[tuple[str, dict[str, Any]]],
    clock: ManualClock,
) -> None:
    """Issued, renewed, ended by its user, revoked once, applied once, refused from then on."""
    app, _ = site
    client = app.test_client()
    client.post("/login/alice")
    clock.advance(2 * DAY)
    client.get("/me")
    kept = client.get_cookie("__Host-clustertoken")
    assert kept is not None
    heard_so_far = [name for name in names(heard) if not name.startswith("node_")]
    assert heard_so_far == ["token_issued", "token_renewed"]
    heard.clear()

    client.post("/logout")
    client.get("/me", headers=cookie(kept.value))

    told = dict(heard)
    assert names(heard) == ["login_ending", "revocation_applied", "token_revoked", "token_refused"]
    assert told["login_ending"]["token"].subject == "alice"
    assert told["token_revoked"]["seq"] == told["revocation_applied"]["seq"]
    assert told["revocation_applied"]["covers"](told["login_ending"]["token"])
    assert told["token_refused"]["refusal"].reason == "revoked"
    assert told["token_refused"]["refusal"].detail
    assert kept.value not in repr(heard)


def test_a_revocation_of_another_node_is_applied_here_once(
    site: tuple[Flask, ClusterToken],
    heard: list[tuple[str, dict[str, Any]]],
    clock: ManualClock,
) -> None:
    """Each node tells it once with an app context pushed; only the one that asked says revoked."""
    app, _ = site
    here = state_of(app).authority
    assert isinstance(here.store, MemoryStore)
    contexts: list[Flask] = []

    def hear(sender: Flask, **extra: Any) -> None:
        contexts.append(current_app._get_current_object())  # type: ignore[attr-defined]

    signals.revocation_applied.connect(hear, app)
    mine, bobs = (here.issue_login(who).token for who in ("alice", "bob"))
    other = TokenAuthority(
        here.settings, clock=clock, store=MemoryStore(here.store._shelf, clock=clock)
    )
    other.revoke_subject("alice")
    heard.clear()

    for _ in range(3):
        here.follower().step()
        here.follower().follow()

    assert names(heard) == ["revocation_applied"]
    assert contexts == [app]
    covers = heard[0][1]["covers"]
    assert (covers(mine), covers(bobs)) == (True, False)
    other.close()


def test_a_node_tells_when_it_becomes_stale_and_fresh(
    site: tuple[Flask, ClusterToken],
    heard: list[tuple[str, dict[str, Any]]],
    clock: ManualClock,
) -> None:
    """Once for each change, and with the reason."""
    app, _ = site
    headers = cookie(login_text(app))
    follower = state_of(app).authority.follower()
    clock.advance(11)
    follower._tried = clock.monotonic()
    for _ in range(2):
        app.test_client().get("/me", headers=headers)
    clock.advance(1)
    app.test_client().get("/me", headers=headers)

    changes = [(name, said) for name, said in heard if name.startswith("node_")]
    assert [name for name, _ in changes] == ["node_fresh", "node_stale", "node_fresh"]
    assert changes[1][1]["reason"]


def test_the_sender_is_the_app(make_app: MakeApp) -> None:
    """Whoever listens to one app hears nothing of another one."""
    one, _ = make_app("one")
    other, _ = make_app("other")
    told: list[Token] = []

    def hear(sender: Flask, token: Token, **extra: Any) -> None:
        told.append(token)

    signals.token_issued.connect(hear, other)
    login_text(one)
    assert not told
    login_text(other, "bob")
    assert [token.subject for token in told] == ["bob"]


@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_that_raises_changes_nothing(
    make_app: MakeApp, clock: ManualClock, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers are the same, the other receivers hear of it, and it is logged."""
    app, _ = make_app()
    signal: Signal = getattr(signals, name)
    others: list[str] = []

    def first(sender: Flask, **extra: Any) -> None:
        others.append(name)

    def broken(sender: Flask, **extra: Any) -> None:
        raise RuntimeError("a receiver is broken")

    def last(sender: Flask, **extra: Any) -> None:
        others.append(name)

    for receiver in (first, broken, last):
        signal.connect(receiver, app)
    client = app.test_client()
    with caplog.at_level(logging.ERROR):
        assert client.post("/login/alice").status_code == 200
        kept = client.get_cookie("__Host-clustertoken")
        assert kept is not None
        clock.advance(2 * DAY)
        for seconds in (0, 1, 61):
            clock.advance(seconds)
            assert client.get("/me").status_code == 200
        app.test_client().get("/me", headers=cookie(kept.value))
        assert client.post("/logout").json == {"ended": True}
        assert client.get("/me", headers=cookie(kept.value)).status_code == 401
        login = cookie(login_text(app))
        clock.advance(11)
        state_of(app).authority.follower()._tried = clock.monotonic()
        assert client.get("/me", headers=login).status_code == 503

    assert others
    assert len(others) % 2 == 0
    assert any("receiver" in record.message for record in caplog.records)
    assert kept.value not in caplog.text
