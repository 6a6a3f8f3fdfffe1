"""Migration: everything from one cluster store into another one, and nobody is logged out.

1. The target, empty, takes over the source's epoch and is ``preparing``: no node uses it.
2. Everything is copied while the source is in use.
3. The source is *sealed* in one step: it takes no more writes and every node of it is stale.
4. What changed meanwhile is copied, what was deleted is deleted, until a whole comparison
   finds no difference.
5. The target is opened.

It may be interrupted anywhere, and is repeated with the same words: each step looks first at
what is there. Between 3 and the restart of the nodes with the new setting requests get a 503
and keep their cookies.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from .clock import Clock
from .errors import ClusterTokenError, StoreError
from .nodes import Node
from .notices import Notice
from .stores.base import FORMAT, ClusterStore, Entry, Record, Root
from .tokens import from_record

#: Held in the target by the one migration that fills it.
LEASE = "lease/migration"
LEASE_FOR = 60.0

#: What belongs to the moment and stays behind.
LEFT_BEHIND = "lease/"

#: Comparisons after the seal; the second one finds nothing unless somebody still deletes.
COMPARISONS = 10

#: ``(what is being done, how much of it, of how much if that is known)``
Progress = Callable[[str, int, "int | None"], object]


class MigrationRefused(ClusterTokenError):
    """These two stores cannot be source and target; nothing was changed."""


class MigrationIncomplete(ClusterTokenError):
    """It could not be finished; the target is not open. Repeating it goes on."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What came along. *repeated*: it had been finished before."""

    source: str
    target: str
    #: Records by area: ``login``, ``api``, ``data``, ``keys``, …
    records: Mapping[str, int] = field(default_factory=dict)
    entries: int = 0
    head: int = 0
    repeated: bool = False


def migrate(
    source: ClusterStore,
    target: ClusterStore,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
) -> Migration:
    """Move everything of *source* to *target*, seal the one and open the other.

    Raises :class:`MigrationRefused` where *target* holds something else or *source* was moved
    elsewhere, :class:`MigrationIncomplete` where it is to be repeated, and
    :class:`~flask_clustertoken.errors.StoreError` where a store is in trouble.
    """
    return _Move(source, target, progress or (lambda *_: None), clock or source.clock).run()


