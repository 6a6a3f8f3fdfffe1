"""``zookeeper://h1:2181,h2:2181,h3:2181/root``: the store of a cluster.

Needs ZooKeeper 3.9 or later and the package kazoo (extra ``zookeeper``). Everything that is
ours stands under ``<root>/<realm>``; what else is under the root is left alone. Each process
has one connection; a ZooKeeper server takes 60 from one address unless its
``maxClientCnxns`` says otherwise. Its local sessions (``localSessionsEnabled``) must be off,
as they are by default: only then has a new session seen all that was acknowledged before it.

A user or password is given in ``STORE_OPTIONS``, never in the URL; see
:class:`~flask_clustertoken.stores.zookeeper.address.ZooKeeperOptions` for what is understood there.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import ConfigurationError, MissingDriver
from .. import rules
from ..base import (
    CALL_TIMEOUT,
    PAGE,
    Add,
    Batch,
    Change,
    ClusterStore,
    Entry,
    Held,
    NewEntry,
    Presence,
    Purged,
    Put,
    Record,
    Root,
    Vouched,
)
from .address import EnsembleAddress, ZooKeeperOptions, parse_address, parse_options
from .connection import CallDeadline, Op, Refused
from .realm import Realm
from .site import gone, stat, write

_log = logging.getLogger(__name__)


class ZooKeeperStore(ClusterStore):
    """A realm in a ZooKeeper ensemble."""

    scheme: ClassVar[str] = "zookeeper"
    extra: ClassVar[str] = "zookeeper"

    def __init__(
        self,
        address: EnsembleAddress,
        options: ZooKeeperOptions | None = None,
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self.address = address
        self.options = options or ZooKeeperOptions()
        self.realm = realm
        self._closed = False
        self._warned = False
        self._opened: dict[int, Realm] = {}

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        realm: str,
        instance_path: str,
        options: Mapping[str, Any],
        clock: Clock | None,
        timeout: float,
    ) -> ZooKeeperStore:
        address, parsed = parse_address(url), parse_options(options)
        if find_spec("kazoo") is None:
            raise MissingDriver("STORE", "kazoo", cls.extra)
        if parsed.sasl and find_spec("puresasl") is None:
            raise ConfigurationError(
                "STORE_OPTIONS",
                "'sasl': the package 'pure-sasl' is not installed.",
                "Install it with: pip install pure-sasl",
            )
        return cls(address, parsed, realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return self.address.url

    # life

    def _open(self) -> Realm:
        if self._closed:
            raise rules.was_closed()
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            if self.options.acl == "world" and not self._warned:
                self._warned = True
                _log.warning(
                    "whoever reaches the ZooKeeper servers may read and change everything below "
                    "%s: sign on with STORE_OPTIONS (auth, sasl or cert)",
                    self.address.root,
                )
            # No lock: one made before a fork or before monkey-patching could not be trusted.
            opened = self._opened.setdefault(
                pid, Realm(self.address, self.options, self.realm, self.clock, self.timeout)
            )
        return opened

    def _start(self) -> tuple[Realm, CallDeadline]:
        return self._open(), CallDeadline(self.timeout)

    def forget(self) -> None:
        before, self._opened = self._opened, {}
        for opened in before.values():
            opened.line.abandon()

    def another(self) -> ZooKeeperStore:
        return type(self)(
            self.address, self.options, realm=self.realm, clock=self.clock, timeout=self.timeout
        )

    def close(self) -> None:
        self._closed = True
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.line.close()

    # root

    def begun(self) -> bool:
        opened, deadline = self._start()
        return opened.site.again(deadline, lambda _: opened.site.catch_up(deadline))

    def root(self) -> Root:
        opened, deadline = self._start()

        return opened.site.again(deadline, lambda _: opened.root(deadline, behind=True)[0])

    def peek_root(self) -> Root:
        opened, deadline = self._start()
        return opened.site.again(deadline, lambda _: opened.root(deadline, anew=True)[0])

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        opened, deadline = self._start()
        return opened.change_root(deadline, old, new, entry)

    # records

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        opened, deadline = self._start()

        def step(_sure: bool) -> Mapping[str, Record]:
            opened.root(deadline)
            return opened.records.get_many(deadline, keys)

        return opened.site.again(deadline, step)

    def peek(self, key: str) -> Record | None:
        opened, deadline = self._start()

        def step(_sure: bool) -> Record | None:
            opened.root(deadline)
            found = opened.records.look(deadline, [key])[key]
            alive = found is not None and found.record.alive(self.clock.time())
            return found.record if found is not None and alive else None

        return opened.site.again(deadline, step)

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        rules.check_value(value)
        opened, deadline = self._start()
        record, maker = Record(value, expires_at), secrets.token_bytes(8)

        def step(sure: bool) -> bool:
            check = opened.unsealed(deadline, sure)
            op = opened.records.plan_add(deadline, key, record, maker, sure)
            if isinstance(op, Op):
                opened.site.commit(deadline, [check, op])
                return True
            return op

        return opened.site.again(deadline, step)

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        rules.check_value(value)
        opened, deadline = self._start()
        record, maker = Record(value, expires_at), secrets.token_bytes(8)

        def step(sure: bool) -> None:
            check = opened.unsealed(deadline, sure)
            op = opened.records.plan_put(deadline, key, record, maker)
            opened.site.commit(deadline, [check, op])

        opened.site.again(deadline, step)

    def touch(self, key: str, expires_at: float | None) -> bool:
        opened, deadline = self._start()

        def step(sure: bool) -> bool:
            check = opened.unsealed(deadline, sure)
            op = opened.records.plan_touch(deadline, key, expires_at, sure)
            if isinstance(op, Op):
                opened.site.commit(deadline, [check, op])
                return True
            return op

        return opened.site.again(deadline, step)

    def delete(self, key: str) -> bool:
        opened, deadline = self._start()
        opened.site.again(deadline, lambda _: opened.root(deadline))
        return opened.records.delete(deadline, key)

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        opened, deadline = self._start()

        def step(_sure: bool) -> list[tuple[str, Record]]:
            opened.root(deadline)
            if not after:
                # Whatever was there before the walk began is met, also on a server that lags.
                opened.site.ask(deadline, [stat(opened.site.records)], behind=True)
            return opened.records.scan(deadline, prefix, after, limit)

        return opened.site.again(deadline, step)

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        """Walks for a second at most, and goes on from there at the next call."""
        opened, deadline = self._start()

        def step(_sure: bool) -> Purged:
            opened.root(deadline)
            return opened.records.purge(deadline, before, limit)

        return opened.site.again(deadline, step)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        for part in (*entries, *changes):
            if isinstance(part, NewEntry):
                rules.check_value(part.body)
            elif isinstance(part, Add | Put):
                rules.check_value(part.value)
        opened, deadline = self._start()
        if not entries:
            opened.appender.transact(deadline, changes)
            return []
        return opened.appender.append(deadline, entries, changes, above)

    def read(self, after: int, limit: int = PAGE) -> Batch:
        opened, deadline = self._start()

        def step(_sure: bool) -> Batch:
            opened.root(deadline)
            return opened.feed.read(deadline, after, limit)

        return opened.site.again(deadline, step)

    def head(self) -> int:
        opened, deadline = self._start()

        def step(_sure: bool) -> int:
            opened.root(deadline)
            return opened.feed.number_now(deadline)

        return opened.site.again(deadline, step)

    def watch(self, moved: Callable[[], None]) -> None:
        opened, deadline = self._start()
        opened.watch(moved)

        def step(_sure: bool) -> None:
            opened.root(deadline)
            opened.feed.look(deadline)

        opened.site.again(deadline, step)

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        opened, deadline = self._start()

        def step(_sure: bool) -> list[Entry]:
            opened.root(deadline)
            return opened.sweeper.ended(deadline, before, after, limit)

        return opened.site.again(deadline, step)

    def trim(self, seqs: Sequence[int]) -> None:
        opened, deadline = self._start()
        opened.site.again(deadline, lambda _: opened.root(deadline))
        opened.sweeper.trim(deadline, seqs)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        rules.check_value(info)
        opened, deadline = self._start()

        def step(_sure: bool) -> None:
            # Never into another store than the one that this process began with.
            opened.root(deadline, anew=True)
            opened.nodes.announce(deadline, node_id, info)

        opened.site.again(deadline, step)

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        rules.check_value(info)
        opened, deadline = self._start()

        def step(_sure: bool) -> Vouched:
            opened.root(deadline)
            written, head = opened.feed.after_write(
                deadline, write(opened.site.node(node_id), info)
            )
            if head is None:
                raise rules.not_announced()
            return Vouched(head.seq, written.mtime / 1000)

        return opened.site.again(deadline, step)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        opened, deadline = self._start()
        return opened.site.again(
            deadline, lambda sure: opened.nodes.withdraw(deadline, node_id, unchanged, sure)
        )

    def time(self) -> float:
        """The leader's clock, as a write of ours is stamped by it."""
        opened, deadline = self._start()

        def step(_sure: bool) -> float:
            opened.root(deadline)
            (written,) = opened.line.ask(deadline, write(opened.site.scratch, b""))
            if isinstance(written, Refused):
                raise gone(opened.site.scratch)
            return float(written.mtime / 1000)

        return opened.site.again(deadline, step)

    def nodes(self) -> list[Presence]:
        opened, deadline = self._start()

        def step(_sure: bool) -> list[Presence]:
            opened.root(deadline)
            return opened.nodes.listed(deadline)

        return opened.site.again(deadline, step)

    def peek_nodes(self, limit: int) -> list[Presence]:
        """A random choice: whoever asks for some sees others than its neighbour does."""
        opened, deadline = self._start()

        def step(_sure: bool) -> list[Presence]:
            opened.root(deadline)
            return opened.nodes.some(deadline, limit)

        return opened.site.again(deadline, step)

    # moving house

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        """Every step of some hundred records or entries has a call's time for itself.

        And looks within that time whether it may: who was suspended meanwhile has no time left.
        """
        opened = self._open()
        for some in rules.in_pages(records, 200):
            deadline = CallDeadline(self.timeout)
            opened.require_fillable(deadline, held)
            opened.records.load(deadline, some)
        for page in rules.in_pages(entries, 500):
            deadline = CallDeadline(self.timeout)
            opened.require_fillable(deadline, held)
            opened.loader.load(deadline, page)
        deadline = CallDeadline(self.timeout)
        opened.require_fillable(deadline, held)
        opened.loader.lift(deadline, head, floor)
