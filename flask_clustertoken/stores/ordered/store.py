"""The store: each call of the contract is one step."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import ClassVar, TypeVar

from ...clock import Clock
from .. import rules
from ..base import (
    CALL_TIMEOUT,
    PAGE,
    Add,
    Batch,
    Change,
    ClusterStore,
    Delete,
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
from .layout import Layout
from .step import Step

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class OrderedStore(ClusterStore):
    """A store over ordered keys: whoever derives it writes :meth:`step`, ``url`` and ``from_url``.

    ``forget`` and ``close`` do for a place that is opened for each step. Whoever keeps something
    open between two steps derives both, and calls this ``close`` as well.
    """

    look_every: ClassVar[float | None] = 1.0

    def __init__(self, *, clock: Clock | None = None, timeout: float = CALL_TIMEOUT) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self._closed = False

    @abstractmethod
    def step(self, work: Callable[[Step], Answer]) -> Answer:
        """Do *work*, which is given a :class:`Step`, whole or not at all; answer what it answers.

        While it is done no other step is, on the whole cluster, and whoever begins later sees
        what it did: also where it only looks. What it changed is on the disk when this returns.
        Where two were in each other's way, *work* may be done anew: it touches nothing but its
        step. What *work* raises undoes the step and is passed on. Ends within ``timeout``
        seconds; trouble is a :class:`~flask_clustertoken.errors.StoreError` whose cause is the
        driver's own error.
        """

    def _do(self, work: Callable[[Layout], Answer]) -> Answer:
        self._check_not_closed()
        return self.step(lambda step: work(Layout(step)))

    def _check_not_closed(self) -> None:
        if self._closed:
            raise rules.was_closed()

    def forget(self) -> None:
        """Nothing: nothing stays open between two steps."""

    def close(self) -> None:
        self._closed = True

    # records

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        now = self.clock.time()
        found = self._do(lambda realm: {key: realm.record(key, now) for key in keys})
        return {key: record for key, record in found.items() if record is not None}

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        def work(realm: Layout) -> bool:
            rules.require_open(realm.root())
            if realm.record(key, self.clock.time()) is not None:
                return False
            realm.save(key, value, expires_at)
            return True

        return self._do(work)

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        self.append((), (Put(key, value, expires_at),))

    def touch(self, key: str, expires_at: float | None) -> bool:
        def work(realm: Layout) -> bool:
            rules.require_open(realm.root())
            record = realm.record(key, self.clock.time())
            if record is None:
                return False
            end = record.expires_at
            if end is not None and (expires_at is None or expires_at > end):
                realm.save(key, record.value, expires_at)
            return True

        return self._do(work)

    def delete(self, key: str) -> bool:
        def work(realm: Layout) -> bool:
            there = realm.record(key, self.clock.time()) is not None
            realm.drop(key)
            return there

        return self._do(work)

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        now = self.clock.time()

        def work(realm: Layout) -> list[tuple[str, Record]]:
            found = realm.records(prefix, after)
            alive = (one for one in found if one[0] != after and one[1].alive(now))
            return rules.page_of(alive, limit)

        return self._do(work)

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        def work(realm: Layout) -> Purged:
            ends = ((key, record.expires_at) for key, record in realm.records())
            dead = _first(limit, (key for key, end in ends if end is not None and end < before))
            for key in dead:
                realm.drop(key)
            return Purged(len(dead), len(dead) < limit)

        return self._do(work)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        def work(realm: Layout) -> list[int]:
            rules.require_open(realm.root())
            if entries and realm.number_of(entries[0].id) is not None:
                numbers = [realm.number_of(entry.id) for entry in entries]
                return [seq for seq in numbers if seq is not None]
            now = self.clock.time()
            rules.check_conditions(changes, realm.last, lambda key: realm.record(key, now))
            for change in changes:
                if isinstance(change, Add | Put):
                    realm.save(change.key, change.value, change.expires_at)
                elif isinstance(change, Delete):
                    realm.drop(change.key)
            return [realm.append(entry, now, above) for entry in entries]

        return self._do(work)

    def read(self, after: int, limit: int = PAGE) -> Batch:
        def work(realm: Layout) -> Batch:
            head, floor = realm.head_and_floor()
            found = _first(limit + 1, realm.entries(after))
            page, more = tuple(found[:limit]), len(found) > limit
            return Batch(page, page[-1].seq if more else head, more, floor)

        return self._do(work)

    def head(self) -> int:
        return self._do(lambda realm: realm.head_and_floor()[0])

    def watch(self, moved: Callable[[], None]) -> None:
        self._check_not_closed()  # look_every says when to look; nothing calls

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        def over(entry: Entry) -> bool:
            return entry.keep_until is not None and entry.keep_until < before

        return self._do(lambda realm: _first(limit, filter(over, realm.entries(after))))

    def trim(self, seqs: Sequence[int]) -> None:
        def work(realm: Layout) -> None:
            head, floor = realm.head_and_floor()
            for seq in seqs:
                if (entry := realm.entry(seq)) is not None:
                    realm.take_out(entry)
                    floor = max(floor, seq)
            realm.set_head(head, floor)

        self._do(work)

    # presence

    def _write_node(self, realm: Layout, node_id: str, info: bytes) -> None:
        # Never a version again, not even of an entry that was made anew.
        realm.set_node(Presence(node_id, info, secrets.randbits(60), self.clock.time()))

    def announce(self, node_id: str, info: bytes) -> None:
        self._do(lambda realm: self._write_node(realm, node_id, info))

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        def work(realm: Layout) -> Vouched:
            if realm.node(node_id) is None:
                raise rules.not_announced()
            self._write_node(realm, node_id, info)
            return Vouched(realm.head_and_floor()[0], self.clock.time())

        return self._do(work)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        def work(realm: Layout) -> bool:
            node = realm.node(node_id)
            if node is None or (unchanged is not None and node.version != unchanged.version):
                return False
            realm.drop_node(node_id)
            return True

        return self._do(work)

    def nodes(self) -> list[Presence]:
        return self._do(lambda realm: realm.nodes())

    # root and moving house

    def root(self) -> Root:
        def work(realm: Layout) -> Root:
            root = realm.root()
            if not root.epoch:
                root = Root(secrets.token_hex(8))
                realm.set_root(root)
            return root

        return self._do(work)

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        def work(realm: Layout) -> bool:
            if realm.root() != old:
                return False
            realm.set_root(new)
            if entry is not None:
                realm.append(entry, self.clock.time())
            return True

        return self._do(work)

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        def filling(realm: Layout) -> tuple[int, int]:
            rules.require_preparing(realm.root())
            if held is not None:
                now = self.clock.time()
                held.check(realm.record(held.key, now), now)
            return realm.head_and_floor()

        def save(some: Sequence[tuple[str, Record]]) -> Callable[[Layout], None]:
            def work(realm: Layout) -> None:
                filling(realm)
                for key, record in some:
                    realm.save(key, record.value, record.expires_at)

            return work

        def write(some: Sequence[Entry], head: int = 0, floor: int = 0) -> Callable[[Layout], None]:
            def work(realm: Layout) -> None:
                before = filling(realm)
                for entry in some:
                    realm.write(entry)
                last = max([before[0], head, *(entry.seq for entry in some)])
                realm.set_head(last, max(before[1], floor))

            return work

        for page in rules.in_pages(records, PAGE):
            self._do(save(page))
        for part in rules.in_pages(entries, PAGE):
            self._do(write(part))
        self._do(write([], head, floor))


def _first(limit: int, found: Iterable[Item]) -> list[Item]:
    return list(islice(found, limit))
