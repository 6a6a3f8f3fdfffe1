"""Whoever falls asleep while it lets go of a lease takes none away from the next holder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from flask_clustertoken.cluster.sweeper import ELECTED_FOR, EVERY, STEADY, SWEPT
from flask_clustertoken.operations import migration, rotation
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import RING_KEY
from tests.doubles import CALLS, Cluster, WatchedStore, store_of

Alone = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["rotation", "migration"])
def work(request: pytest.FixtureRequest, cluster: Cluster) -> tuple[WatchedStore, str, Alone]:
    """The store in which it is held, its key, and what is done under it."""
    node = cluster.node()
    node.follower()
    if request.param == "rotation":
        return store_of(node), rotation.LEASE, rotation.Rotation(node)._alone
    target = WatchedStore(Shelf(), clock=cluster.clock)
    move = migration._Move(node.store, target, lambda *_: None, cluster.clock)
    return target, migration.LEASE, move._alone


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_release_takes_nobody_elses_lease(
    cluster: Cluster, work: tuple[WatchedStore, str, Alone], moment: str
) -> None:
    """Asleep before or behind the first step of its release, whichever call that is."""
    store, key, alone = work
    hooks = getattr(store, moment)

    def sleep() -> None:
        hooks.clear()
        cluster.clock.advance(600)
        assert store.add(key, b"somebody else", cluster.clock.time() + 60)

    with alone():
        hooks.update(dict.fromkeys(CALLS, sleep))

    held = store.get(key)
    assert held is not None
    assert held.value == b"somebody else"


def test_a_rotation_that_slept_changes_no_keys(cluster: Cluster) -> None:
    """Another one has begun meanwhile; that it has not written yet makes no difference."""
    node = cluster.node()
    mine = rotation.Rotation(node)
    with mine._alone():
        ring = mine._begun()
        ring.mark("0" * 12, "staged", cluster.clock.time())
        cluster.clock.advance(600)
        assert node.store.add(rotation.LEASE, b"somebody else", cluster.clock.time() + 60)

        with pytest.raises(rotation.RotationRefused, match="somebody else"):
            mine._write(ring)

    assert node.store.get(RING_KEY) is None


def test_a_sweeper_that_slept_moves_nothing_on(cluster: Cluster) -> None:
    """How far was swept is written by the one that is elected, at the moment of writing."""
    sleeper, other = cluster.node(), cluster.node()
    for _ in range(3):
        cluster.step()
        cluster.clock.advance(STEADY)
    cluster.step()
    written = []

    def sleep() -> None:
        cluster.clock.advance(ELECTED_FOR + 1)
        cluster.step(other)
        written.append(cluster.shelf.records[SWEPT].value)

    cluster.clock.advance(ELECTED_FOR + EVERY)
    store_of(sleeper).before["get_many"] = sleep
    cluster.step(sleeper)

    assert written
    assert cluster.shelf.records[SWEPT].value == written[0]