class _Move:
    def __init__(
        self, source: ClusterStore, target: ClusterStore, progress: Progress, clock: Clock
    ) -> None:
        self.source = source
        self.target = target
        self.progress = progress
        self.clock = clock
        self.me = secrets.token_hex(8).encode()
        self.lease_looked = 0.0
        self.records: Counter[str] = Counter()
        self.entries = 0

    def run(self) -> Migration:
        if self._finished_before():
            return Migration(self.source.url, self.target.url, repeated=True)
        with self._alone():
            prepared = self._prepare()
            if self.source.root().state == "open":
                self._copy("copying")
                self._seal()
            head = self._copy_the_rest()
            if not self.target.change_root(prepared, replace(prepared, state="open")):
                raise MigrationIncomplete(
                    "the target was changed by somebody else; look at both stores with doctor"
                )
        return Migration(self.source.url, self.target.url, dict(self.records), self.entries, head)

    # what is there

    def _finished_before(self) -> bool:
        source, target = self.source.root(), self.target.root()
        for root, which in ((source, "source"), (target, "target")):
            if root.format > FORMAT:
                raise MigrationRefused(
                    f"the {which} has form {root.format}; a newer version of this library is needed"
                )
        if source.state == "preparing":
            raise MigrationRefused("the source is itself still being filled by a migration")
        ours = source.epoch == target.epoch
        if source.state == "sealed":
            if not ours:
                raise MigrationRefused(
                    f"the source was moved to {source.moved_to} already; name that one as target "
                    "to finish, or as source to move on"
                )
            if target.state == "sealed":
                raise MigrationRefused(f"the target itself was moved on to {target.moved_to}")
            return target.state == "open"
        if ours and target.state != "preparing":
            raise MigrationRefused("source and target are the same store, or one is a copy")
        return False

    def _prepare(self) -> Root:
        """The target, ``preparing`` under the source's epoch; or why it cannot be."""
        epoch = self.source.root().epoch
        root = self.target.root()
        prepared = Root(epoch=epoch, state="preparing")
        if root == prepared:
            return root
        if root.state != "open":
            raise MigrationRefused(
                f"the target is {root.state}, by another migration; choose an empty one"
            )
        self._check_empty()
        if not self.target.change_root(root, prepared):
            raise MigrationIncomplete("the target was changed at this moment; repeat it")
        return prepared

    def _check_empty(self) -> None:
        nodes = [Node.decode(one).name for one in self.target.nodes()]
        if nodes:
            raise MigrationRefused(
                f"{len(nodes)} nodes use the target ({nodes[0]}, …); stop them first"
            )
        kept = [key for key, _ in self.target.scan("") if not key.startswith(LEFT_BEHIND)]
        if kept or self.target.read(0).entries:
            raise MigrationRefused("the target is not empty; choose another place")

    # copying

    def _copy(self, what: str) -> int:
        """Make the target like the source; returns in how many places it was not."""
        return self._copy_records(what) + self._copy_feed(what)

    def _copy_records(self, what: str) -> int:
        changed, met = 0, 0
        self.records.clear()
        for page in _pages(self.source):
            have = self.target.get_many([key for key, _ in page])
            differing = [(key, one) for key, one in page if not _same(one, have.get(key))]
            if differing:
                self._keep()
                self.target.load(differing, ())
            changed += len(differing)
            met += len(page)
            self.records.update(_area(key, one) for key, one in page)
            self.progress(f"{what}: records", met, None)
        for page in _pages(self.target):
            alive = self.source.get_many([key for key, _ in page])
            for key, _ in page:
                if key not in alive:
                    self._keep()
                    self.target.delete(key)
                    changed += 1
        return changed

    def _copy_feed(self, what: str) -> int:
        # The head first: an entry that comes while we read belongs to the next round.
        head = self.source.head()
        have = {entry.seq for page in _feed(self.target) for entry in page}
        wanted: set[int] = set()
        missing = 0
        for page in _feed(self.source):
            # That the source is sealed is no news in the target.
            page = [entry for entry in page if not _is_seal(entry)]
            wanted.update(entry.seq for entry in page)
            new = [entry for entry in page if entry.seq not in have]
            if new:
                self._keep()
                self.target.load((), new)
            missing += len(new)
            self.progress(f"{what}: feed", len(wanted), None)
        extra = sorted(have - wanted)
        if extra:
            self._keep()
            self.target.trim(extra)
        behind = self.target.head() < head
        if behind or missing or extra:
            self._keep()
            # Up to the seal, which stays behind, something may be missing: the floor says so.
            self.target.load((), (), head=head, floor=head)
        self.entries = len(wanted)
        return missing + len(extra) + behind

    def _seal(self) -> None:
        open_root = self.source.root()
        sealed = replace(open_root, state="sealed", moved_to=self.target.url)
        seal = Notice("sealed", self.clock.time(), extra={"moved_to": self.target.url})
        self.progress("sealing the source", 0, None)
        if open_root.state == "open" and not self.source.change_root(
            open_root, sealed, seal.entry(0.0)
        ):
            raise MigrationIncomplete("the source was changed at this moment; repeat it")

    def _copy_the_rest(self) -> int:
        for _ in range(COMPARISONS):
            if not self._copy("comparing"):
                return self.source.head()
        raise MigrationIncomplete(
            "something still deletes from the source; stop its nodes and repeat this"
        )

    # being the only one

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self.target.add(LEASE, self.me, self.clock.time() + LEASE_FOR):
            raise MigrationIncomplete(
                "another migration into this target is running, or was cut off less than "
                f"{LEASE_FOR:.0f} s ago; repeat this in a minute"
            )
        self.lease_looked = self.clock.monotonic()
        try:
            yield
        finally:
            with suppress(StoreError):
                held = self.target.get(LEASE)
                if held is not None and held.value == self.me:
                    self.target.delete(LEASE)

    def _keep(self) -> None:
        """Hold the lease on; whoever lost it must not write into what may be in use by now."""
        now = self.clock.monotonic()
        if now - self.lease_looked < LEASE_FOR / 6:
            return
        held = self.target.get(LEASE)
        if (
            held is None
            or held.value != self.me
            or not self.target.touch(LEASE, self.clock.time() + LEASE_FOR)
        ):
            raise MigrationIncomplete("this took too long without a sign of life; repeat it")
        self.lease_looked = now


def _pages(store: ClusterStore) -> Iterator[list[tuple[str, Record]]]:
    after = ""
    while page := store.scan("", after):
        after = page[-1][0]
        yield [(key, one) for key, one in page if not key.startswith(LEFT_BEHIND)]


def _feed(store: ClusterStore) -> Iterator[Sequence[Entry]]:
    after = 0
    while True:
        batch = store.read(after)
        yield batch.entries
        after = batch.seq
        if not batch.more:
            return


def _is_seal(entry: Entry) -> bool:
    try:
        return Notice.decode(entry.body).kind == "sealed"
    except ValueError:
        return False  # of a newer version: copied as it is


def _same(one: Record, other: Record | None) -> bool:
    if other is None or one.value != other.value:
        return False
    if one.expires_at is None or other.expires_at is None:
        return one.expires_at is other.expires_at
    # A store may keep milliseconds only.
    return abs(one.expires_at - other.expires_at) < 0.002


def _area(key: str, record: Record) -> str:
    area = key.partition("/")[0]
    if area != "token":
        return area
    try:
        return from_record(record.value, None).kind
    except ValueError:
        return area
