"""The contract of what is done in one step, or not at all."""

from __future__ import annotations

from functools import partial

import pytest

from ...clock import ManualClock
from ...errors import Conflict, HeadMoved
from ...stores.base import (
    Add,
    ClusterStore,
    Delete,
    HeadIs,
    Put,
    Record,
    Require,
    Unchanged,
)
from .fixtures import MakeStore, StoreFixtures, at_once, entry, feed_of


class TransactionsContract(StoreFixtures):
    """Entries and changes of records together, on conditions."""

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
        # (Who has written sees what became of it; another's plain read may lag, and show the old.)
        assert store.get_many(["old", "new", "set", "needed"]) == {
            "new": Record(b"n", end),
            "set": Record(b"s", None),
            "needed": Record(b"", None),
        }
        assert other.get("new") == Record(b"n", end)
        assert len(feed_of(other)) == 1

    def test_a_transaction_without_entries_is_one_on_records(self, store: ClusterStore) -> None:
        """No number is used and the head stays."""
        assert store.append([], [Add("only", b"", None), Delete("nothing")]) == []
        assert store.get("only") is not None
        assert store.head() == 0
        with pytest.raises(Conflict):
            store.append([], [Add("only", b"", None), Put("never", b"", None)])
        assert store.get("never") is None

    @pytest.mark.parametrize(
        "condition",
        [
            Add("there", b"new", None),
            Require("absent"),
            Unchanged("there", b"older"),
            Unchanged("there", b""),
            Unchanged("absent", b""),
        ],
    )
    def test_a_condition_that_fails_undoes_all(
        self, store: ClusterStore, condition: Add | Require | Unchanged
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

    @pytest.mark.parametrize("entries", [(), ("a",)], ids=["records", "feed"])
    def test_an_unchanged_value_lets_a_transaction_pass(
        self,
        store: ClusterStore,
        other: ClusterStore,
        clock: ManualClock,
        entries: tuple[str, ...],
    ) -> None:
        """It is judged by its bytes, whatever they are and however long it is to live."""
        for number, value in enumerate((b"", b"\n", b"1\n\n2", bytes(range(256)), b"x" * 70_000)):
            key = f"value/{number}"
            store.put(key, value, clock.time() + 10)
            assert other.touch(key, clock.time() + 50)
            new = [entry(f"{one}{number}") for one in entries]
            store.append(new, [Unchanged(key, value), Put(key, b"new", None)])
            assert store.get(key) == Record(b"new", None)
            with pytest.raises(Conflict):
                store.append([], [Put(key, b"newer", None), Unchanged(key, value)])
            store.append([], [Unchanged(key, b"new"), Put(f"{key}/beside", b"", None)])
            store.append([], [Unchanged(key, b"new"), Delete(key)])
            assert store.get_many([key, f"{key}/beside"]) == {f"{key}/beside": Record(b"", None)}
            assert other.get(f"{key}/beside") is not None

    def test_what_is_over_is_not_unchanged(self, store: ClusterStore, clock: ManualClock) -> None:
        """A value whose life has ended is no value, whatever still lies there."""
        store.put("over", b"value", clock.time() + 1)
        clock.advance(1)
        with pytest.raises(Conflict):
            store.append([], [Unchanged("over", b"value"), Put("over", b"new", None)])
        assert store.get("over") is None

    def test_of_many_that_change_one_value_one_wins(self, make_store: MakeStore) -> None:
        """Each of the others is told so, and has written nothing, whichever was the first."""
        handles = [make_store() for _ in range(4)]
        handles[0].put("list", b"", None)

        def attempt(index: int, old: bytes) -> list[int]:
            new = old + b"%d" % index
            return handles[index].append([], [Unchanged("list", old), Put("list", new, None)])

        old = b""
        for _ in range(4):
            answers = at_once(*(partial(attempt, index, old) for index in range(4)))
            assert sum(isinstance(answer, Conflict) for answer in answers) == 3, answers
            found = handles[0].get("list")
            assert found is not None
            assert found.value == old + b"%d" % answers.index([])
            old = found.value

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

    @pytest.mark.parametrize("entries", [(), ("b",)], ids=["records", "feed"])
    def test_a_head_under_the_same_number_may_be_another_entry(
        self, store: ClusterStore, other: ClusterStore, entries: tuple[str, ...]
    ) -> None:
        """Numbers come again after a restore; whoever names the entry is told that it moved."""
        (seq,) = other.append([entry("a")])
        assert store.read(0).seq == seq
        new = [entry(one) for one in entries]
        with pytest.raises(HeadMoved):
            store.append(new, [Put("key", b"", None), HeadIs(seq, "lost")])
        assert other.get("key") is None
        store.append(new, [Put("key", b"", None), HeadIs(seq, "a")])
        assert other.get("key") is not None
        assert [one.id for one in feed_of(other)] == ["a", *entries]

    def test_a_head_that_was_trimmed_may_be_named(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """No other entry stands there, so it has not moved."""
        (seq,) = store.append([entry("a")])
        assert store.read(0).seq == seq
        other.trim([seq])
        store.append([], [HeadIs(seq, "a"), Put("key", b"", None)])
        assert other.get("key") is not None

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
