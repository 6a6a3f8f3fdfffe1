"""Copying: makes one store's records and feed like another one's, while that one is in use.

A walk goes through the whole source, since nothing says what changed; but what the target has is
remembered, so that it is asked for nothing and only what differs is written. All writes are loads,
which are refused where the target was opened meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ..errors import ClusterTokenError, Conflict, StoreError
from ..revocations import FeedEntry
from ..stores.base import PAGE, Batch, ClusterStore, Entry, Held, Record
from ..tokens import from_record

#: What belongs to the moment and stays behind.
LEFT_BEHIND = "lease/"

#: Said by whoever was suspended for so long that another migration may run.
TOO_LONG = "this took too long without a sign of life; repeat it"

#: A record that is over: loaded over another one, it ends it.
OVER = Record(b"", 0.0)

#: ``(what is being done, how much of it, of how much if that is known)``; seconds for a waiting
Progress = Callable[[str, int, "int | None"], object]


class MigrationIncomplete(ClusterTokenError):
    """It could not be finished; the target is not open. Repeating it goes on."""


class Copy:
    """What came along so far.

    *keep* is called before each write, and raises to stop it. It prolongs what is *held*, which
    each write asks for once more: this process may be suspended between the two.
    """

    def __init__(
        self,
        source: ClusterStore,
        target: ClusterStore,
        progress: Progress,
        keep: Callable[[], None],
        held: Held,
    ) -> None:
        self.source = source
        self.target = target
        self.progress = progress
        self.keep = keep
        self.held = held
        self.records: Counter[str] = Counter()
        self.entries = 0
        #: What the target holds, as far as this process has seen to it: key → mark of the record.
        self._have: dict[str, int] = {}
        #: Every entry of the source up to here is in the target.
        self._read_to = 0
        self._totals = (0, 0)

    def count(self) -> None:
        """How much there is: for people alone. And what the target has of an earlier attempt."""
        records = entries = 0
        for page in _pages(self.source):
            records += len(page)
            self.progress("counting", records, None)
        for batch in _feed(self.source, 0):
            entries += len(batch.entries)
        self._totals = records, entries
        for page in _pages(self.target):
            self._have.update((key, _mark(one)) for key, one in page)

    def walk(self, what: str) -> int:
        """Make the target like the source; returns in how many places it was not."""
        return self._walk_records(what) + self._walk_feed(what)

    def _walk_records(self, what: str) -> int:
        # A write of our own comes first: what was acknowledged before is read after it.
        self.source.head()
        met: set[str] = set()
        changed = 0
        self.records.clear()
        for page in _pages(self.source):
            differing = [(key, one) for key, one in page if self._have.get(key) != _mark(one)]
            if differing:
                self._bring(differing)
            changed += len(differing)
            met.update(key for key, _ in page)
            self.records.update(_area(key, one) for key, one in page)
            self.progress(f"{what}: records", len(met), max(len(met), self._totals[0]))
        gone = [key for key in self._have if key not in met]
        for start in range(0, len(gone), PAGE):
            changed += self._end(gone[start : start + PAGE])
        return changed

    def _end(self, keys: Sequence[str]) -> int:
        """End in the target those of *keys* that live there still; returns how many did.

        What ended by itself did so in both: no difference, or a realm in which logins expire
        faster than a walk goes through it would never be found alike.
        """
        living = self.target.get_many(keys)
        if living:
            self._bring([(key, OVER) for key in living])
        for key in keys:
            self._have.pop(key, None)
        return len(living)

    def _bring(self, records: list[tuple[str, Record]]) -> None:
        """Write *records* into the target and see that it has them."""
        self._load(records)
        found = self.target.get_many([key for key, _ in records])
        now = self.target.clock.time()
        for key, one in records:
            if one is OVER:
                self._have.pop(key, None)
            elif one.alive(now) and not _same(one, found.get(key)):
                raise MigrationIncomplete("the target does not hold what was written; repeat it")
            else:
                self._have[key] = _mark(one)

    def _load(
        self,
        records: Sequence[tuple[str, Record]] = (),
        entries: Sequence[Entry] = (),
        head: int = 0,
        floor: int = 0,
    ) -> None:
        self.keep()
        try:
            self.target.load(records, entries, head=head, floor=floor, held=self.held)
        except Conflict:
            # Suspended after it had looked; what another one has copied since is newer.
            raise MigrationIncomplete(TOO_LONG) from None

    def _walk_feed(self, what: str) -> int:
        # The head first: an entry that comes while we read belongs to the next round.
        head = self.source.head()
        have: set[int] = set()
        if not self._read_to:
            have.update(one.seq for batch in _feed(self.target, 0) for one in batch.entries)
        missing = 0
        # What the source trimmed since it was copied is over; the target's own broom takes it.
        for batch in _feed(self.source, self._read_to):
            # That the source is sealed is no news in the target.
            page = [entry for entry in batch.entries if not _is_seal(entry)]
            new = [entry for entry in page if entry.seq not in have]
            if new:
                self._load(entries=new)
            missing += len(new)
            self.entries += len(page)
            self._read_to = batch.seq
            self.progress(f"{what}: feed", self.entries, max(self.entries, self._totals[1]))
        if self._read_to < head:
            raise StoreError("the feed could not be read to its end")
        behind = self.target.head() < head
        if behind or missing:
            # Up to the seal, which stays behind, something may be missing: the floor says so.
            self._load(head=head, floor=head)
        return missing + behind


def _pages(store: ClusterStore) -> Iterator[list[tuple[str, Record]]]:
    for page in store.pages(""):
        yield [(key, one) for key, one in page if not key.startswith(LEFT_BEHIND)]


def _feed(store: ClusterStore, after: int) -> Iterator[Batch]:
    while True:
        batch = store.read(after)
        yield batch
        after = batch.seq
        if not batch.more:
            return


def _is_seal(entry: Entry) -> bool:
    try:
        return FeedEntry.decode(entry.body).kind == "sealed"
    except ValueError:
        return False  # of a newer version: copied as it is


def _mark(record: Record) -> int:
    """What tells a record from another one under its key, in few bytes."""
    ends = record.expires_at
    return hash((record.value, None if ends is None else round(ends, 2)))


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
