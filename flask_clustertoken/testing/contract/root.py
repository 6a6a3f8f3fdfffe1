"""The contract of what is said once about a store, and of moving house."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ...clock import ManualClock
from ...errors import Conflict, StoreNotOpen
from ...stores.base import ClusterStore, Entry, Held, Put, Record, Root
from .fixtures import KEYS, MakeStore, StoreFixtures, at_once, entry, feed_of, seal, walk


class RootContract(StoreFixtures):
    """What is said once about a store, and moving house."""

    def test_the_root_is_written_once(self, make_store: MakeStore) -> None:
        """All handles, asking at once or later, are told the same epoch."""
        answers = at_once(*[make_store().root for _ in range(4)])
        assert len(set(map(repr, answers))) == 1
        first = answers[0]
        assert isinstance(first, Root)
        assert (first.state, first.moved_to) == ("open", "")
        assert len(first.epoch) >= 8
        assert make_store().root() == first

    def test_the_root_changes_only_from_what_it_was(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """From a root that is not the present one nothing is written, entry included."""
        old = store.root()
        new = replace(old, state="preparing")
        assert store.change_root(old, new, entry("a")) is True
        assert other.root() == new
        assert other.change_root(old, replace(old, state="sealed"), entry("b")) is False
        assert store.root() == new
        assert [one.id for one in feed_of(store)] == ["a"]

    def test_of_two_that_change_the_root_one_wins(self, make_store: MakeStore) -> None:
        """Two migrations begun at once do not both go on."""
        handles = [make_store(), make_store()]
        old = handles[0].root()

        def attempt(index: int) -> bool:
            new = replace(old, state="sealed", moved_to=f"place-{index}:")
            return handles[index].change_root(old, new, entry(f"e{index}"))

        answers = at_once(lambda: attempt(0), lambda: attempt(1))
        assert sorted(answers, key=str) == [False, True]
        winner = answers.index(True)
        assert handles[0].root().moved_to == f"place-{winner}:"
        assert [one.id for one in feed_of(handles[1])] == [f"e{winner}"]

    def test_a_sealed_store_refuses_what_is_new(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Append, add, put and touch say where it moved; nothing is written."""
        store.put("key", b"old", 1.9e9)
        seal(store, "zookeeper://new:2181/app")
        for refused in (
            lambda: other.append([entry("a")]),
            lambda: other.append([], [Put("key", b"new", None)]),
            lambda: other.add("other", b"", None),
            lambda: other.put("key", b"new", None),
            lambda: other.touch("key", None),
        ):
            with pytest.raises(StoreNotOpen, match=re.escape("zookeeper://new:2181/app")):
                refused()
        assert other.get_many(["key", "other"]) == {"key": Record(b"old", 1.9e9)}
        assert feed_of(other) == []

    def test_a_sealed_store_is_read_and_swept(
        self, store: ClusterStore, clock: ManualClock
    ) -> None:
        """Reading, presence, deleting, purging and trimming go on."""
        store.put("key", b"", None)
        store.put("over", b"", clock.time() - 1)
        seqs = store.append([entry("a"), entry("b")])
        store.announce("n1", b"")
        seal(store)
        assert store.vouch("n1", b"").seq == store.head() == seqs[1]
        store.announce("n2", b"")
        store.withdraw("n2")
        assert store.delete("key") is True
        assert store.purge(clock.time()).deleted == 1
        store.trim([seqs[0]])
        assert [one.id for one in feed_of(store)] == ["b"]

    def test_a_store_is_filled_only_while_it_is_prepared(self, store: ClusterStore) -> None:
        """Loading into an open or sealed store is refused and writes nothing."""
        records = [("key", Record(b"", None))]
        with pytest.raises(StoreNotOpen):
            store.load(records, [])
        seal(store)
        with pytest.raises(StoreNotOpen):
            store.load(records, [])
        assert store.get("key") is None

    def test_a_load_ends_where_its_maker_holds_the_store_no_more(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """Whoever was suspended meanwhile writes nothing over what another one brought since."""
        held, records = Held("lease/x", b"me"), [("key", Record(b"old", None))]
        root = store.root()
        assert store.change_root(root, replace(root, state="preparing"))
        with pytest.raises(Conflict):
            store.load(records, [], held=held)
        store.add("lease/x", b"me", clock.time() + 60)
        store.load(records, [], held=held)
        clock.advance(61)
        with pytest.raises(Conflict):
            store.load([("more", Record(b"", None))], [], held=held)
        other.add("lease/x", b"somebody else", clock.time() + 60)
        other.load([("key", Record(b"new", None))], [], held=Held("lease/x", b"somebody else"))
        for late in (records, []):
            with pytest.raises(Conflict):
                store.load(late, [Entry(10, 0, "a", b"", None)], head=40, held=held)
        assert store.get("key") == Record(b"new", None)
        assert (store.get("more"), feed_of(store), store.head()) == (None, [], 0)

    def test_a_load_brings_records_entries_and_numbers(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """The copy has the same numbers, head and floor; loading twice is loading once."""
        root = store.root()
        assert store.change_root(root, replace(root, state="preparing"))
        end = clock.time() + 77
        records = [(key, Record(key.encode(), end)) for key in KEYS]
        entries = [Entry(10, 0, "a", b"A", None), Entry(30, 20, "c", b"C", end)]
        for _ in range(2):
            store.load(iter(records), iter(entries), head=40, floor=20)
        assert dict(walk(other, "", 7)) == dict(records)
        assert feed_of(other) == entries
        assert (other.head(), other.read(0).seq, other.read(0).floor) == (40, 40, 20)
        store.load([], [Entry(50, 40, "d", b"", None)])
        assert (other.head(), other.read(0).floor) == (50, 20)
        if store.embedded and store.shared:
            assert other.position() == 50
        prepared = store.root()
        assert store.change_root(prepared, replace(prepared, state="open"))
        assert other.append([entry("a")]) == [10]
        assert other.append([entry("e")])[0] > 50
        assert feed_of(store)[-1].prev == 50
