"""Slots of tasks: of all servers that ask, one is told to run it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.shared.once import _REMEMBERED
from flask_clustertoken.shared.values import SLOT_LIFE
from flask_clustertoken.testing.contract import at_once, in_a_child
from tests.doubles import Cluster, store_of


def test_of_all_that_ask_one_is_told_so(cluster: Cluster) -> None:
    """For each slot of each task; who was told once is not told again."""
    nodes = [cluster.node().shared("tasks") for _ in range(6)]
    for slot in ("1", "2"):
        for task in ("backup", "report"):
            answers = at_once(*(partial(one.once, task, slot) for one in nodes))
            assert sorted(answers, key=str) == [False] * 5 + [True], (task, slot)
            assert not any(one.once(task, slot) for one in nodes)


def test_names_deployments_tasks_and_slots_are_apart(cluster: Cluster) -> None:
    """However they are spelled; and no slot is among the keys of the shared data."""
    node, other = cluster.node(), cluster.node(DEPLOYMENT="qa")
    assert node.shared("a").once("b/c", "d")
    assert node.shared("a").once("b", "c/d")
    assert node.shared("a/b").once("c", "d")
    assert other.shared("a").once("b/c", "d")
    assert list(node.shared("a").keys()) == []


def test_a_moment_is_the_same_slot_in_every_zone(cluster: Cluster) -> None:
    """Spelled in UTC; one without a zone would be another moment on another server."""
    data = cluster.node().shared("tasks")
    noon = datetime(2027, 3, 28, 12, tzinfo=timezone.utc)
    assert data.once("backup", noon)
    assert not data.once("backup", noon.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert data.once("backup", noon + timedelta(minutes=1))
    with pytest.raises(ValueError, match="time zone"):
        data.once("backup", datetime(2027, 3, 28, 12))


@pytest.mark.parametrize("slot", ["", "x" * 513, "漢" * 171, 5, None])
def test_a_slot_is_a_short_text(cluster: Cluster, slot: Any) -> None:
    """Or a moment, and nothing else."""
    with pytest.raises((TypeError, ValueError), match="slot"):
        cluster.node().shared("tasks").once("backup", slot)


def test_a_slot_is_remembered_for_its_life_by_every_clock(cluster: Cluster) -> None:
    """A server whose clock is ahead does not run it again before that."""
    data = cluster.node().shared("tasks")
    ahead = ManualClock(cluster.clock.time() + SKEW - 1)
    late = cluster.node(ahead).shared("tasks")
    assert data.once("backup", "1")
    ahead.advance(SLOT_LIFE)
    assert not late.once("backup", "1")
    ahead.advance(1)
    assert late.once("backup", "1")


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_lost_the_answer_is_told_in_the_same_call(cluster: Cluster, when: str) -> None:
    """Where the store can be asked again: that it was written, or that another one was first."""
    one, two = (cluster.node() for _ in range(2))
    store = store_of(one)

    def lost() -> None:
        raise StoreUnavailable("no answer")

    store.after["add"] = lost
    if when == "before":
        assert two.shared("tasks").once("backup", "1")
        assert not one.shared("tasks").once("backup", "1")
    else:
        assert one.shared("tasks").once("backup", "1")
        assert not two.shared("tasks").once("backup", "1")


def test_whoever_lost_the_answer_and_asks_again_is_told_once(cluster: Cluster) -> None:
    """It was written, and nobody could be asked: asking again gives the ``True`` that was lost,
    to one of those who ask in this process."""
    node, other = cluster.node(), cluster.node()
    store = store_of(node)

    def lost() -> None:
        store.cut()
        raise StoreUnavailable("no answer")

    store.after["add"] = lost
    with pytest.raises(StoreUnavailable):
        node.shared("tasks").once("backup", "1")
    with pytest.raises(StoreUnavailable):
        node.shared("tasks").once("backup", "1")
    store.heal()
    assert not other.shared("tasks").once("backup", "1")
    assert node.shared("tasks").once("backup", "1")
    assert not node.shared("tasks").once("backup", "1")


def test_a_write_that_arrives_late_is_its_callers(cluster: Cluster) -> None:
    """The caller gave up and asks again after it arrived: ``True``, and nobody else."""
    node = cluster.node()
    store = store_of(node)
    arrived: list[Any] = []

    def held_up() -> None:
        raise StoreUnavailable("no answer yet")

    store.before["add"] = held_up
    with pytest.raises(StoreUnavailable):
        node.shared("tasks").once("backup", "1")
    arrived.append(node.shared("tasks").once("backup", "1"))
    assert arrived == [True]
    assert not cluster.node().shared("tasks").once("backup", "1")


def test_a_forks_child_does_not_ask_in_its_parents_name(cluster: Cluster) -> None:
    """The parent lost the answer: it may ask again, the child is another one."""
    node = cluster.node()
    store = store_of(node)

    def lost() -> None:
        store.cut()
        raise StoreUnavailable("no answer")

    store.after["add"] = lost
    with pytest.raises(StoreUnavailable):
        node.shared("tasks").once("backup", "1")
    shelf = store._shelf

    def child() -> bool:
        # (A store in memory begins anew in a child; this one is to be the same.)
        store._shelf = shelf
        store.heal()
        return not node.shared("tasks").once("backup", "1")

    assert in_a_child(child)
    store.heal()
    assert node.shared("tasks").once("backup", "1")


def test_what_was_not_answered_does_not_fill_the_memory(cluster: Cluster) -> None:
    """Of many thousand slots that were asked for during an outage the last ones are known."""
    node = cluster.node()
    store_of(node).cut()
    for number in range(_REMEMBERED + 10):
        with pytest.raises(StoreUnavailable):
            node.shared("tasks").once("backup", str(number))
    from flask_clustertoken.shared.once import _unanswered

    kept = _unanswered[node.store]
    assert len(kept) == _REMEMBERED
    assert next(reversed(kept)).endswith(f"/{_REMEMBERED + 9}")
