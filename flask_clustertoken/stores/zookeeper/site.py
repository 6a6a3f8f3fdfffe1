"""The paths of one realm in ZooKeeper, and the few ways in which the store asks.

Below ``<root>/<realm>`` stand

======================================  ====================================================
``root``                                epoch and state, as JSON
``scratch``                             written before a read that must not lag
``records/<area>/<shard>/<leaf>``       one record
``feed/head``                           last number, floor, the newest entries in full
``feed/pages/<number>``                 older entries, many to a page
``feed/ids/<xx>/<id>``                  the number of the entry with that id
``feed/queue/<ticket>``                 who waits for the head, while many append
``nodes/<node id>``                     what that node says of itself
======================================  ====================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from ...backoff import Backoff
from ...clock import Clock
from ...errors import StoreDamaged, StoreUnavailable
from .codec import escape, key_names
from .connection import WINDOW, CallDeadline, Late, Line, LineLost, Op, Refused, Rejected, Request

Answer = TypeVar("Answer")

#: Znodes made in one transaction (each small: together well below a request's limit).
AT_ONCE = 100

#: Where each node's first records go, in that order: were it missing, a start would make it.
FIRST_RECORDS = ("seen", "seen/keys")

#: Seconds before what somebody else came before is tried again, at first and at most.
PAUSE, LONGEST_PAUSE = 0.004, 0.25


class ZnodeStat(Protocol):
    """What the servers say of a znode besides its data; times are the leader's, in ms."""

    @property
    def czxid(self) -> int: ...
    @property
    def mzxid(self) -> int: ...
    @property
    def pzxid(self) -> int: ...
    @property
    def mtime(self) -> int: ...
    @property
    def version(self) -> int: ...


#: What :func:`get` is answered, and :func:`children`.
Data = tuple[bytes, ZnodeStat] | Refused
Names = list[str] | Refused


def get(path: str, watch: Callable[[Any], None] | None = None) -> Request:
    return lambda zk: zk.get_async(path, watch)


def stat(path: str, watch: Callable[[Any], None] | None = None) -> Request:
    return lambda zk: zk.exists_async(path, watch)


def children(path: str) -> Request:
    return lambda zk: zk.get_children_async(path)


def children_and_stat(path: str) -> Request:
    return lambda zk: zk.get_children_async(path, include_data=True)


def create(path: str, data: bytes = b"") -> Request:
    return lambda zk: zk.create_async(path, data)


def write(path: str, data: bytes, version: int = -1) -> Request:
    return lambda zk: zk.set_async(path, data, version)


def delete(path: str, version: int = -1) -> Request:
    return lambda zk: zk.delete_async(path, version)


