"""Calls to Keycloak behind the requests: logouts first, each look once, and after a fork."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.protocol import Background, background
from tests.keycloak.app import Make, create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer
from tests.no_thread import no_thread
from tests.waiting import came_true, holds_for, wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs goes on when the test is over."""
    made = threading.Event()
    yield made
    made.set()


def hang(gate: threading.Event) -> Callable[[], None]:
    def work() -> None:
        gate.wait(20)

    return work


def test_a_logout_overtakes_looks(config: Make, gate: threading.Event) -> None:
    """Keycloak is told of a logout although a thousand looks at sessions hang before it."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        for number in range(1100):
            app.extensions["keycloak"].background.look(str(number), "a look", hang(gate))
        flow = Flow(app, issuer)
        flow.begin()
        flow.issue()
        flow.come_back()

        assert flow.client.post("/logout").status_code == 200

        wait_until(lambda: any(one.endswith("/logout") for one in issuer.asked), 5)
        state_of(app).authority.close()


@pytest.mark.processes
def test_a_logout_waits_for_no_answer(config: Make, gate: threading.Event) -> None:
    """Keycloak calls us back before it answers: the request is over by then. The process that
    ends waits a moment."""
    done = []

    def slowly(request: Request) -> Response:
        if request.path.endswith("/logout"):
            gate.wait(20)
            done.append(request.form["refresh_token"])
        issuer.mad = None
        try:
            return issuer._respond(request)
        finally:
            issuer.mad = slowly

    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        flow = Flow(app, issuer)
        flow.begin()
        flow.issue()
        flow.come_back()
        issuer.mad = slowly

        assert flow.client.post("/logout").status_code == 200

        assert done == []
        closing = threading.Thread(target=state_of(app).authority.close)
        closing.start()
        holds_for(closing.is_alive, 0.2)
        gate.set()
        closing.join(5)
        assert done == ["a-refresh-token"]


def test_one_look_for_each_login(gate: threading.Event) -> None:
    """A login that is renewed with each request is looked at once while a look waits."""
    runner, done = Background(), []
    runner.look("busy", "a look", hang(gate))
    for number in range(10):
        runner.look("a", "a look", lambda number=number: done.append(number))
        runner.look("b", "a look", lambda number=number: done.append(-number))
    gate.set()
    wait_until(lambda: len(done) == 2, 5)

    runner.look("a", "a look", lambda: done.append(10))

    wait_until(lambda: len(done) == 3, 5)
    holds_for(lambda: done == [0, 0, 10], 0.1)


def test_a_call_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and can be made again."""
    runner, done = Background(), threading.Event()

    def fail() -> None:
        raise ValueError("a reason")

    with caplog.at_level(logging.WARNING):
        runner.look("a", "a look", fail)
        wait_until(lambda: "a look failed: a reason" in caplog.text, 5)
        wait_until(lambda: not runner._looks._keys, 5)
        runner.look("a", "a look", done.set)
    assert done.wait(5)


def test_what_got_no_thread_is_done_once_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for it is not harmed, and one word in the log says so."""
    runner, done = Background(), list[str]()
    with no_thread("clustertoken-keycloak"):
        runner.run("a logout", lambda: done.append("told"))
        for _ in range(2):
            runner.look("a", "a look", lambda: done.append("looked"))
    assert caplog.text.count("pids.max") == 2, "once for each kind"
    runner.look("a", "a look", lambda: done.append("looked twice"))
    wait_until(lambda: done == ["looked"])
    runner.start()
    wait_until(lambda: done == ["looked", "told"])


def test_what_is_left_out_is_said(
    gate: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is dropped without a word, also when the process ends."""
    monkeypatch.setattr(background, "LOGOUTS_WAITING", 2)
    monkeypatch.setattr(background, "DRAIN_PATIENCE", 0.1)
    runner, began = Background(), threading.Event()

    def first() -> None:
        began.set()
        gate.wait(20)

    runner.run("the first", first)
    assert began.wait(5)
    for name in ("second", "third", "fourth"):
        runner.run(name, lambda: None)
    assert "fourth was left out" in caplog.text
    assert "third was left out" not in caplog.text

    runner.drain()
    assert "not told of 3 logouts" in caplog.text

    gate.set()
    runner.drain()


@pytest.mark.parametrize("_", range(10))
def test_two_first_uses_at_once(_: int) -> None:
    """Nothing of what either brings is lost."""
    runner, done = Background(), []
    barrier = threading.Barrier(4)

    def use(name: int) -> None:
        barrier.wait(5)
        for _ in range(2):
            runner.run("a logout", lambda: done.append(name))

    users = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for one in users:
        one.start()
    for one in users:
        one.join()
    runner.drain()
    assert sorted(done) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_child_begins_anew(gate: threading.Event) -> None:
    """What the parent has to do is the parent's, and its threads and locks are not the child's."""
    runner = Background()
    runner.run("the parent's", hang(gate))
    runner.look("a", "the parent's", hang(gate))
    with runner._logouts._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            done: list[int] = []
            runner.run("the child's", lambda: done.append(1))
            runner.look("a", "the child's", lambda: done.append(2))
            came_true(lambda: len(done) == 2, 5)
            os._exit(0 if sorted(done) == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
