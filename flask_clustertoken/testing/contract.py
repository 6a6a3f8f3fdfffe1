"""The cluster store's contract as tests: one for each sentence of ``stores.base``.

To put a store through it, derive one class and give it one fixture::

    from flask_clustertoken.testing.contract import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, clock, tmp_path):
            handles = []

            def make():
                handles.append(MyStore(tmp_path, clock=clock))
                return handles[-1]

            yield make
            for handle in handles:
                handle.close()

Each call of what ``make_store`` gives returns another handle on the *same* store, which is
empty when a test begins. All handles judge life by the fixture ``clock``, which stands still
until a test moves it. What a store says of itself (``shared``, ``embedded``, ``look_every``)
decides what is asked of it. This module needs pytest; nothing else in the package does.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest

from ..clock import ManualClock
from ..errors import ClusterTokenError, Conflict, HeadMoved, NotAnnounced, StoreNotOpen
from ..stores.base import (
    PAGE,
    Add,
    ClusterStore,
    Delete,
    Entry,
    HeadIs,
    Held,
    NewEntry,
    Put,
    Record,
    Require,
    Root,
)

__all__ = [
    "FeedContract",
    "LifeContract",
    "PresenceContract",
    "RecordsContract",
    "RootContract",
    "StoreContract",
    "StoreFixtures",
]

MakeStore = Callable[[], ClusterStore]
Result = TypeVar("Result")

#: Seconds that a test waits for a thread, a call-back or a child before it fails.
PATIENCE = 30.0

#: Texts that a store may not confuse, cut or refuse.
KEYS = (
    "plain",
    "Plain",
    "login/alice",
    "login/alice/2",
    "a.b/c.d",
    ".",
    "..",
    "../up",
    "double//slash",
    "trailing/",
    "space and\ttab",
    "percent%2Fquery?x=1#y",
    "wild_%*[a]",
    "quote'\"\\",
    "Zürich/日本語/🙂",
    "n/" + "x" * 198,
)


def at_once(*calls: Callable[[], Result]) -> list[Result | Exception]:
    """Make *calls* at the same moment, each in a thread; their answers or errors in order."""
    start = threading.Barrier(len(calls))
    answers: list[Result | Exception] = [TimeoutError("no answer")] * len(calls)

    def run(index: int, call: Callable[[], Result]) -> None:
        start.wait(PATIENCE)
        try:
            answers[index] = call()
        except Exception as error:
            answers[index] = error

    threads = [threading.Thread(target=run, args=(i, one)) for i, one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


def in_a_child(work: Callable[[], bool]) -> bool:
    """What *work* answers in a forked child, which leaves without a trace of the test run."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks while threads run: that they may is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def feed_of(store: ClusterStore) -> list[Entry]:
    """Every entry that stands, page by page."""
    found: list[Entry] = []
    position, more = 0, True
    while more:
        page = store.read(position)
        found += page.entries
        position, more = page.seq, page.more
    return found


def walk(store: ClusterStore, prefix: str, limit: int) -> Iterator[tuple[str, Record]]:
    """Every live record under *prefix*, a page of *limit* at a time."""
    page = store.scan(prefix, limit=limit)
    while page:
        assert len(page) <= limit
        yield from page
        page = store.scan(prefix, after=page[-1][0], limit=limit)


def entry(name: str, body: bytes = b"body", keep_until: float | None = None) -> NewEntry:
    return NewEntry(name, body, keep_until)


def seal(store: ClusterStore, moved_to: str = "elsewhere:") -> None:
    root = store.root()
    assert store.change_root(root, replace(root, state="sealed", moved_to=moved_to))


class StoreFixtures:
    """What a test gets. Derive from a contract below and define ``make_store``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of every handle."""
        return ManualClock()

    @pytest.fixture
    def make_store(self, clock: ManualClock) -> Any:
        """A callable: each call gives another handle on the same, at first empty, store."""
        raise NotImplementedError("define the fixture make_store: see the module's text")

    @pytest.fixture
    def store(self, make_store: MakeStore) -> ClusterStore:
        return make_store()

    @pytest.fixture
    def other(self, store: ClusterStore, make_store: MakeStore) -> ClusterStore:
        """A second handle on the same store, as another node has it."""
        return make_store()


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


