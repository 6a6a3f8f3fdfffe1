"""Turns: one refresh at a time, also where somebody sleeps through their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.extension.state import state_of
from flask_clustertoken.keycloak import KeycloakUnavailable
from flask_clustertoken.keycloak.turn import Turn
from flask_clustertoken.stores.memory import MemoryStore
from tests.keycloak.app import create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.refreshing import Refreshing
from tests.waiting import holds_for, wait_until

Make = Callable[..., dict[str, Any]]
KEY = "keycloak/refreshing/a-login"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    with MemoryStore(clock=clock) as opened:
        yield opened


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture(params=["session", "cookie"])
def refreshing(
    request: pytest.FixtureRequest, issuer: Issuer, config: Make
) -> Iterator[Refreshing]:
    apps = [create_app(config(issuer.url, store=request.param)) for _ in range(2)]
    yield Refreshing(apps, issuer)
    for app in apps:
        state_of(app).authority.close()


def test_one_at_a_time(store: MemoryStore, clock: ManualClock) -> None:
    """The next one may when the first lets go, or when its time is over."""
    first, second, third = (Turn(store, KEY) for _ in range(3))
    ends = clock.time() + 30
    assert [one.take(ends) for one in (first, second)] == [True, False]

    first.give()
    assert second.take(ends)

    clock.advance(30)
    assert third.take(clock.time() + 30)


def test_who_slept_takes_nothing_away(store: MemoryStore, clock: ManualClock) -> None:
    """Its time was over and another has the turn: that one keeps it."""
    first, second = Turn(store, KEY), Turn(store, KEY)
    assert first.take(clock.time() + 30)
    clock.advance(31)
    assert second.take(clock.time() + 30)

    first.give()

    store.append([], second.needed())
    assert not Turn(store, KEY).take(clock.time() + 30)


def test_trouble_while_letting_go_is_no_trouble(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refreshed is handed out all the same."""
    turn = Turn(store, KEY)
    assert turn.take(clock.time() + 30)

    def fail(*_: object) -> list[int]:
        raise StoreUnavailable("no")

    monkeypatch.setattr(store, "append", fail)
    turn.give()

    with pytest.raises(StoreUnavailable):
        Turn(store, KEY).take(clock.time() + 30)


def test_who_slept_overwrites_nothing(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen during its refresh finds another's newer tokens."""
    monkeypatch.setattr(refreshing.vault(0), "_turn_lasts", lambda: 0.2)
    newer = replace(refreshing.first, refresh_token="newer", number=7)

    def sleep() -> None:
        store = state_of(refreshing.apps[1]).authority.store
        key = refreshing.vault(1)._keys.refreshing(refreshing.label)
        wait_until(lambda: Turn(store, key).take(time.time() + 30), 5)
        refreshing.vault(1).keep(refreshing.label, newer)

    refreshing.before = sleep

    with pytest.raises(KeycloakUnavailable):
        refreshing.refresh()

    assert refreshing.vault(0).read(refreshing.label) == newer


def test_a_turn_is_longer_than_keycloak_may_take(issuer: Issuer, config: Make) -> None:
    """However long its answers may take by the options."""
    app = create_app(config(issuer.url, options={"socket-timeout-millis": 60_000}))
    refreshing = Refreshing([app], issuer)

    def look() -> None:
        store = state_of(app).authority.store
        key = refreshing.vault(0)._keys.refreshing(refreshing.label)
        held = store.get(key)
        assert held is not None
        ends.append(held.expires_at - time.time())

    ends: list[float] = []
    refreshing.before = look
    refreshing.refresh()

    # Discovery, the refresh, the keys.
    assert ends[0] > 3 * 60
    state_of(app).authority.close()


@pytest.mark.processes
def test_many_wait_quietly(refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait look less and less often, and write nothing meanwhile."""
    go_on = threading.Event()
    refreshing.before = lambda: go_on.wait(10)
    counts = {"append": 0, "get_many": 0}
    store = state_of(refreshing.apps[0]).authority.store

    def counted(name: str) -> None:
        usual = getattr(store, name)

        def call(*given: Any) -> Any:
            counts[name] += 1
            return usual(*given)

        monkeypatch.setattr(store, name, call)

    counted("append")
    counted("get_many")
    with ThreadPoolExecutor(17) as pool:
        asked = [pool.submit(refreshing.refresh) for _ in range(17)]
        holds_for(lambda: counts["append"] <= 20, 1.5)
        seen = dict(counts)
        go_on.set()
        assert {one.result().number for one in asked} == {2}

    # Each tries once to have the turn. (Every 30 ms it would have been 800 times.)
    assert seen["append"] <= 20
    assert seen["get_many"] <= 17 * 14
