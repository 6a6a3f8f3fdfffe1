"""The lease over a store: held by one, prolonged and given in one step, lost in time."""

from __future__ import annotations

import pytest

from ...clock import SKEW, ManualClock
from ...errors import Conflict, StoreUnavailable
from ...stores import Lease
from ...stores.base import ClusterStore, Put, Record, Root
from .fixtures import MakeStore, StoreFixtures

KEY = "lease/what-many-want"


def leases(make_store: MakeStore, count: int, *, margin: float = 0.0) -> list[Lease]:
    """Of one key, each through a handle of its own."""
    return [Lease(make_store(), KEY, margin=margin) for _ in range(count)]


def stands(store: ClusterStore, lease: Lease) -> bool:
    """Whether a transaction that needs *lease* is made."""
    try:
        store.append([], [*lease.needed(), Put("data/x", b"", None)])
    except Conflict:
        return False
    return True


class LeaseContract(StoreFixtures):
    """What a lease promises over any store."""

    def test_one_has_it_at_a_time(self, make_store: MakeStore, clock: ManualClock) -> None:
        """The next one may when the first lets go, or when its time is over."""
        first, second, third = leases(make_store, 3)
        assert [first.take(30), second.take(30), first.take(30)] == [True, False, False]
        assert [first.held, second.held] == [True, False]

        first.give()
        assert second.take(30)

        clock.advance(30)
        assert third.take(30)
        assert [first.held, second.held, third.held] == [False, False, True]

    def test_it_is_prolonged_while_it_is_held(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        """From the moment of asking, however long; nobody else has it in between."""
        first, second = leases(make_store, 2)
        assert first.take(30)
        for _ in range(5):
            clock.advance(29)
            assert first.hold(30)
            assert first.held
            assert not second.take(30)
        clock.advance(30)
        assert not first.held
        assert second.take(30)

    def test_what_is_over_is_not_prolonged(self, make_store: MakeStore, clock: ManualClock) -> None:
        """Not even where nobody else has asked meanwhile: its holder has to take it."""
        (lease,) = leases(make_store, 1)
        assert lease.take(30)
        clock.advance(30)
        assert not lease.hold(30)
        assert not lease.held
        assert lease.take(30)

    @pytest.mark.parametrize("margin", [0.0, SKEW])
    def test_who_slept_does_nothing_to_the_next_holder(
        self, make_store: MakeStore, clock: ManualClock, margin: float
    ) -> None:
        """It wakes when another has it: it neither writes, nor prolongs, nor takes it away."""
        store = make_store()
        sleeper, other, third = leases(make_store, 3, margin=margin)
        assert sleeper.take(30)
        assert stands(store, sleeper)
        clock.advance(30 + margin)
        assert other.take(30)

        assert not sleeper.held
        assert not stands(store, sleeper)
        sleeper.give()
        assert not sleeper.hold(30)
        assert not sleeper.take(30)

        assert stands(store, other)
        assert other.held
        assert not third.take(30)

    def test_what_was_sent_for_an_earlier_holding_ends_no_later_one(
        self, make_store: MakeStore
    ) -> None:
        """A release whose answer was lost, and that arrives late, finds nothing under its name."""
        store = make_store()
        lease, other = leases(make_store, 2)
        assert lease.take(30)
        late = lease.needed()
        lease.give()
        assert lease.take(30)

        with pytest.raises(Conflict):
            store.append([], late)
        assert not other.take(30)

    def test_a_lost_answer_leaves_nobody_waiting(
        self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was taken and only the answer was lost: it is given back, and was not ours."""
        store = make_store()
        lease, other = Lease(store, KEY), Lease(make_store(), KEY)
        usual, lost = store.append, [True]

        def lose(*given: object) -> list[int]:
            found: list[int] = usual(*given)  # type: ignore[arg-type]
            if lost:
                lost.pop()
                raise StoreUnavailable("no answer")
            return found

        monkeypatch.setattr(store, "append", lose)
        with pytest.raises(StoreUnavailable):
            lease.take(30)

        assert not lease.held
        assert other.take(30)

    def test_trouble_while_letting_go_is_no_trouble(
        self, make_store: MakeStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was done under it is done; the next one waits for its end."""
        store = make_store()
        lease, other = Lease(store, KEY, margin=0.0), Lease(make_store(), KEY)
        assert lease.take(30)

        def fail(*_: object) -> list[int]:
            raise StoreUnavailable("no")

        monkeypatch.setattr(store, "append", fail)
        lease.give()

        assert not lease.held
        assert not other.take(30)
        clock.advance(30)
        assert other.take(30)

    def test_trouble_while_holding_leaves_what_there_was(
        self, make_store: MakeStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A store that is away for a moment takes no lease away; it ends when it would have."""
        store = make_store()
        lease = Lease(store, KEY)
        assert lease.take(30)

        def fail(*_: object) -> list[int]:
            raise StoreUnavailable("no")

        with monkeypatch.context() as patch:
            patch.setattr(store, "append", fail)
            clock.advance(20)
            with pytest.raises(StoreUnavailable):
                lease.hold(30)
        assert lease.held
        clock.advance(10)
        assert not lease.held

    def test_a_clock_that_is_set_back_makes_no_lease_longer(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        """Whether it is held is measured by the clock that nobody can set."""
        (lease,) = leases(make_store, 1)
        assert lease.take(30)
        clock.set_wall(-3600)
        clock.advance(30)
        assert not lease.held

    def test_whoever_loads_under_it_stops_with_it(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        """A copy into another store goes on only while its lease is the one it was begun under."""
        store = make_store()
        root = store.root()
        assert store.change_root(root, Root(root.epoch, "preparing"))
        sleeper, other = leases(make_store, 2)
        assert sleeper.take(30)
        store.load([("data/x", Record(b"1", None))], [], held=sleeper.as_held)
        clock.advance(31)
        assert other.take(30)

        with pytest.raises(Conflict):
            store.load([("data/x", Record(b"2", None))], [], held=sleeper.as_held)
        store.load([("data/x", Record(b"3", None))], [], held=other.as_held)
