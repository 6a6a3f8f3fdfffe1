"""A second holder, as a Flask app sees it: a signal, a line in the log, and the end of a login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, current_app

from flask_clustertoken import token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension.signals import token_reused
from flask_clustertoken.testing import TokenClient
from tests.extension.parts import DAY, MakeApp, cookie, texts_set

Told = list[dict[str, Any]]


@pytest.fixture
def hear() -> Iterator[Callable[[Flask], Told]]:
    """What the app tells of second holders."""
    connected: list[tuple[Callable[..., None], Flask]] = []

    def connect(app: Flask) -> Told:
        told: Told = []

        def heard(sender: Flask, **said: Any) -> None:
            assert current_app._get_current_object() is sender is app  # type: ignore[attr-defined]
            told.append(said)

        token_reused.connect(heard, app)
        connected.append((heard, app))
        return told

    yield connect
    for heard, app in connected:
        token_reused.disconnect(heard, app)


def get(app: Flask, text: str, agent: str) -> tuple[int, str]:
    """The status, and the cookie that the browser has afterwards."""
    answer = app.test_client().get("/me", headers={**cookie(text), "User-Agent": agent})
    return answer.status_code, (texts_set(answer) or [text])[0]


def stolen(app: Flask, clock: ManualClock) -> tuple[str, str]:
    """A copy of a login that somebody took, and the one with which its owner goes on."""
    (old,) = texts_set(app.test_client().post("/login/alice"))
    clock.advance(2 * DAY)
    status, new = get(app, old, "Firefox")
    assert (status, new != old) == (200, True)
    for seconds in (1, 61):
        clock.advance(seconds)
        assert get(app, new, "Firefox") == (200, new)
    clock.advance(5)
    return old, new


def test_an_app_is_told_by_a_signal(
    make_app: MakeApp, clock: ManualClock, hear: Callable[[Flask], Told]
) -> None:
    """With both places, an app's context, and without anybody being thrown out."""
    app, _ = make_app()
    told = hear(app)
    old, new = stolen(app, clock)
    status, copy = get(app, old, "curl/8\t" + "x" * 300)
    assert status == 200
    (said,) = told
    assert set(said) == {"token", "asked", "other", "ended"}
    assert said["token"].subject == "alice"
    assert said["asked"].agent == "curl/8?" + "x" * 193
    assert said["other"].agent == "Firefox"
    assert said["asked"].at - said["other"].at == 5
    assert not said["ended"]
    for text in (old, new, copy):
        assert get(app, text, "Firefox")[0] == 200
        assert text not in repr(said)
    assert len(told) == 1


def test_an_app_may_have_the_login_ended(
    make_app: MakeApp, clock: ManualClock, hear: Callable[[Flask], Told]
) -> None:
    """Every copy of it; who logs in again is somebody new."""
    app, _ = make_app(WHEN_REUSED="end")
    told = hear(app)
    old, new = stolen(app, clock)
    _, copy = get(app, old, "curl")
    assert [said["ended"] for said in told] == [True]
    for text in (old, new, copy):
        assert get(app, text, "Firefox")[0] == 401
    (again,) = texts_set(app.test_client().post("/login/alice"))
    assert get(app, again, "Firefox")[0] == 200


def test_the_grace_can_be_set(
    make_app: MakeApp, clock: ManualClock, hear: Callable[[Flask], Told]
) -> None:
    """What comes within it is honest: for an app whose users upload for an hour, an hour."""
    app, _ = make_app(REUSE_GRACE=3600)
    told = hear(app)
    old, new = stolen(app, clock)
    get(app, old, "curl")
    assert told == []
    clock.advance(3600)
    get(app, new, "Firefox")
    clock.advance(1)
    get(app, old, "curl")
    assert len(told) == 1


def test_a_client_of_tests_is_one_holder(
    make_app: MakeApp, clock: ManualClock, hear: Callable[[Flask], Told]
) -> None:
    """It keeps its cookie as a browser does, for as long as a login lives."""
    app, _ = make_app(WHEN_REUSED="end")
    told = hear(app)
    app.test_client_class = TokenClient
    client = app.test_client(subject="alice")
    for _ in range(60):
        clock.advance(DAY / 3)
        assert client.get("/me").status_code == 200
        clock.advance(61)
        assert client.get("/me").status_code == 200
    assert told == []


def test_a_view_that_renews_nothing_asks_for_nothing(
    make_app: MakeApp, clock: ManualClock, hear: Callable[[Flask], Told]
) -> None:
    """``slide=False``: whoever polls or uploads with an old copy is not looked at for it."""
    app, _ = make_app(WHEN_REUSED="end")
    told = hear(app)

    @app.get("/poll")
    @token_required(slide=False)
    def poll() -> str:
        return "nothing new"

    old, _ = stolen(app, clock)
    assert app.test_client().get("/poll", headers=cookie(old)).status_code == 200
    assert told == []
