"""The contract of records."""

from __future__ import annotations

import threading
from functools import partial

from ...clock import ManualClock
from ...stores.base import PAGE_BYTES, ClusterStore, Record
from .fixtures import KEYS, MakeStore, StoreFixtures, at_once, walk


class RecordsContract(StoreFixtures):
    """Bytes under text keys."""

    def test_what_was_never_there_is_absent(self, store: ClusterStore) -> None:
        """Absence is an answer."""
        assert store.get("nothing") is None
        assert store.get_many(["nothing", "neither"]) == {}
        assert store.get_many([]) == {}

    def test_a_record_is_read_as_it_was_written(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """Value and life come back unchanged, on every handle."""
        value, end = bytes(range(256)), clock.time() + 100.5
        store.put("bytes", value, end)
        store.put("empty", b"", None)
        assert other.get("bytes") == Record(value, end)
        assert other.get("empty") == Record(b"", None)

    def test_a_large_value_fits(self, store: ClusterStore, other: ClusterStore) -> None:
        """A value of 64 KB, the most that shared data may have, is carried."""
        store.put("large", b"\x00\xff" * 32_768, None)
        found = other.get("large")
        assert found is not None
        assert found.value == b"\x00\xff" * 32_768

    def test_a_key_is_any_text(self, store: ClusterStore, other: ClusterStore) -> None:
        """Dots, slashes, letters of any script and 200 characters are kept apart."""
        for key in KEYS:
            assert store.add(key, key.encode(), None) is True
        found = other.get_many(KEYS)
        assert {key: record.value.decode() for key, record in found.items()} == {
            key: key for key in KEYS
        }
        assert sorted(key for key, _ in walk(other, "", 5)) == sorted(KEYS)

    def test_many_are_read_in_one_call(self, store: ClusterStore) -> None:
        """Of many keys those that live are found, however many are asked for."""
        for number in range(0, 40, 2):
            store.put(f"many/{number}", b"%d" % number, None)
        found = store.get_many([f"many/{number}" for number in range(1_200)])
        assert sorted(found) == sorted(f"many/{number}" for number in range(0, 40, 2))

    def test_a_walk_over_large_values_takes_small_pages(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """A page ends after some MB, however many records were asked for, and none is left out."""
        value = b"v" * 200_000
        for number in range(40):
            store.put(f"large/{number:02}", value, None)
            store.put(f"small/{number:02}", b"", None)
        found: list[str] = []
        for page in other.pages(""):
            assert sum(len(one.value) for _, one in page) <= PAGE_BYTES + 20 * len(value)
            found += [key for key, _ in page]
        assert sorted(found) == sorted(
            f"{size}/{number:02}" for size in ("large", "small") for number in range(40)
        )
        assert len(other.scan("large/")) < 40

    def test_another_handle_sees_the_same_store(self, store: ClusterStore) -> None:
        """What one of the two wrote, the other reads; closing one leaves the other open."""
        another = store.another()
        store.put("mine", b"1", None)
        assert another.get("mine") == Record(b"1", None)
        another.put("theirs", b"2", None)
        assert store.get("theirs") == Record(b"2", None)
        assert another.root() == store.root()
        if another is not store:
            another.close()
        assert store.get("theirs") == Record(b"2", None)

    def test_life_ends_by_the_clock(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """A record lives before its end and not from it on, whatever still lies there."""
        store.put("brief", b"", clock.time() + 10)
        store.put("endless", b"", None)
        clock.advance(9.5)
        assert other.get("brief") is not None
        clock.advance(0.5)
        assert other.get("brief") is None
        assert [key for key, _ in walk(other, "", 9)] == ["endless"]
        clock.advance(1e9)
        assert other.get("endless") is not None

    def test_add_creates_only_where_nothing_lives(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """A second add is told no and changes nothing; the dead do not stand in the way."""
        assert store.add("one", b"first", clock.time() + 10) is True
        assert other.add("one", b"second", None) is False
        assert store.get("one") == Record(b"first", clock.time() + 10)
        clock.advance(10)
        assert other.add("one", b"third", None) is True
        assert store.get("one") == Record(b"third", None)

    def test_of_many_that_add_one_wins(self, make_store: MakeStore) -> None:
        """Of all that try at once, on all handles, exactly one is told ``True``."""
        handles = [make_store(), make_store()]
        for round_ in range(5):
            answers = at_once(
                *[partial(handles[i % 2].add, f"race/{round_}", b"%d" % i, None) for i in range(6)]
            )
            assert sorted(answers, key=str) == [False] * 5 + [True]
            winner = handles[0].get(f"race/{round_}")
            assert winner is not None
            assert winner.value == b"%d" % answers.index(True)

    def test_put_replaces_value_and_life(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """After a put both value and end are the new ones, also if the end is earlier."""
        store.put("changing", b"old", None)
        other.put("changing", b"new", clock.time() + 5)
        assert store.get("changing") == Record(b"new", clock.time() + 5)

    def test_touch_prolongs_what_lives(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """A touch moves the end on and leaves the value alone."""
        store.add("live", b"value", clock.time() + 10)
        assert other.touch("live", clock.time() + 50) is True
        assert store.get("live") == Record(b"value", clock.time() + 50)
        assert other.touch("live", None) is True
        assert store.get("live") == Record(b"value", None)

    def test_touch_never_shortens(self, store: ClusterStore, clock: ManualClock) -> None:
        """An earlier end is a success that changes nothing; endless stays endless."""
        store.add("long", b"", clock.time() + 50)
        store.add("endless", b"", None)
        assert store.touch("long", clock.time() + 10) is True
        assert store.touch("endless", clock.time() + 10) is True
        assert store.get("long") == Record(b"", clock.time() + 50)
        assert store.get("endless") == Record(b"", None)

    def test_touch_never_creates(self, store: ClusterStore, clock: ManualClock) -> None:
        """Neither what was never there nor what has expired comes to life."""
        assert store.touch("never", clock.time() + 10) is False
        store.add("over", b"", clock.time() + 1)
        clock.advance(1)
        assert store.touch("over", clock.time() + 10) is False
        assert store.get_many(["never", "over"]) == {}

    def test_no_touch_brings_back_what_was_deleted(self, make_store: MakeStore) -> None:
        """While others touch it without pause, a deleted record stays deleted."""
        handles = [make_store(), make_store()]
        done = threading.Event()

        def touching(handle: ClusterStore, key: str) -> bool:
            end = 2e9
            while not done.is_set():
                end += 1
                handle.touch(key, end)
            return handle.touch(key, end + 1)

        def deleting(key: str) -> bool:
            try:
                for _ in range(3):
                    handles[0].get(key)
                handles[0].delete(key)
                return all(handle.get(key) is None for handle in handles for _ in range(5))
            finally:
                done.set()

        for round_ in range(3):
            key = f"deleted/{round_}"
            done.clear()
            handles[0].add(key, b"", 1.9e9)
            answers = at_once(
                partial(touching, handles[0], key),
                partial(touching, handles[1], key),
                partial(deleting, key),
            )
            assert answers == [False, False, True]
            assert handles[1].get(key) is None

    def test_delete_says_whether_something_was_there(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """After a delete the key is gone on every handle."""
        store.add("gone", b"", None)
        assert other.delete("gone") is True
        assert store.get("gone") is None
        assert store.delete("gone") is False

    def test_scan_gives_what_lies_under_a_prefix(self, store: ClusterStore) -> None:
        """Only keys that begin with the prefix, letter by letter; the empty one means all."""
        inside = ["p/a", "p/a/b", "p/\U0001f642", "p/~"]
        outside = ["p", "p0", "p.a", "q/a", "P/a", "_/a", "%/a"]
        for key in inside + outside:
            store.put(key, key.encode(), None)
        assert sorted(key for key, _ in store.scan("p/")) == sorted(inside)
        assert [key for key, _ in store.scan("_/")] == ["_/a"]
        assert [key for key, _ in store.scan("%/")] == ["%/a"]
        assert sorted(key for key, _ in store.scan("")) == sorted(inside + outside)
        assert store.scan("none/") == []
        assert all(record.value == key.encode() for key, record in store.scan(""))

    def test_a_walk_meets_once_what_lives_all_through_it(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Page by page nothing is missed or met twice, though others come and go meanwhile."""
        lasting = {f"w/{number:02}" for number in range(0, 30, 2)}
        for key in lasting:
            store.put(key, b"", None)
        met = []
        for count, (key, _) in enumerate(walk(store, "w/", 4)):
            met.append(key)
            other.put(f"w/{(count * 7) % 30 | 1:02}", b"", None)
            other.delete(f"w/{(count * 5) % 30 | 1:02}")
        assert lasting <= set(met)
        assert len(met) == len(set(met))

    def test_purge_deletes_what_ended_before(self, store: ClusterStore, clock: ManualClock) -> None:
        """Only what ended before the given moment goes, at most so many, and is counted."""
        start = clock.time()
        for number in range(6):
            store.put(f"old/{number}", b"", start + number)
        store.put("endless", b"", None)
        clock.advance(100)
        assert store.purge(start) == (0, True)
        assert store.purge(start + 4, limit=3) == (3, False)
        assert store.purge(start + 4, limit=3) == (1, True)
        assert store.purge(start + 4) == (0, True)
        clock.set_wall(-100)
        assert sorted(key for key, _ in store.scan("")) == ["endless", "old/4", "old/5"]

    def test_a_walk_is_all_of_its_pages(self, store: ClusterStore) -> None:
        """Whoever walks need not turn the pages; whoever turns them may go on in the midst."""
        keys = sorted(f"w/{number:02}" for number in range(11))
        for key in keys:
            store.put(key, key.encode(), None)
        store.put("x/1", b"", None)
        assert dict(store.walk("w/")) == {key: Record(key.encode(), None) for key in keys}
        met = [key for key, _ in store.walk("w/")]
        pages = [[key for key, _ in page] for page in store.pages("w/", met[3], limit=3)]
        assert [key for page in pages for key in page] == met[4:]
        assert max(map(len, pages)) <= 3
        assert list(store.walk("none/")) == []
