"""When a ZooKeeper client is replaced, and how often the servers are tried; none is needed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.stores.zookeeper import Line, handler
from flask_clustertoken.stores.zookeeper.address import EnsembleAddress, ZooKeeperOptions
from flask_clustertoken.stores.zookeeper.connection import CallDeadline
from flask_clustertoken.stores.zookeeper.site import get
from tests.no_thread import no_thread
from tests.servers.ports import spare_ports
from tests.waiting import wait_until


@pytest.fixture
def line() -> Iterator[Line]:
    """To servers of which there is none."""
    hosts = tuple(("127.0.0.1", port) for port in spare_ports(2))
    made = Line(EnsembleAddress(hosts, "/app"), ZooKeeperOptions(), 0.05, lambda connected: None)
    yield made
    made.close()


def fails(line: Line) -> bool:
    with pytest.raises(StoreUnavailable):
        line.ask(CallDeadline(0.05), get("/app"))
    return True


def test_rounds_through_the_servers_become_rarer(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of a second at most, then twice that, up to two seconds."""
    bounds: list[float] = []
    monkeypatch.setattr(backoff, "share", lambda bound: bounds.append(bound) or 0.0)
    fails(line)
    wait_until(lambda: len(bounds) >= 7)
    assert bounds[:7] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


@pytest.mark.long
def test_a_client_that_waits_for_servers_is_kept(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long calls fail: a new one would find no others, and cost them a session more."""
    rounds: list[float] = []
    monkeypatch.setattr(backoff, "share", lambda bound: rounds.append(bound) or 0.05)
    line.patience = 0.5
    fails(line)
    client = line._zk
    wait_until(lambda: fails(line) and len(rounds) > 40)
    assert line._failed_at - (line._failing_since or 0.0) > line.patience
    assert line._zk is client


def test_a_client_of_which_nothing_is_heard_is_replaced(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread hangs for good; and the next one is given more time before it is replaced."""
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(60)
        raise OSError("over")

    monkeypatch.setattr(handler, "_connected", hang)
    monkeypatch.setattr(backoff, "share", lambda bound: bound)
    line.patience = 0.2
    fails(line)
    client = line._zk
    try:
        wait_until(lambda: fails(line) and line._zk is not client)
        assert line._put_up_with == 2.0
    finally:
        over.set()


@pytest.mark.parametrize("had", range(3))
def test_a_client_that_got_only_some_of_its_threads_is_made_anew(
    line: Line, monkeypatch: pytest.MonkeyPatch, had: int
) -> None:
    """kazoo needs three. What it had ends, calls are told, and not each of them tries again."""
    monkeypatch.setattr(backoff, "share", lambda bound: 60 * bound)
    before, start, asked = set(threading.enumerate()), threading.Thread.start, list[int]()

    def few(self: threading.Thread) -> None:
        asked.append(1)
        if len(asked) > had:
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", few)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"pids\.max"):
                line.ask(CallDeadline(0.05), get("/app"))
    assert len(asked) == had + 1
    wait_until(lambda: set(threading.enumerate()) <= before)
    line._build_at = 0.0
    fails(line)
    assert len(set(threading.enumerate()) - before) == 3


def test_a_client_that_no_thread_can_stop_is_stopped_later(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once would be one session too many; and closing the store harms nobody."""
    fails(line)
    client = line._zk
    with no_thread("clustertoken-zk-stop"):
        with monkeypatch.context() as patched:
            patched.setattr(line, "_useless", lambda: True)
            fails(line)
        assert line._zk is client
        line.close()
    client.stop()
    client.close()


def test_sockets_are_waited_for_as_kazoo_does_it() -> None:
    """Ready to read, to write, closed by the other end, closed here, and nothing in time."""
    from kazoo.handlers.utils import selector_select

    one, other = socket.socketpair()
    third, gone = socket.socketpair()
    gone.close()
    waits = [handler._polled, selector_select]
    assert [wait([one, third], [], [], 5) for wait in waits] == [([third], [], [])] * 2
    assert [wait([one], [], [], 0.001) for wait in waits] == [([], [], [])] * 2
    other.send(b"x")
    assert [wait([one], [other], [], 5) for wait in waits] == [([one], [other], [])] * 2
    assert [wait([one], [], [], None) for wait in waits] == [([one], [], [])] * 2
    third.close()
    for wait in waits:
        with pytest.raises((TypeError, ValueError), match=r"(?i)descriptor"):
            wait([third], [], [], 0)
    number = os.dup(one.fileno())
    os.close(number)
    for wait in waits:
        with pytest.raises(ValueError, match=r"descriptor|fd"):
            wait([number], [], [], 0)
    one.close()
    other.close()
