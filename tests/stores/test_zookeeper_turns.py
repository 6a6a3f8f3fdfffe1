"""The order in which the threads of a process come to append; no server is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flask_clustertoken.stores.zookeeper import queue
from flask_clustertoken.stores.zookeeper.appender import Appender
from flask_clustertoken.stores.zookeeper.connection import CallDeadline
from flask_clustertoken.stores.zookeeper.queue import Turns
from tests.waiting import wait_until


def test_turns_are_given_in_the_order_of_asking() -> None:
    """Who has just had its turn stands behind those that wait."""
    turns, order = Turns(), []
    assert turns.take(0)
    threads = []
    for number in range(5):

        def wait(number: int = number) -> None:
            assert turns.take(30)
            order.append(number)
            turns.give()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        wait_until(lambda number=number: len(turns._waiting) == number + 1)
    turns.give()
    assert turns.take(30)
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4]


def test_who_gives_up_waiting_loses_no_turn_for_others() -> None:
    """A turn that nobody waits for any more goes to the next that asks."""
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0.01)
    turns.give()
    assert turns.take(0)


class TimedOut(BaseException):
    """What ends a greenlet that waits, as ``gevent.Timeout``: no :class:`Exception`."""


@pytest.mark.parametrize("when", ["while it waits", "as its turn comes"])
def test_who_is_ended_while_it_waits_loses_no_turn_for_others(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A request's own time-out, or a signal: whoever asks next has the turn."""
    turns = Turns()
    happens: Callable[[], None] = turns.give if when == "as its turn comes" else lambda: None

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            happens()
            raise TimedOut

    assert turns.take(0)
    with monkeypatch.context() as patched:
        patched.setattr(queue.threading, "Event", Ended)
        with pytest.raises(TimedOut):
            turns.take(5)
    if when == "while it waits":
        assert not turns.take(0.01), "it is still somebody's"
        turns.give()
    assert turns.take(0)
    assert not turns.take(0.01), "it is one turn, and not two"


def test_a_ticket_that_cannot_be_given_back_keeps_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends its owner at that very moment."""
    appender = Appender(*(cast(Any, None),) * 4)

    def ended() -> None:
        raise TimedOut

    monkeypatch.setattr(appender, "_queue", SimpleNamespace(leave=ended))
    for _ in range(2):
        with pytest.raises(TimedOut), appender._turn(CallDeadline(0)):
            pass
