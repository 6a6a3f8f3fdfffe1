"""What Keycloak says once: the old answer serves while a new one is fetched, however long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.wrappers import Request, Response

from flask_clustertoken.clock import ManualClock, SystemClock
from flask_clustertoken.keycloak import KeycloakUnavailable
from flask_clustertoken.keycloak.errors import KEYCLOAK
from flask_clustertoken.keycloak.options import KeycloakOptions
from flask_clustertoken.keycloak.protocol.provider import Provider, Providers
from flask_clustertoken.oidc.remembered import FETCH_PATIENCE, Remembered
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs goes on when the test is over."""
    made = threading.Event()
    yield made
    made.set()


class Source:
    """Counts the fetches; *behave* says what each one does."""

    def __init__(self) -> None:
        self.count = 0
        self.behave: Callable[[], object] = lambda: None

    def __call__(self) -> int:
        self.count += 1
        mine = self.count
        self.behave()
        return mine


def remembered(source: Source, clock: ManualClock | SystemClock) -> Remembered[int]:
    return Remembered(KEYCLOAK, "the number", source, clock=clock, lifetime=100, pause=10)


def fail() -> None:
    raise KeycloakUnavailable("no")


def test_an_old_value_serves_while_a_fetch_hangs(gate: threading.Event) -> None:
    """Nobody waits for the new value, and one thread fetches it."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)
    assert value.get() == 1
    clock.advance(101)
    source.behave = lambda: gate.wait(10)

    began = time.monotonic()
    assert [value.get() for _ in range(6)] == [1] * 6
    assert time.monotonic() - began < FETCH_PATIENCE
    gate.set()

    wait_until(lambda: value.get() == 2, 5)
    assert source.count == 2


def test_an_old_value_serves_while_fetches_fail() -> None:
    """They are tried again after the pause, each behind the requests."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)
    value.get()
    clock.advance(101)
    source.behave = fail

    for count in (2, 3):
        assert value.get() == 1
        wait_until(lambda count=count: source.count == count, 5)
        wait_until(lambda: not value._lock.locked(), 5)
        assert value.get() == 1
        assert source.count == count
        clock.advance(10)


def test_a_pause_begins_when_an_attempt_ends() -> None:
    """An attempt that took longer than the pause is not repeated by each one who waited."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)

    def hang() -> None:
        clock.advance(8)
        wait_until(lambda: len(asking) == 6, 5)
        fail()

    source.behave = hang

    asking: list[int] = []

    def ask(number: int) -> str:
        asking.append(number)
        try:
            value.get()
        except KeycloakUnavailable:
            return "unavailable"
        return "a value"

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {"unavailable"}
    assert source.count == 1


def test_a_newer_one_is_fetched_once_in_a_pause() -> None:
    """Who misses something asks for a newer value: one fetch in ten seconds."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)
    first = value.get()

    assert value.newer(first) == 1
    clock.advance(10)
    assert value.newer(first) == 2
    assert value.newer(first) == 2
    assert value.newer(2) == 2
    assert source.count == 2


def test_a_doubt_is_settled_before_the_next_use() -> None:
    """Whoever asks after a doubt goes by what was fetched after it; the pause does not count."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)
    assert value.get() == 1
    # A doubt that comes during a fetch is not settled by that fetch.
    source.behave = lambda: value.doubt() if source.count == 2 else None

    value.doubt()

    assert [value.get(), value.get(), value.get()] == [2, 3, 3]


def test_a_doubt_that_cannot_be_settled_holds_up_once() -> None:
    """One attempt; then the old value serves, and it is tried again behind the requests."""
    source, clock = Source(), ManualClock()
    value = remembered(source, clock)
    value.get()
    source.behave = fail
    value.doubt()

    assert [value.get(), value.get(), value.get()] == [1, 1, 1]
    assert source.count == 2

    source.behave = lambda: None
    clock.advance(10)
    wait_until(lambda: value.get() == 3, 5)


def test_judging_does_not_wait_for_a_hanging_keycloak(
    issuer: Issuer, gate: threading.Event
) -> None:
    """Discovery and keys are a day old, and Keycloak hangs: six verifications take no time."""
    clock = ManualClock()
    provider = Provider(
        KeycloakOptions("demo", "app", issuer.url), front=issuer.url, back=issuer.url, clock=clock
    )
    text = issuer.sign(issuer.access_token())
    provider.keys.verify(text)

    def hang(request: Request) -> Response:
        gate.wait(10)
        return Response(status=503)

    issuer.mad = hang
    clock.advance(90_000)

    def ask(_: int) -> str:
        provider.keys.verify(text)
        return provider.issuer

    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {issuer.issuer}
    assert time.monotonic() - began < FETCH_PATIENCE


def test_a_child_waits_for_no_thread_of_its_parent(issuer: Issuer, gate: threading.Event) -> None:
    """The parent forks while one of its threads fetches: the child fetches by itself, and by
    connections of its own."""
    options = KeycloakOptions("demo", "app", issuer.url)
    providers = Providers(options, SystemClock())
    provider = providers.at("")
    text = issuer.sign(issuer.access_token())
    provider.keys.verify(text)
    session = provider._session
    with provider._endpoints._lock, provider.keys._keys._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            provider._endpoints.doubt()
            provider.keys.forget()
            began = time.monotonic()
            provider.keys.verify(text)
            fresh = provider._session is not None and provider._session is not session
            os._exit(0 if fresh and time.monotonic() - began < FETCH_PATIENCE - 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert provider._session is session
