"""No fault, in any order, breaks promise 1, 2, 4 or 5: hundreds of schedules, in full thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_clustertoken.errors import StoreUnavailable
from tests.rounds import rounds

from .world import World, problems

#: Things that people and faults do in one schedule, before it settles.
ACTIONS = 25
BATCH = 125


#: The inner loop has some hundred schedules, the stage with processes some thousand more.
BATCHES = [
    pytest.param(batch, marks=[pytest.mark.processes] if batch >= 1 else [])
    for batch in range(rounds(4, 150))
]


#: Seeds of schedules with restored backups, as many as the inner loop has time for and the rest.
RESTORES = [
    pytest.param(range(25)),
    pytest.param(range(25, rounds(50, 3000)), marks=[pytest.mark.processes]),
]


@pytest.mark.parametrize("batch", BATCHES)
def test_no_schedule_breaks_a_promise(batch: int) -> None:
    """Whatever is cut, frozen, lost, late or restarted, the promises of revocation hold."""
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        world = World(seed)
        world.run(ACTIONS)
        found = problems(world)
        assert not found, f"python -m tests.simulation {seed}\n" + "\n".join(found[:3])


@pytest.mark.long
@pytest.mark.parametrize("seeds", RESTORES, ids=str)
def test_no_restored_backup_hides_what_is_revoked_afterwards(
    seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody stopped the nodes, and numbers that were lost come again."""
    monkeypatch.setattr(World, "restores", True)
    for seed in seeds:
        world = World(seed)
        world.run(ACTIONS)
        found = problems(world)
        assert not found, f"python -m tests.simulation {seed} --restores\n" + "\n".join(found[:3])


#: Seeds of schedules in which subjects are locked out and let in, also with restored backups.
LOCKS = [
    pytest.param(range(40)),
    pytest.param(range(40, rounds(60, 3000)), marks=[pytest.mark.processes]),
]


@pytest.mark.long
@pytest.mark.parametrize("restores", [False, True], ids=["quiet", "restores"])
@pytest.mark.parametrize("seeds", LOCKS, ids=str)
def test_nobody_who_is_locked_out_is_let_in(
    seeds: range, restores: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the acknowledgement on nothing is made, and within the bound nothing is accepted."""
    monkeypatch.setattr(World, "locks", True)
    monkeypatch.setattr(World, "restores", restores)
    locked = 0
    for seed in seeds:
        world = World(seed)
        world.run(ACTIONS)
        found = problems(world)
        assert not found, f"python -m tests.simulation {seed} --locks\n" + "\n".join(found[:3])
        locked += sum(bool(one.get("lock")) for one in world.history)
    assert locked > len(seeds)


#: Seeds of schedules in which much is made of tokens that are just being revoked.
ASKS = [
    pytest.param(range(60)),
    pytest.param(range(60, rounds(100, 6000)), marks=[pytest.mark.processes]),
]


@pytest.mark.long
@pytest.mark.parametrize("seeds", ASKS, ids=str)
def test_nothing_is_made_of_a_token_that_is_revoked(
    seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly the body comes, whatever is revoked meanwhile and wherever."""
    monkeypatch.setattr(World, "asks", True)
    made = 0
    for seed in seeds:
        world = World(seed)
        world.run(ACTIONS)
        found = problems(world)
        assert not found, f"python -m tests.simulation {seed} --asks\n" + "\n".join(found[:3])
        made += sum(one["type"] == "issued" and bool(one["asked"]) for one in world.history)
    assert made > len(seeds)


def test_an_unlock_that_arrives_late_counts_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller has given up, somebody locks, and then the store gets it: no fault of ours."""
    monkeypatch.setattr(World, "locks", True)
    world = World(0)
    world.calm = True
    node, world.network.busy = world.nodes[0], 0.0
    world.people.ready(node)
    late: list[Callable[[], object]] = []
    append = node.authority.store.append

    def lose_the_answer(*given: Any, **more: Any) -> list[int]:
        late.append(lambda: append(*given, **more))
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(node.authority.store, "append", lose_the_answer)
        world.people.unlock(node, "alice")
    world.network.pass_time(1.0)
    world.people.lock(node, "alice")
    world.network.pass_time(5.0)
    late[0]()
    world.network.pass_time(0.1)
    node.step()
    for _ in range(20):
        world.people.issue(node)
    assert {"alice"} <= {one["subject"] for one in world.history if one["type"] == "issued"}
    assert not problems(world)