class FeedContract(StoreFixtures):
    """The ordered, durable list of revocations, and transactions on records."""

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

    def test_a_transaction_is_done_whole(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """Entries and changes of every kind take effect together."""
        store.put("old", b"", None)
        store.put("needed", b"", None)
        end = clock.time() + 9
        store.append(
            [entry("a")],
            [Add("new", b"n", end), Put("set", b"s", None), Delete("old"), Require("needed")],
        )
        assert other.get_many(["old", "new", "set", "needed"]) == {
            "new": Record(b"n", end),
            "set": Record(b"s", None),
            "needed": Record(b"", None),
        }
        assert len(feed_of(other)) == 1

    def test_a_transaction_without_entries_is_one_on_records(self, store: ClusterStore) -> None:
        """No number is used and the head stays."""
        assert store.append([], [Add("only", b"", None), Delete("nothing")]) == []
        assert store.get("only") is not None
        assert store.head() == 0
        with pytest.raises(Conflict):
            store.append([], [Add("only", b"", None), Put("never", b"", None)])
        assert store.get("never") is None

    @pytest.mark.parametrize("condition", [Add("there", b"new", None), Require("absent")])
    def test_a_condition_that_fails_undoes_all(
        self, store: ClusterStore, condition: Add | Require
    ) -> None:
        """After :class:`Conflict`, which names the key, nothing was written."""
        store.put("there", b"old", None)
        with pytest.raises(Conflict) as caught:
            store.append([entry("a")], [Put("x", b"", None), Delete("there"), condition])
        assert caught.value.key == condition.key
        assert store.get_many(["there", "x"]) == {"there": Record(b"old", None)}
        assert feed_of(store) == []
        assert store.append([entry("a")])[0] == store.head()

    def test_a_condition_is_judged_by_the_clock(
        self, store: ClusterStore, clock: ManualClock
    ) -> None:
        """What has expired may be added anew, and is not what was required."""
        store.put("over", b"", clock.time() + 1)
        clock.advance(1)
        with pytest.raises(Conflict):
            store.append([], [Require("over")])
        store.append([], [Add("over", b"again", None)])
        assert store.get("over") == Record(b"again", None)

    @pytest.mark.parametrize("entries", [(), ("b",)], ids=["records", "feed"])
    def test_a_head_that_stands_still_lets_a_transaction_pass(
        self, store: ClusterStore, other: ClusterStore, entries: tuple[str, ...]
    ) -> None:
        """It is the head from before the transaction's own entries, whoever appended it."""
        assert store.append([], [HeadIs(0), Add("first", b"", None)]) == []
        (seq,) = other.append([entry("a")], [HeadIs(0)])
        store.append([entry(one) for one in entries], [Add("key", b"", None), HeadIs(seq)])
        assert other.get("first") is not None
        assert other.get("key") is not None
        assert [one.id for one in feed_of(other)] == ["a", *entries]

    @pytest.mark.parametrize("entries", [(), ("b",)], ids=["records", "feed"])
    def test_a_head_that_moved_undoes_all(
        self, store: ClusterStore, other: ClusterStore, entries: tuple[str, ...]
    ) -> None:
        """And is told apart from all other conditions, also where one of them fails as well."""
        store.put("there", b"old", None)
        (before,) = store.append([entry("before")])
        assert store.read(0).seq == before
        other.append([entry("a")])
        for seq in (before, before + 10**9):
            with pytest.raises(HeadMoved) as caught:
                store.append(
                    [entry(one) for one in entries],
                    [Put("x", b"", None), Delete("there"), Require("absent"), HeadIs(seq)],
                )
            assert caught.value.seq == seq
        assert other.get_many(["there", "x"]) == {"there": Record(b"old", None)}
        assert [one.id for one in feed_of(other)] == ["before", "a"]

    def test_what_was_appended_under_a_head_is_known_again(self, store: ClusterStore) -> None:
        """A retry of it, whose own entry has moved the head, returns the number of then."""
        first = store.append([entry("a")], [HeadIs(0)])
        assert store.append([entry("a")], [HeadIs(0)]) == first

    def test_a_trimmed_entry_does_not_move_the_head(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Whoever judged at a number goes on while others sweep."""
        seqs = store.append([entry("a"), entry("b")])
        assert store.read(0).seq == seqs[1]
        other.trim(seqs[:1])
        store.append([], [HeadIs(seqs[1]), Put("key", b"", None)])
        assert other.get("key") is not None

    def test_of_two_that_append_under_one_head_one_wins(self, make_store: MakeStore) -> None:
        """And each of the others is told that the head moved."""
        handles = [make_store() for _ in range(4)]

        def attempt(index: int) -> list[int]:
            return handles[index].append([entry(f"e{index}")], [HeadIs(0)])

        answers = at_once(*(partial(attempt, index) for index in range(4)))
        assert sum(isinstance(answer, HeadMoved) for answer in answers) == 3, answers
        assert len(feed_of(handles[0])) == 1

    def test_of_two_transactions_that_add_one_wins(self, make_store: MakeStore) -> None:
        """The loser's entry is not in the feed."""
        handles = [make_store(), make_store()]

        def attempt(index: int) -> list[int]:
            return handles[index].append([entry(f"e{index}")], [Add("only-one", b"", None)])

        answers = at_once(lambda: attempt(0), lambda: attempt(1))
        assert sum(isinstance(answer, Conflict) for answer in answers) == 1
        assert len(feed_of(handles[0])) == 1

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


class PresenceContract(StoreFixtures):
    """Who is there, and the proof of freshness."""

    def test_an_announced_node_is_listed(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """With its own words, on every handle."""
        assert store.nodes() == []
        store.announce("n1", b"\x00words")
        other.announce("n2", b"")
        found = {node.node_id: node.info for node in store.nodes()}
        assert found == {"n1": b"\x00words", "n2": b""}
        assert all(isinstance(node.changed_at, float) for node in store.nodes())

    def test_a_node_is_announced_again(self, store: ClusterStore) -> None:
        """The entry is taken up, not doubled."""
        store.announce("n1", b"old")
        store.announce("n1", b"new")
        assert [(node.node_id, node.info) for node in store.nodes()] == [("n1", b"new")]

    def test_a_vouch_rewrites_the_entry(self, store: ClusterStore, other: ClusterStore) -> None:
        """Its words are the new ones and its version changes each time."""
        store.announce("n1", b"old")
        versions = [other.nodes()[0].version]
        for number in range(3):
            store.vouch("n1", b"%d" % number)
            (node,) = other.nodes()
            assert node.info == b"%d" % number
            versions.append(node.version)
        assert len(set(versions)) == 4

    def test_a_vouch_proves_the_head(self, store: ClusterStore, other: ClusterStore) -> None:
        """It knows of whatever was acknowledged, on any handle, before it began."""
        store.announce("n1", b"")
        assert store.vouch("n1", b"").seq == 0
        for number in range(10):
            (seq,) = other.append([entry(f"e{number}")])
            vouched = store.vouch("n1", b"")
            assert vouched.seq == seq
            assert vouched.time > 0

    def test_who_is_not_announced_cannot_vouch(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """:class:`NotAnnounced`, and no entry is made: also after another withdrew it."""
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        assert store.nodes() == []
        store.announce("n1", b"")
        other.withdraw("n1")
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        assert other.nodes() == []

    def test_a_node_is_withdrawn(self, store: ClusterStore, other: ClusterStore) -> None:
        """Only its entry goes; withdrawing nobody is fine, and said."""
        store.announce("n1", b"")
        store.announce("n2", b"")
        assert other.withdraw("n1")
        assert not other.withdraw("n1")
        assert not other.withdraw("never")
        assert [node.node_id for node in store.nodes()] == ["n2"]

    def test_a_node_that_came_back_is_not_withdrawn(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Whoever thought it gone names the entry that it saw; the node may have renewed it."""
        store.announce("n1", b"")
        (seen,) = other.nodes()
        store.vouch("n1", b"")
        assert not other.withdraw("n1", seen)
        store.vouch("n1", b"")
        (seen,) = other.nodes()
        assert other.withdraw("n1", seen)
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        store.announce("n1", b"")
        assert not other.withdraw("n1", seen)
        assert [node.node_id for node in store.nodes()] == ["n1"]

    def test_an_entry_that_was_made_again_is_another_one(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Also where it was renewed as often as the one that was seen, and says the same."""
        for rounds in range(3):
            store.announce("n1", b"")
            for _ in range(rounds):
                store.vouch("n1", b"")
            (seen,) = other.nodes()
            assert store.withdraw("n1")
            store.announce("n1", b"")
            for _ in range(rounds):
                store.vouch("n1", b"")
            assert not other.withdraw("n1", seen)
            assert [node.node_id for node in store.nodes()] == ["n1"]
            store.withdraw("n1")

    def test_the_store_has_a_clock(self, store: ClusterStore, other: ClusterStore) -> None:
        """The one by which it says when a node's entry changed."""
        before = other.time()
        store.announce("n1", b"")
        (entry,) = store.nodes()
        assert before <= entry.changed_at <= other.time()


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


class LifeContract(StoreFixtures):
    """Opening, forking, closing."""

    def test_constructing_opens_nothing(self, store: ClusterStore) -> None:
        """A handle that was never used is closed without having been opened."""
        store.close()

    def test_it_says_what_it_is(self, store: ClusterStore) -> None:
        """Its URL begins with its scheme, and each call has a deadline."""
        assert store.url.startswith(store.scheme + ":")
        assert 0 < store.timeout < 3600
        assert store.look_every is None or store.look_every > 0

    def test_closing_twice_is_fine(self, store: ClusterStore) -> None:
        """The second does nothing."""
        store.head()
        store.close()
        store.close()

    def test_a_closed_handle_is_not_used(self, store: ClusterStore, other: ClusterStore) -> None:
        """Every other call raises, and another handle goes on."""
        store.put("key", b"", None)
        store.announce("n1", b"")
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.get("key"),
            lambda: store.add("key", b"", None),
            lambda: store.put("key", b"", None),
            lambda: store.touch("key", None),
            lambda: store.delete("key"),
            lambda: store.scan(""),
            lambda: store.purge(0),
            lambda: store.append([entry("a")]),
            lambda: store.read(0),
            lambda: store.head(),
            lambda: store.watch(lambda: None),
            lambda: store.ended(0),
            lambda: store.trim([1]),
            lambda: store.announce("n1", b""),
            lambda: store.vouch("n1", b""),
            lambda: store.withdraw("n1"),
            lambda: store.nodes(),
            lambda: store.root(),
        ]
        for call in calls:
            with pytest.raises(ClusterTokenError):
                call()
        assert other.get("key") is not None

    def test_a_with_statement_closes(self, store: ClusterStore) -> None:
        """The handle is closed at the end of the block."""
        with store as inside:
            inside.head()
        with pytest.raises(ClusterTokenError):
            store.head()

    def test_handles_share_what_outlives_them(self, make_store: MakeStore) -> None:
        """What one handle wrote is there for one that is made after it was closed."""
        first = make_store()
        root = first.root()
        (seq,) = first.append([entry("a")], [Put("key", b"value", None)])
        first.close()
        second = make_store()
        assert second.root() == root
        assert second.head() == seq
        assert second.get("key") == Record(b"value", None)

    @pytest.mark.processes
    def test_a_forked_child_uses_the_store(self, store: ClusterStore, other: ClusterStore) -> None:
        """It opens the store anew; what either writes the other sees; both go on afterwards.

        A store that is not shared starts empty in the child.
        """
        (first,) = store.append([entry("parent")], [Put("parent", b"", None)])

        def child() -> bool:
            seen = store.get("parent") is not None
            (seq,) = store.append([entry("child")], [Put("child", b"", None)])
            store.close()
            return seen is store.shared and (seq > first or not store.shared)

        assert in_a_child(child)
        assert (store.get("child") is not None) is store.shared
        (last,) = store.append([entry("after")])
        assert other.head() == last
        names = ["parent", "child", "after"] if store.shared else ["parent", "after"]
        assert [one.id for one in feed_of(other)] == names


class StoreContract(RecordsContract, FeedContract, PresenceContract, RootContract, LifeContract):
    """All of it: what every cluster store has to pass."""
