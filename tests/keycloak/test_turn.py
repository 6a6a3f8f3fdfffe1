"""Turns: one refresh at a time, also where somebody sleeps through their own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak import KeycloakUnavailable
from flask_clustertoken.stores import Lease
from tests.keycloak.app import Make, create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.refreshing import Refreshing
from tests.waiting import holds_for, wait_until


def test_who_slept_overwrites_nothing(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen during its refresh finds another's newer tokens."""
    monkeypatch.setattr(refreshing.refresher(0), "lease_lasts", lambda: 0.2)
    newer = replace(refreshing.first, refresh_token="newer", number=7)

    def sleep() -> None:
        store = state_of(refreshing.apps[1]).authority.store
        key = refreshing.keys().refreshing(refreshing.label)
        wait_until(lambda: Lease(store, key, margin=0.0).take(30), 5)
        refreshing.kept(1).keep(refreshing.label, newer)

    refreshing.before = sleep

    with pytest.raises(KeycloakUnavailable):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) == newer


def test_a_turn_is_longer_than_keycloak_may_take(issuer: Issuer, config: Make) -> None:
    """However long its answers may take by the options."""
    app = create_app(config(issuer.url, options={"socket-timeout-millis": 60_000}))
    refreshing = Refreshing([app], issuer)

    def look() -> None:
        store = state_of(app).authority.store
        key = refreshing.keys().refreshing(refreshing.label)
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
