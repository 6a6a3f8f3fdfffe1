"""Structures that several threads share were read, or raised, without their lock.

A log-out could answer 500 where ``View.longest()`` walked through what the follower was writing.
Of two threads that raised a number at once one was overlooked; the slower of two could put what
it had read earlier over what the other had read later. Each run is forced here, not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_clustertoken.authority.verified_cache import VerifiedTokens
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.events import NodeFresh, NodeStale
from flask_clustertoken.revocations import FeedEntry, Follower, View
from flask_clustertoken.stores.base import Entry
from flask_clustertoken.tokens import RING_KEY, KeyRing, KeyState, fingerprint, ring_bytes
from tests.doubles import SECRET, Cluster, store_of

OLD = "an old key, long enough to sign with"


def in_thread(work: Callable[[], object], patience: float = 0.2) -> threading.Thread:
    """*work* in another thread, which was given the time to do it if nothing holds it up."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(patience)
    return thread


def announce(view: View, value: float) -> None:
    feed_entry = FeedEntry("lifetime", 1.0, value=value)
    view.learn(Entry(int(value), 0, str(value), feed_entry.encode(), None), feed_entry)


def test_the_longest_lifetime_can_be_asked_for_while_another_one_is_learnt() -> None:
    """Whoever walks through the announced lifetimes keeps the follower from changing them."""
    view = View()
    announce(view, 1.0)
    threads: list[threading.Thread] = []

    class Watched(dict[float, float]):
        def items(self) -> Any:
            for one in super().items():
                threads.append(in_thread(lambda: announce(view, 2.0)))
                yield one

    view._lifetimes = Watched(view._lifetimes)

    assert view.longest(1.0) == 1.0
    for one in threads:
        one.join()
    view._lifetimes = dict(view._lifetimes)
    assert view.longest(1.0) == 2.0


def test_older_states_of_the_keys_are_not_put_over_newer_ones(cluster: Cluster) -> None:
    """A thread that read the states before a key was dropped comes back after a later one."""
    node = cluster.node()
    cluster.step()
    store, key_id = store_of(node), fingerprint(SECRET)

    def state(said: KeyState) -> None:
        store.put(RING_KEY, ring_bytes({key_id: said}), None)

    def meanwhile() -> None:
        state("dropped")
        node.runtime.load_keys()

    state("signing")
    store.after["get_many"] = meanwhile
    node.runtime.load_keys()

    assert node.keys.states == {key_id: "dropped"}


def test_no_generation_of_the_keys_comes_again() -> None:
    """What was verified under a generation is never taken for verified under a later one.

    One thread has read the number and is about to raise it; another changes the states twice.
    """
    rings = [ring_bytes({fingerprint(OLD): one}) for one in ("signing", "dropped")]
    threads: list[threading.Thread] = []

    def change_twice() -> None:
        for one in reversed(rings):
            ring.load_states(one)

    class Ring(KeyRing):
        @property
        def generation(self) -> int:  # type: ignore[override]
            found = met[-1] if met else 0
            if armed and armed.pop():
                threads.append(in_thread(change_twice))
            return found

        @generation.setter
        def generation(self, value: int) -> None:
            met.append(value)

    met, armed = list[int](), list[bool]()
    ring = Ring((OLD,), clock=ManualClock())
    armed.append(True)
    ring.load_states(rings[0])
    for one in threads:
        one.join()

    assert threads
    assert met == sorted(set(met))


def test_two_doubts_at_once_are_both_heard() -> None:
    """An answer asked for between two doubts is doubted by the second one."""
    cache = VerifiedTokens()
    met = set()
    for _ in range(3):
        cache.doubt()
        met.add(id(cache.doubts))
        asked_under = cache.doubts
        cache.doubt()
        assert cache.doubts is not asked_under
    assert not isinstance(cache.doubts, int), "a number that two raise at once misses one"


def test_the_highest_number_seen_never_falls_back(cluster: Cluster) -> None:
    """Of two threads that meet a number, the slower does not write a lower one over a higher."""
    node = cluster.node()
    cluster.step()
    reader = node.follower().reader

    class Between(int):
        """Compared by one thread, it lets another one in."""

        def __lt__(self, other: object) -> bool:
            thread = in_thread(lambda: type(reader).met(reader, 10**17))
            threads.append(thread)
            return int(self) < other  # type: ignore[operator]

        __gt__ = __lt__

    threads: list[threading.Thread] = []
    reader.seen = 0
    reader.met(Between(10**16))
    for one in threads:
        one.join()

    assert reader.seen == 10**17


def test_a_node_says_once_that_it_is_stale(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that see the change at once: one of them tells the listeners."""
    node = cluster.node()
    said: list[object] = []
    node.events.listen(NodeFresh, said.append)
    node.events.listen(NodeStale, said.append)
    follower = node.follower()
    said.clear()
    cluster.clock.advance(60)
    armed = [True]

    class Between:
        """Compared by one thread, it lets another one in."""

        def __eq__(self, other: object) -> bool:
            if armed and armed.pop():
                in_thread(lambda: Follower.note_state(follower)).join()
                return False
            return not other

        def __bool__(self) -> bool:
            return False

        __hash__ = None  # type: ignore[assignment]

    answers = [Between()]
    monkeypatch.setattr(
        Follower, "fresh", property(lambda self: answers.pop() if answers else False)
    )
    follower.note_state()

    assert [type(one) for one in said] == [NodeStale]


def test_what_is_remembered_is_counted_right_by_many_threads() -> None:
    """However threads put, move and clear: the weight is that of what is there."""
    from tests.authority.test_verified_cache import seen

    cache = VerifiedTokens(1_000_000)

    def work() -> None:
        for number in range(400):
            cache.put(f"text-{number % 150}", seen())
            cache.get(f"text-{(number * 7) % 150}", 1)
            if number % 97 == 0:
                cache.clear()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    there = [*cache.young.values(), *cache._old.values()]
    assert cache.weight == sum(one.weight for one in there)