class Site:
    """One realm's place in an ensemble, as this process sees it."""

    def __init__(self, line: Line, root: str, realm: str, clock: Clock) -> None:
        self.line = line
        self.clock = clock
        self.base = f"{root}/{escape(realm)}"
        self.root = f"{self.base}/root"
        self.scratch = f"{self.base}/scratch"
        self.records = f"{self.base}/records"
        self.feed = f"{self.base}/feed"
        self.head = f"{self.feed}/head"
        self.pages = f"{self.feed}/pages"
        self.ids = f"{self.feed}/ids"
        self.queue = f"{self.feed}/queue"
        self.nodes = f"{self.base}/nodes"

    def record(self, key: str) -> str:
        return f"{self.records}/{'/'.join(key_names(key))}"

    def above_record(self, key: str) -> list[str]:
        """What has to be there before the record of *key* can be, the upper one first."""
        area, shard, _ = key_names(key)
        return [f"{self.records}/{area}", f"{self.records}/{area}/{shard}"]

    def id(self, entry_id: str) -> str:
        return f"{self.ids}/{sha256(entry_id.encode()).hexdigest()[:2]}/{escape(entry_id)}"

    def id_shards(self) -> list[str]:
        return [f"{self.ids}/{number:02x}" for number in range(256)]

    def places(self) -> list[str]:
        """What an empty realm consists of, what is above before what is below; the root last."""
        return [
            self.scratch,
            self.records,
            *(f"{self.records}/{one}" for one in FIRST_RECORDS),
            self.nodes,
            self.feed,
            self.pages,
            self.ids,
            self.queue,
            *self.id_shards(),
            self.head,
            self.root,
        ]

    def page(self, number: int) -> str:
        return f"{self.pages}/{number:020d}"

    def node(self, node_id: str) -> str:
        return f"{self.nodes}/{escape(node_id)}"

    # -- asking ------------------------------------------------------------------------

    def ask(
        self, deadline: CallDeadline, requests: Sequence[Request], *, behind: bool
    ) -> list[Any]:
        """The answers to reads; with *behind*, as of some moment after this call began.

        ``sync()`` alone is no quorum operation, and a server that was just cut off answers it;
        a write is one. What follows it through the same client is read after it.
        """
        if not requests:
            return []
        if not behind:
            return self.line.ask_many(deadline, requests)
        first = self.line.ask(deadline, write(self.scratch, b""), *requests[: WINDOW - 1])
        if first[0] is Refused.ABSENT:
            raise gone(self.scratch)
        return first[1:] + self.line.ask_many(deadline, requests[WINDOW - 1 :])

    def commit(self, deadline: CallDeadline, ops: Sequence[Op], *behind: Request) -> list[Any]:
        """Carry out *ops* in one step; :class:`Raced` where what they rest on has changed.

        What came of each, and the answers to what is asked *behind*, along with it.
        """
        try:
            return self.line.multi(deadline, ops, *behind)
        except Rejected as error:
            op = error.op
            if error.why is Refused.ABSENT and op.path in (self.root, self.head):
                raise gone(op.path) from error
            if op.path == self.head:
                raise Beaten(str(error)) from error
            if op.what == "create" and error.why is Refused.ABSENT:
                self.make_parents_of(deadline, [one.path for one in ops if one.what == "create"])
            # It was refused by the servers together: what is read from here on is not older.
            raise Raced(str(error), sure=True, path=op.path) from error

    def catch_up(self, deadline: CallDeadline) -> bool:
        """Let every read that follows be of some moment after this call began.

        ``False`` while the realm has no place yet.
        """
        (answer,) = self.line.ask(deadline, write(self.scratch, b""))
        return answer is not Refused.ABSENT

    def again(self, deadline: CallDeadline, step: Callable[[bool], Answer]) -> Answer:
        """Repeat *step* until it needs no repetition; only for what may be done twice.

        It is told whether its reads are sure: whether they stand behind a write, because what
        it had seen at first was out of date.
        """
        sure, told, tries, beaten = False, False, 0, 0
        pauses = Backoff(PAUSE, LONGEST_PAUSE)
        while True:
            try:
                if tries:
                    sure = told or self.catch_up(deadline)
                told = False
                return step(sure)
            except Beaten as error:
                beaten += 1
                if deadline.left() == 0:
                    raise _too_slow(deadline) from Late(str(error))
                # At once; but a server that lags may go on showing the old one.
                if beaten % 4:
                    continue
            except Raced as error:
                told = error.sure
                if deadline.left() == 0:
                    raise _too_slow(deadline) from Late(str(error))
            except LineLost:
                if deadline.left() == 0:
                    raise
            tries += 1
            time.sleep(min(deadline.left(), pauses.next()))

    def create_many(self, deadline: CallDeadline, wanted: Mapping[str, bytes]) -> bool:
        """Create all of *wanted*, some hundred in a transaction; ``False`` where one cannot be.

        Some may have been made then. A transaction costs the servers little more than a single
        znode does, so this is many times faster than one by one.
        """
        items = list(wanted.items())
        for start in range(0, len(items), AT_ONCE):
            ops = [Op("create", path, data) for path, data in items[start : start + AT_ONCE]]
            try:
                self.line.multi(deadline, ops)
            except Rejected:
                return False
        return True

    def make_parents_of(self, deadline: CallDeadline, paths: Iterable[str]) -> None:
        """Create whatever is missing above *paths*, most often one level: all at once."""
        above = list({path.rpartition("/")[0]: path for path in paths}.items())
        made = self.line.ask_many(deadline, [create(parent) for parent, _ in above])
        for answer, (_, path) in zip(made, above, strict=True):
            if answer is Refused.ABSENT:
                self.make_parents(deadline, path)

    def make_parents(self, deadline: CallDeadline, path: str) -> None:
        """Create whatever is missing above *path*, from the lowest that is there.

        Never looked at from the top: who may work below a path need not be allowed to read, or
        even to see, what is above it.
        """
        above = path.rpartition("/")[0]
        if not above:
            return
        (answer,) = self.line.ask(deadline, create(above))
        if answer is Refused.ABSENT:
            self.make_parents(deadline, above)
            self.line.ask(deadline, create(above))


class Raced(Exception):
    """Somebody else changed in between what was to be changed.

    *sure*: a write of ours was refused because of it, so what is read now is as new as that;
    *path*: what was in its way.
    """

    def __init__(self, what: str, *, sure: bool = False, path: str = "") -> None:
        self.sure = sure
        self.path = path
        super().__init__(what)


class Beaten(Raced):
    """Somebody else was faster in appending to the feed, or in making a place; nothing else was in
    the way, and what is in the way is known."""


def _too_slow(deadline: CallDeadline) -> StoreUnavailable:
    return StoreUnavailable(f"others were faster for {deadline.seconds:g} s")


def gone(path: str) -> StoreDamaged:
    return StoreDamaged(f"{path} is missing in ZooKeeper: was the store deleted?")
