"""The contract of the feed: numbers, pages, what ended and what was trimmed."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from ...clock import ManualClock
from ...stores.base import PAGE, ClusterStore, Entry, Put
from .fixtures import PATIENCE, MakeStore, StoreFixtures, at_once, entry, feed_of


class FeedContract(StoreFixtures):
    """The ordered, durable list of revocations."""

    def test_an_empty_feed_is_at_zero(self, store: ClusterStore) -> None:
        """Before the first entry the head is 0 and there is nothing to read."""
        assert store.head() == 0
        page = store.read(0)
        assert (page.entries, page.seq, page.more, page.floor) == ((), 0, False, 0)

    def test_what_is_appended_is_read(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """Every field comes back, on every handle; each entry names the one before it."""
        first = store.append([entry("a", bytes(range(256)), clock.time() + 5), entry("b")])
        second = other.append([entry("c", b"")])
        assert feed_of(other) == [
            Entry(first[0], 0, "a", bytes(range(256)), clock.time() + 5),
            Entry(first[1], first[0], "b", b"body", None),
            Entry(second[0], first[1], "c", b"", None),
        ]

    def test_numbers_ascend_from_the_wall_clock_on(
        self, store: ClusterStore, clock: ManualClock
    ) -> None:
        """A number is above the head and not below the clock's microseconds."""
        (first,) = store.append([entry("a")])
        assert first >= int(clock.time() * 1e6)
        (same_moment,) = store.append([entry("b")])
        assert same_moment == first + 1
        clock.advance(10)
        (later,) = store.append([entry("c")])
        assert later >= int(clock.time() * 1e6)
        clock.set_wall(-1000)
        (set_back,) = store.append([entry("d")])
        assert set_back == later + 1

    def test_a_number_is_above_what_was_asked(
        self, store: ClusterStore, clock: ManualClock
    ) -> None:
        """*above* lifts the next number over one that was seen before a restore."""
        far = int(clock.time() * 1e6) + 10**9
        seqs = store.append([entry("a"), entry("b")], above=far)
        assert seqs[0] == far + 1
        assert seqs[1] > seqs[0]
        assert store.append([entry("c")])[0] > seqs[1]

    def test_a_known_id_is_not_appended_again(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """A retry returns the first numbers and changes nothing, records included."""
        first = store.append([entry("a"), entry("b")])
        store.append([entry("between")])
        again = other.append([entry("a"), entry("b")], [Put("key", b"", None)])
        assert again == first
        assert store.get("key") is None
        assert [one.id for one in feed_of(store)] == ["a", "b", "between"]

    def test_an_id_may_have_64_letters_digits_and_signs(self, store: ClusterStore) -> None:
        """The longest id is kept whole and apart from one like it."""
        long = "aZ09-_" * 10 + "aaaa"
        store.append([entry(long)])
        store.append([entry(long[:-1] + "b")])
        assert [one.id for one in feed_of(store)] == [long, long[:-1] + "b"]

    def test_a_large_body_fits(self, store: ClusterStore, other: ClusterStore) -> None:
        """A body of 64 KB is carried."""
        store.append([entry("large", b"\x00" * 65_536)])
        assert feed_of(other)[0].body == b"\x00" * 65_536

    def test_a_page_ends_where_it_says(self, store: ClusterStore) -> None:
        """Who applied a page is at its number, and the next page follows on it."""
        seqs = [store.append([entry(f"e{number}")])[0] for number in range(7)]
        first = store.read(0, limit=3)
        assert [one.seq for one in first.entries] == seqs[:3]
        assert (first.seq, first.more) == (seqs[2], True)
        second = store.read(first.seq, limit=4)
        assert [one.seq for one in second.entries] == seqs[3:]
        assert (second.seq, second.more) == (seqs[6], False)
        rest = store.read(second.seq)
        assert (rest.entries, rest.seq, rest.more) == ((), seqs[6], False)

    def test_reading_starts_after_any_number(self, store: ClusterStore) -> None:
        """A position need not be an entry's number."""
        seqs = store.append([entry("a"), entry("b"), entry("c")])
        assert [one.seq for one in store.read(seqs[0]).entries] == seqs[1:]
        assert [one.seq for one in store.read(seqs[0] - 5).entries] == seqs
        assert store.read(seqs[2] + 10**9).entries == ()

    def test_more_than_a_page_is_read_in_pages(self, store: ClusterStore) -> None:
        """No page is longer than PAGE, and the pages together are the whole feed."""
        for part in range(0, PAGE + 40, 52):
            store.append([entry(f"e{part + number}", b"") for number in range(52)])
        assert len(store.read(0).entries) <= PAGE
        found = feed_of(store)
        assert [one.id for one in found] == [f"e{number}" for number in range(len(found))]
        assert len(found) > PAGE

    def test_another_handle_sees_it_when_append_returned(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """The head, a page, and the position of an embedded store have it at once."""
        for number in range(10):
            (seq,) = store.append([entry(f"e{number}")])
            if store.embedded and store.shared:
                assert other.position() == seq
            assert other.head() == seq
            assert other.read(0).seq == seq

    def test_an_embedded_store_knows_its_position(self, store: ClusterStore) -> None:
        """Others need not, and say so."""
        if not store.embedded:
            with pytest.raises(NotImplementedError):
                store.position()
            return
        assert store.position() == 0
        (seq,) = store.append([entry("a")])
        assert store.position() == seq
        store.append([], [Put("key", b"", None)])
        store.put("key", b"", None)
        assert store.position() == seq

    def test_it_calls_or_says_when_to_look(self, store: ClusterStore, other: ClusterStore) -> None:
        """After an append a watcher is called, or ``look_every`` says how often to look."""
        called = threading.Event()
        other.watch(called.set)
        store.append([entry("a")])
        if not called.wait(0 if other.look_every else PATIENCE if other.shared else 1):
            assert other.look_every is not None
            assert other.look_every > 0

    def test_threads_that_append_at_once_lose_nothing(self, make_store: MakeStore) -> None:
        """Every entry has a number of its own and names the one before it."""
        handles = [make_store(), make_store()]

        def appending(index: int) -> list[int]:
            return [
                handles[index % 2].append([entry(f"t{index}-{number}")])[0] for number in range(10)
            ]

        answers = at_once(*[partial(appending, i) for i in range(6)])
        given: list[int] = []
        for answer in answers:
            assert isinstance(answer, list), answer
            assert answer == sorted(answer)
            given += answer
        found = feed_of(handles[0])
        assert [one.seq for one in found] == sorted(given)
        assert len(set(given)) == 60
        assert [one.prev for one in found] == [0, *[one.seq for one in found[:-1]]]
        assert handles[1].head() == found[-1].seq

    def test_a_reader_never_skips_an_entry(self, make_store: MakeStore) -> None:
        """While others append, each page continues the last one without a gap."""
        writer, reader = make_store(), make_store()
        finished = threading.Event()

        def writing() -> int:
            try:
                return [writer.append([entry(f"e{number}")])[0] for number in range(40)][-1]
            finally:
                finished.set()

        def reading() -> int:
            position, last = 0, False
            while not last:
                last = finished.is_set()
                page = reader.read(position)
                for one in page.entries:
                    assert one.prev == position
                    position = one.seq
                assert page.seq == position
            return position

        answers = at_once(writing, reading)
        assert answers[0] == answers[1]

    def test_what_ended_is_listed_and_still_read(
        self, store: ClusterStore, clock: ManualClock
    ) -> None:
        """An entry past its end stays until it is trimmed; one without an end is never listed."""
        start = clock.time()
        seqs = store.append(
            [entry("a", b"", start + 1), entry("b", b"", start + 2), entry("c"), entry("d")]
        )
        clock.advance(100)
        assert store.ended(start + 1) == []
        assert [one.id for one in store.ended(start + 2)] == ["a"]
        assert sorted(one.id for one in store.ended(clock.time())) == ["a", "b"]
        both = store.ended(clock.time())
        assert store.ended(clock.time(), limit=1) == both[:1]
        assert store.ended(clock.time(), both[0].seq) == both[1:]
        assert store.ended(clock.time(), both[1].seq) == []
        assert [one.seq for one in feed_of(store)] == seqs

    def test_what_ended_is_walked_in_order(self, store: ClusterStore) -> None:
        """Page by page each is met once, whenever it ended and whatever is trimmed meanwhile."""
        seqs: list[int] = []
        for part in range(6):
            # (The later it was appended, the earlier it ended.)
            new = [entry(f"e{part}-{n}", b"x" * 3_000, 100.0 - part) for n in range(40)]
            seqs += store.append(new)
        met: list[int] = []
        while page := store.ended(200.0, met[-1] if met else 0, limit=27):
            met += [one.seq for one in page]
            store.trim([one.seq for one in page if one.seq % 5])
        assert met == seqs
        kept = [seq for seq in seqs if seq % 5 == 0]
        assert [one.seq for one in store.ended(200.0)] == kept

    def test_trim_deletes_by_number_and_raises_the_floor(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """What was trimmed is not read again, by anybody, and the floor is its number."""
        seqs = store.append([entry(name) for name in "abcde"])
        store.trim([seqs[1], seqs[3]])
        page = other.read(0)
        assert [one.id for one in page.entries] == ["a", "c", "e"]
        assert (page.floor, page.seq) == (seqs[3], seqs[4])
        store.trim([seqs[0]])
        assert other.read(0).floor == seqs[3]
        assert other.head() == seqs[4]

    def test_a_sweep_hides_nothing_from_a_reader(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """While others trim what is over, between two pages and in the midst of one, whoever
        reads from 0 meets every entry that stands all through it."""
        standing, over = set(), []
        for part in range(10):
            new = [entry(f"e{part}-{n}", b"x" * 2_000, 1.0 if n % 12 else None) for n in range(50)]
            for one, seq in zip(new, store.append(new), strict=True):
                if one.keep_until is None:
                    standing.add(seq)
                else:
                    over.append(seq)
        first, rest = over[:150], over[150:]
        met, position, more = set(), 0, True
        while more:
            page = other.read(position, limit=23)
            met |= {one.seq for one in page.entries}
            position, more = page.seq, page.more
            # (Some lie behind the reader, and some before it.)
            store.trim([first.pop(0) for _ in range(min(17, len(first)))])
        assert standing <= met
        finished = threading.Event()

        def sweeping() -> bool:
            try:
                for start in range(0, len(rest), 40):
                    store.trim(rest[start : start + 40])
                return True
            finally:
                finished.set()

        def reading() -> list[set[int]]:
            seen = []
            while not finished.is_set():
                seen.append({one.seq for one in feed_of(other)})
            return seen

        swept, seen = at_once(sweeping, reading)
        assert swept is True
        assert isinstance(seen, list), seen
        assert all(standing <= one for one in seen)

    def test_trimming_nothing_or_the_last_is_fine(self, store: ClusterStore) -> None:
        """The head stays where it was, and the next entry follows on it."""
        store.trim([])
        seqs = store.append([entry("a"), entry("b")])
        store.trim([seqs[1]])
        store.trim([seqs[1]])
        assert store.head() == seqs[1]
        assert store.read(0).seq == seqs[1]
        store.append([entry("c")])
        assert feed_of(store)[-1].prev == seqs[1]
