"""A store over ordered keys keeps the contract, whatever the place is and how often it tries."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from threading import Lock

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreNotOpen
from flask_clustertoken.stores.base import FORMAT, Root
from flask_clustertoken.stores.ordered import OrderedStore, Step
from flask_clustertoken.stores.ordered.store import Answer
from flask_clustertoken.testing.contract import StoreContract


class Pairs:
    """One transaction over a copy of what is there."""

    def __init__(self, pairs: dict[str, bytes]) -> None:
        self.pairs = dict(pairs)

    def get(self, key: str) -> bytes | None:
        return self.pairs.get(key)

    def set(self, key: str, value: bytes) -> None:
        self.pairs[key] = value

    def delete(self, key: str) -> None:
        self.pairs.pop(key, None)

    def range(self, start: str, limit: int) -> Sequence[tuple[str, bytes]]:
        keys = sorted(self.pairs)
        first = bisect_left(keys, start)
        return [(key, self.pairs[key]) for key in keys[first : first + limit]]


class Place:
    def __init__(self) -> None:
        self.lock = Lock()
        self.pairs: dict[str, bytes] = {}


class BeatenStore(OrderedStore):
    """Each step is beaten by another one at its first try, and done anew."""

    scheme = "beaten"
    shared = False

    def __init__(self, place: Place, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.place = place

    @property
    def url(self) -> str:
        return "beaten:"

    def forget(self) -> None:
        self.place = Place()

    def step(self, work: Callable[[Step], Answer]) -> Answer:
        with self.place.lock:
            work(Pairs(self.place.pairs))
            done = Pairs(self.place.pairs)
            answer = work(done)
            self.place.pairs = done.pairs
            return answer


# (Of the contract's tests one carries pytest.mark.processes.)
class TestBeatenStore(StoreContract):
    """A step that is done twice has done what it does once."""

    @pytest.fixture
    def make_store(self, clock: ManualClock) -> Callable[[], BeatenStore]:
        place = Place()
        return lambda: BeatenStore(place, clock)


def test_a_later_layout_is_refused() -> None:
    """What a later version wrote is neither read as this one's nor written over."""
    store = BeatenStore(Place(), ManualClock())
    root = store.root()
    assert store.change_root(root, Root(root.epoch, format=FORMAT + 1))

    with pytest.raises(StoreNotOpen, match=f"format {FORMAT + 1}"):
        store.put("key", b"", None)


def test_a_step_that_only_looks_changes_nothing() -> None:
    """Reading an empty store writes nothing into it: it is begun by whoever asks for its root."""
    place = Place()
    store = BeatenStore(place, ManualClock())

    assert (store.get("key"), store.head(), store.nodes(), store.scan("")) == (None, 0, [], [])
    assert store.read(0).entries == ()
    assert place.pairs == {}
