"""What the tests of the ZooKeeper store do with handles on one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.stores.base import (
    ClusterStore,
    Entry,
    NewEntry,
)
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.zookeeper import Server
from tests.waiting import wait_until

Open = Callable[..., ZooKeeperStore]


def everything_below(client: Any, path: str) -> list[str]:
    """*path* and every path below it."""
    found = [path]
    for name in client.get_children(path):
        found += everything_below(client, f"{path}/{name}")
    return found


def entries_of(store: ClusterStore) -> list[Entry]:
    """The whole feed, page by page."""
    found: list[Entry] = []
    position, more = 0, True
    while more:
        batch = store.read(position)
        found += batch.entries
        position, more = batch.seq, batch.more
    return found


def new(name: str, body: bytes = b"x", keep_until: float | None = None) -> NewEntry:
    return NewEntry(name, body, keep_until)


def chained(entries: list[Entry]) -> bool:
    """Each entry names the one before it."""
    return all(two.prev == one.seq for one, two in pairwise(entries))


def asked_of_a_laggard(
    follower: Server, writer: ClusterStore, change: Callable[[], object], call: Callable[[], object]
) -> object:
    """What *call*, through *follower*, answers while that still has to learn of *change*.

    The question lies before the follower when it wakes, with much to catch up with beside it.
    """
    answers: list[object] = []

    def asking() -> None:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    follower.freeze()
    try:
        load = time.monotonic_ns()
        writer.append([new(f"load-{load}-{n}", b"x" * 2_000) for n in range(400)])
        change()
        before = follower.unread()
        thread = threading.Thread(target=asking)
        thread.start()
        wait_until(lambda: follower.unread() > before)
    finally:
        follower.thaw()
    thread.join(30)
    (answer,) = answers
    return answer


def works(store: ClusterStore) -> bool:
    try:
        store.head()
    except StoreUnavailable:
        return False
    return True
