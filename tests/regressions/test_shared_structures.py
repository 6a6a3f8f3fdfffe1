"""Structures that several threads share were read, or raised, without their lock.

A log-out could answer 500 where ``View.longest()`` walked through what the follower was writing.
Of two threads that raised a number at once one was overlooked; the slower of two could put what
it had read earlier over what the other had read later. Each run is forced here, not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.keys import RING_KEY, KeyFile, KeyRing, KeyState, fingerprint, ring_bytes
from flask_clustertoken.notices import Notice
from flask_clustertoken.recall import Recall
from flask_clustertoken.revocations import View
from flask_clustertoken.stores.base import Entry
from tests.core.parts import SECRET, Cluster, store_of

OLD, NEW = "an old key, long enough to sign with", "a new key, long enough to sign with it"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def in_thread(work: Callable[[], object], patience: float = 0.2) -> threading.Thread:
    """*work* in another thread, which was given the time to do it if nothing holds it up."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(patience)
    return thread


def announce(view: View, value: float) -> None:
    notice = Notice("lifetime", 1.0, value=value)
    view.learn(Entry(int(value), 0, str(value), notice.encode(), None), notice)


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
    """A thread that read the states before a key was dropped comes back after one that read later."""
    node = cluster.node()
    cluster.step()
    store, key_id = store_of(node), fingerprint(SECRET)

    def state(said: KeyState) -> None:
        store.put(RING_KEY, ring_bytes({key_id: said}), None)

    def meanwhile() -> None:
        state("dropped")
        node._load_keys()

    state("signing")
    store.after["get_many"] = meanwhile
    node._load_keys()

    assert node.keys.states == {key_id: "dropped"}


def test_an_older_content_of_the_key_file_does_not_stay(tmp_path: Path) -> None:
    """Keys and the stamp of the file that they stood in become known in one step."""
    file = KeyFile(tmp_path / "keys")
    file.path.write_text(OLD + "\n")
    ring = KeyRing((), file, clock=ManualClock())
    slow: list[Callable[[], None]] = [lambda: None]

    class Slow(KeyFile):
        def read(self) -> tuple[str, ...]:
            found = super().read()
            slow.pop()() if slow else None
            return found

    def meanwhile() -> None:
        file.path.write_text(NEW + "\n# and a line more\n")
        ring.reread()

    ring.file = Slow(file.path)
    slow[:] = [meanwhile]
    file.path.write_text(OLD + "\n\n")
    ring.reread()
    ring.reread()

    assert ring.held == [fingerprint(NEW)]


def test_no_generation_of_the_keys_comes_again() -> None:
    """What was verified under a generation is never taken for verified under a later one."""
    ring, met, stop = KeyRing((OLD,), clock=ManualClock()), list[int](), threading.Event()
    rings = [ring_bytes({fingerprint(OLD): one}) for one in ("signing", "dropped")]

    def change() -> None:
        for number in range(300):
            ring.load_states(rings[number % 2])

    def look() -> None:
        while not stop.is_set():
            met.append(ring.generation)

    looker, changers = threading.Thread(target=look), list[threading.Thread]()
    changers += [threading.Thread(target=change) for _ in range(3)]
    for one in (looker, *changers):
        one.start()
    for one in changers:
        one.join()
    stop.set()
    looker.join()

    assert met == sorted(met)


def test_two_doubts_at_once_are_both_heard() -> None:
    """An answer asked for between two doubts is doubted by the second one."""
    recall = Recall()
    met = set()
    for _ in range(3):
        recall.doubt()
        met.add(id(recall.doubts))
        asked_under = recall.doubts
        recall.doubt()
        assert recall.doubts is not asked_under
    assert not isinstance(recall.doubts, int), "a number that two raise at once misses one"


def test_the_highest_number_seen_never_falls_back(cluster: Cluster) -> None:
    """Of two threads that meet a number, the slower does not write a lower one over a higher."""
    node = cluster.node()
    cluster.step()
    follower = node.follower()

    class Between(int):
        """Compared by one thread, it lets another one in."""

        def __lt__(self, other: object) -> bool:
            thread = in_thread(lambda: type(follower).met(follower, 10**17))
            threads.append(thread)
            return int(self) < other  # type: ignore[operator]

        __gt__ = __lt__

    threads: list[threading.Thread] = []
    follower.seen = 0
    follower.met(Between(10**16))
    for one in threads:
        one.join()

    assert follower.seen == 10**17


def test_a_node_says_once_that_it_is_fresh(cluster: Cluster) -> None:
    """Two threads that see the change at once: one of them tells the listeners."""
    from flask_clustertoken.events import NodeFresh, NodeStale

    node = cluster.node()
    said: list[object] = []
    node.events.listen(NodeFresh, said.append)
    node.events.listen(NodeStale, said.append)
    follower = node.follower()
    said.clear()
    cluster.clock.advance(60)
    inner = follower._lease_lock
    first = [True]

    class Between:
        def __enter__(self) -> None:
            if first.pop() if first else False:
                in_thread(follower.note_state).join()
            inner.acquire()

        def __exit__(self, *_: object) -> None:
            inner.release()

    follower._lease_lock = Between()  # type: ignore[assignment]
    follower.note_state()

    assert [type(one) for one in said] == [NodeStale]


def test_what_is_remembered_is_counted_right_by_many_threads() -> None:
    """However threads put, move and clear: the weight is that of what is there."""
    from tests.core.test_recall import seen

    recall = Recall(1_000_000)

    def work() -> None:
        for number in range(400):
            recall.put(f"text-{number % 150}", seen())
            recall.get(f"text-{(number * 7) % 150}", 1)
            if number % 97 == 0:
                recall.clear()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    there = [*recall.young.values(), *recall._old.values()]
    assert recall.weight == sum(one.weight for one in there)
