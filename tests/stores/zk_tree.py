"""A ZooKeeper of dictionaries, to put a step of somebody else between any two requests.

It stands where the connection stands (``zookeeper.connection.Line``) and answers each request at
once. What it shows is a matter of order alone; how servers, sessions and time behave is tested with
real servers in ``tests/ensemble``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from flask_clustertoken.stores.zookeeper.connection import CallDeadline, Op, Refused, Rejected


@dataclass(frozen=True)
class Stat:
    """The part of a znode's stat that the store looks at."""

    czxid: int
    mzxid: int
    pzxid: int
    mtime: int
    version: int = 0


@dataclass
class Tree:
    """What the servers hold."""

    znodes: dict[str, tuple[bytes, Stat]] = field(default_factory=dict)
    zxid: int = 1
    lock: Any = field(default_factory=threading.RLock)
    watches: dict[str, list[Callable[[Any], None]]] = field(default_factory=dict)
    #: The servers' clock.
    time: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.znodes[""] = b"", Stat(0, 0, 0, 0)

    def names(self, path: str) -> list[str]:
        above = path + "/"
        return [one[len(above) :] for one in self.znodes if one.rpartition("/")[0] == path]

    def do(self, op: Op) -> Any:
        """Carry *op* out as the transaction numbered *zxid*."""
        found, parent = self.znodes.get(op.path), op.path.rpartition("/")[0]
        now = int(self.time() * 1000)
        if op.what == "create":
            if found is not None:
                return Refused.PRESENT
            if parent not in self.znodes:
                return Refused.ABSENT
            self.znodes[op.path] = op.data, Stat(self.zxid, self.zxid, self.zxid, now)
        elif found is None:
            return Refused.ABSENT
        elif op.version not in (-1, found[1].version):
            return Refused.CHANGED
        elif op.what == "set":
            version = found[1].version + 1
            stat = replace(found[1], mzxid=self.zxid, mtime=now, version=version)
            self.znodes[op.path] = op.data, stat
            return stat
        elif op.what == "delete":
            if self.names(op.path):
                return Refused.NOT_EMPTY
            del self.znodes[op.path]
        if op.what in ("create", "delete"):
            data, stat = self.znodes[parent]
            self.znodes[parent] = data, replace(stat, pzxid=self.zxid)
        return op.path

    def commit(self, ops: Sequence[Op]) -> list[Any]:
        with self.lock:
            before = dict(self.znodes)
            self.zxid += 1
            answers = []
            for op in ops:
                answers.append(self.do(op))
                if isinstance(answers[-1], Refused):
                    self.znodes = before
                    raise Rejected(op, answers[-1])
            woken = [self.watches.pop(op.path, []) for op in ops if op.what != "check"]
        for watch in (one for some in woken for one in some):
            watch(SimpleNamespace(type="CHANGED"))
        return answers


class Client:
    """The calls of kazoo that the store makes, answered at once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        #: Whether it was asked for a change, be it one that was refused.
        self.wrote = False

    def _one(self, op: Op) -> Any:
        self.wrote = True
        try:
            return self._tree.commit([op])[0]
        except Rejected as error:
            return error.why

    def _watch(self, path: str, watch: Callable[[Any], None] | None) -> None:
        # (A client that sets the same watch twice is told once.)
        if watch is not None and watch not in self._tree.watches.setdefault(path, []):
            self._tree.watches[path].append(watch)

    def get_async(self, path: str, watch: Callable[[Any], None] | None = None) -> Any:
        self._watch(path, watch)
        return self._tree.znodes.get(path, Refused.ABSENT)

    def exists_async(self, path: str, watch: Callable[[Any], None] | None = None) -> Any:
        self._watch(path, watch)
        found = self._tree.znodes.get(path)
        return found[1] if found is not None else None

    def get_children_async(self, path: str, include_data: bool = False) -> Any:
        if path not in self._tree.znodes:
            return Refused.ABSENT
        names = self._tree.names(path)
        return (names, self._tree.znodes[path][1]) if include_data else names

    def create_async(
        self, path: str, data: bytes = b"", ephemeral: bool = False, sequence: bool = False
    ) -> Any:
        return self._one(Op("create", path + (f"{self._tree.zxid:010d}" if sequence else ""), data))

    def set_async(self, path: str, data: bytes, version: int = -1) -> Any:
        return self._one(Op("set", path, data, version))

    def delete_async(self, path: str, version: int = -1) -> Any:
        return self._one(Op("delete", path, version=version))


class TreeLine:
    """A connection to *tree*."""

    patience = 12.0

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        #: Requests answered through this connection, and those of them that servers must agree to.
        self.count = self.writes = 0
        #: Times that whoever asked had to wait for answers.
        self.trips = 0
        #: Called before each request of this connection.
        self.between: Callable[[], None] | None = None

    def _next(self, writes: bool = False) -> None:
        self.count += 1
        self.writes += writes
        if self.between is not None:
            self.between()

    def ask(self, deadline: CallDeadline, *requests: Callable[[Any], Any]) -> list[Any]:
        answers = []
        self.trips += bool(requests)
        for request in requests:
            self._next()
            client = Client(self.tree)
            with self.tree.lock:
                answers.append(request(client))
            self.writes += client.wrote
        return answers

    def ask_many(
        self, deadline: CallDeadline, requests: Sequence[Callable[[Any], Any]]
    ) -> list[Any]:
        return self.ask(deadline, *requests)

    def multi(
        self, deadline: CallDeadline, ops: Sequence[Op], *behind: Callable[[Any], Any]
    ) -> list[Any]:
        self.trips += 1
        self._next(writes=True)
        try:
            came_of = self.tree.commit(ops)
        finally:
            answers = []
            for request in behind:
                self._next()
                with self.tree.lock:
                    answers.append(request(Client(self.tree)))
        return [*came_of, *answers]

    def post(self, request: Callable[[Any], Any]) -> None:
        self.count += 1
        with self.tree.lock:
            request(Client(self.tree))

    def abandon(self) -> None:
        pass

    def close(self, patience: float = 0.0) -> None:
        pass
