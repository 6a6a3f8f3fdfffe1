"""Calls that may take their time are made in threads, once there are threads."""

from __future__ import annotations

import threading

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.authority.callers import Callers
from tests.no_thread import no_thread
from tests.waiting import wait_until


def test_calls_wait_for_a_thread_where_none_can_be_had(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks is not harmed; the next look that gets a thread has them made."""
    callers, made = Callers(), list[int]()
    with no_thread("clustertoken-caller"):
        for number in range(3):
            callers.call(lambda number=number: made.append(number))  # type: ignore[misc]
        assert callers.look() > 0
    assert "pids.max" in caplog.text
    assert not made

    def looked() -> bool:
        callers.look()
        return sorted(made) == [0, 1, 2]

    wait_until(looked)


def test_what_waits_for_a_thread_does_not_ask_for_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand connections that end at once are one try, and the next tries come later."""
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)
    monkeypatch.setattr("flask_clustertoken.authority.callers.RETRY", 60.0)
    callers = Callers()
    with no_thread("clustertoken-caller") as refused:
        for _ in range(1000):
            callers.call(print)
        assert callers.look() > 30
    assert len(refused) == 1


def test_calls_that_are_made_meanwhile_need_no_more_threads() -> None:
    """One that is there makes them all, although no other one can be had."""
    callers, first, made = Callers(), threading.Event(), list[int]()
    callers.call(first.set)
    assert first.wait(30)
    with no_thread("clustertoken-caller"):
        for number in range(100):
            callers.call(lambda number=number: made.append(number))  # type: ignore[misc]
        wait_until(lambda: len(made) == 100)
