"""Store: the shared one, and each node's handle of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from flask_clustertoken.clock import Clock
from flask_clustertoken.stores.base import (
    Batch,
    ClusterStore,
    HeadIs,
    NewEntry,
    Presence,
    Purged,
    Record,
    Root,
    Vouched,
)
from flask_clustertoken.stores.memory import MemoryStore

if TYPE_CHECKING:
    from .node import SimulatedNode
    from .world import World

T = TypeVar("T")


class Inner(MemoryStore):
    """The shared store itself: entries in the list of nodes are stamped by its own clock."""

    def __init__(self, world: World, clock: Clock) -> None:
        super().__init__(world.shelf, clock=clock)
        self._world = world

    def time(self) -> float:
        return self._world.now


class SimulatedStore(ClusterStore):
    """One node's handle of the shared store, behind a line on which anything may happen."""

    scheme: ClassVar[str] = "simulated"
    shared: ClassVar[bool] = True
    embedded: ClassVar[bool] = False

    def __init__(self, world: World, node: SimulatedNode) -> None:
        super().__init__(clock=node.clock)
        self._world = world
        self._node = node
        self._inner = Inner(world, node.clock)
        self._shown: set[str] = set()

    def _read(self, work: Callable[[], T]) -> T:
        return self._world.network.call(self._node, work, writes=False)

    def _write(self, work: Callable[[], T]) -> T:
        return self._world.network.call(self._node, work, writes=True)

    def forget(self) -> None:
        pass

    def close(self) -> None:
        self._inner.close()

    @property
    def url(self) -> str:
        return "simulated:"

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        def work() -> dict[str, Record]:
            found = dict(self._inner.get_many(keys))
            if self._world.network.lags():
                # A replica that lags still shows what was deleted a moment ago.
                now = self.clock.time()
                for key in keys:
                    old = self._world.deleted.get(key)
                    recent = old is not None and self._world.now - old[0] < 2.0
                    if old is not None and recent and key not in found and old[1].alive(now):
                        found[key] = old[1]
            return found

        return self._read(work)

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        return self._write(lambda: self._inner.add(key, value, expires_at))

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        self._write(lambda: self._inner.put(key, value, expires_at))

    def touch(self, key: str, expires_at: float | None) -> bool:
        return self._write(lambda: self._inner.touch(key, expires_at))

    def delete(self, key: str) -> bool:
        return self._write(lambda: self._keeping(key, lambda: self._inner.delete(key)))

    def _keeping(self, key: str, work: Callable[[], T]) -> T:
        record = self._world.shelf.records.get(key)
        if record is not None:
            self._world.deleted[key] = (self._world.now, record)
        return work()

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[tuple[str, Record]]:
        return self._read(lambda: self._inner.scan(prefix, after, limit))

    def purge(self, before: float, limit: int = 1000) -> Purged:
        return self._write(lambda: self._inner.purge(before, limit))

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Any] = (), *, above: int = 0
    ) -> list[int]:
        def work() -> list[int]:
            for change in changes:
                if isinstance(change, HeadIs):
                    continue
                record = self._world.shelf.records.get(change.key)
                if record is not None:
                    self._world.deleted[change.key] = (self._world.now, record)
            head = self._world.shelf.head
            seqs = self._inner.append(entries, changes, above=above)
            # (A number may come again after a restore, if a node's clock had run ahead.)
            self._world.ledger.appended_at |= {seq: self._world.now for seq in seqs if seq > head}
            for entry, seq in zip(entries, seqs, strict=True):
                if seq > head:
                    self._world.people.arrived(entry)
            return seqs

        return self._write(work)

    def read(self, after: int, limit: int = 1000) -> Batch:
        def work() -> Batch:
            batch = self._inner.read(after, self._world.rng.choice((2, 5, 1000)))
            if batch.entries and self._world.network.lags():
                # (Through one client nobody is shown less than was shown before.)
                shown = sum(one.id in self._shown for one in batch.entries)
                kept = batch.entries[: self._world.rng.randrange(shown, len(batch.entries) + 1)]
                self._shown |= {one.id for one in kept}
                if kept:
                    return Batch(kept, kept[-1].seq, False, min(batch.floor, kept[-1].seq))
                return Batch((), after, False, min(batch.floor, after))
            self._shown |= {one.id for one in batch.entries}
            return batch

        return self._read(work)

    def head(self) -> int:
        return self._read(self._inner.head)

    def watch(self, moved: Callable[[], None]) -> None:
        pass

    def ended(self, before: float, after: int = 0, limit: int = 1000) -> list[Any]:
        return self._read(lambda: self._inner.ended(before, after, limit))

    def trim(self, seqs: Sequence[int]) -> None:
        self._write(lambda: self._inner.trim(seqs))

    def announce(self, node_id: str, info: bytes) -> None:
        self._write(lambda: self._inner.announce(node_id, info))

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        return self._write(lambda: self._inner.vouch(node_id, info))

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        if unchanged is not None and not self._world.calm and self._world.rng.random() < 0.5:
            # The moment that matters: it was listed as silent, and is about to be removed.
            self._world.mishaps.come_back(node_id)
        return self._write(lambda: self._inner.withdraw(node_id, unchanged))

    def time(self) -> float:
        return self._world.now

    def nodes(self) -> list[Presence]:
        return self._read(self._inner.nodes)

    def root(self) -> Root:
        return self._read(self._inner.root)

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        return self._write(lambda: self._inner.change_root(old, new, entry))

    def load(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError
