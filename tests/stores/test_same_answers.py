"""The embedded store and the one in memory give the same answers to the same calls."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ClusterTokenError
from flask_clustertoken.stores.base import (
    Add,
    Change,
    ClusterStore,
    Delete,
    Entry,
    NewEntry,
    Put,
    Record,
    Require,
)
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.memory import MemoryStore

KEYS = [f"{place}/{name}" for place in ("a", "b/c", "ü") for name in ("x", "y", "z.1")]
STATES = ["open", "open", "open", "preparing", "sealed"]


def answer(call: Callable[[ClusterStore], object], store: ClusterStore) -> object:
    try:
        return call(store)
    except ClusterTokenError as error:
        return type(error), getattr(error, "key", None)


def any_call(chosen: random.Random, clock: ManualClock) -> Callable[[ClusterStore], object]:
    """One call of the contract with arguments, both left to chance."""
    now = clock.time()
    key = chosen.choice(KEYS)
    node = chosen.choice(["n1", "n2"])
    value = chosen.randbytes(chosen.randrange(6))
    end = chosen.choice([None, now - 1, now, now + 5, now + 50])
    limit = chosen.choice([1, 2, 5, 1000])
    seq = int(now * 1e6) + chosen.randrange(-40_000_000, 100)
    changes: list[Change] = [
        chosen.choice([Add(one, value, end), Put(one, value, end), Delete(one), Require(one)])
        for one in chosen.sample(KEYS, chosen.randrange(3))
    ]
    names = [f"e{chosen.randrange(10**6)}" for _ in range(chosen.randrange(3))]
    entries = [NewEntry(name, value, end) for name in names]
    state = chosen.choice(STATES)

    def trim(store: ClusterStore) -> None:
        store.trim(sorted(one.seq for one in store.ended(now))[:limit])

    def change_root(store: ClusterStore) -> bool:
        root = store.root()
        return store.change_root(root, replace(root, state=state, moved_to="x:"), *entries[:1])

    def load(store: ClusterStore) -> None:
        store.load([(key, Record(value, end))], [Entry(seq, 0, f"l{seq}", value, end)], floor=3)

    return chosen.choice(
        [
            lambda store: store.get_many(KEYS),
            lambda store: store.add(key, value, end),
            lambda store: store.put(key, value, end),
            lambda store: store.touch(key, end),
            lambda store: store.delete(key),
            lambda store: sorted(one for one, _ in store.scan(key[:2], limit=1000)),
            lambda store: len(store.scan("", limit=limit)),
            lambda store: store.purge(now - 3),
            lambda store: store.append(entries, changes),
            lambda store: store.append(entries, changes, above=seq),
            lambda store: store.read(0, limit),
            lambda store: store.read(seq, limit),
            lambda store: store.head(),
            lambda store: store.position(),
            lambda store: sorted(one.seq for one in store.ended(now)),
            trim,
            lambda store: store.announce(node, value),
            lambda store: store.vouch(node, value),
            lambda store: store.withdraw(node),
            lambda store: {one.node_id: replace(one, version=0) for one in store.nodes()},
            lambda store: replace(store.root(), epoch=""),
            change_root,
            load,
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_same_calls_have_the_same_answers(seed: int, tmp_path: Path) -> None:
    """Over 500 calls left to chance, errors included, the two never differ."""
    chosen, clock = random.Random(seed), ManualClock()
    memory = MemoryStore(clock=clock)
    with DirectoryStore(tmp_path / "shared", clock=clock) as directory:
        for number in range(500):
            call = any_call(chosen, clock)
            assert answer(call, directory) == answer(call, memory), number
            clock.advance(chosen.choice([0, 0, 0.5, 7]))
