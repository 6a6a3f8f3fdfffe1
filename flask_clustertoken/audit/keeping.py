"""Keeping: the trail in the cluster store, in batches, for whoever looks it up later.

A batch is a record that never changes: the lines that one node collected for some seconds. It
lies under the day of its last line, so that the newest are found without a walk through all.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ..clock import Clock
from ..errors import ClusterTokenError
from ..stores.base import VALUE_LIMIT, ClusterStore, Record
from .line import AuditLine

logger = logging.getLogger("flask_clustertoken")

#: Where batches lie: below it a day, below that one record a batch.
PREFIX = "audit/"

#: Seconds for which a line is kept, and how many lines of a realm at most.
KEPT_FOR = 90 * 86_400.0
KEPT_MOST = 100_000

#: Seconds for which a node collects before it writes.
COLLECT = 5.0

#: Bytes of one batch, where it has more than one line; and lines that wait at most: the oldest is
#: lost to the store then, and is in the log all the same.
BATCH_BYTES = 48 * 1024
WAITING_MOST = 10_000


#: Seconds of a day whose batches are read first.
FIRST_LOOK = 600.0

#: Lines that one page of a search looks at.
LOOKED_AT = 5_000

#: A batch, and how many of its lines are still to come.
_PLACE = re.compile(r"\d{4}-\d\d-\d\d/[0-9a-f-]{1,80}:\d{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Lines, the newest first. *before* is where the next page begins; ``""``: the end.

    *day* is how far back the search has come.
    """

    lines: tuple[AuditLine, ...]
    before: str
    day: str


class Collected:
    """Lines of this process that the store does not have yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[str] = deque(maxlen=WAITING_MOST)
        self._last_write = clock.monotonic()

    def add(self, line: str) -> None:
        if len(line) + len("[]") > VALUE_LIMIT:
            # No store would ever take it, and all others would wait behind it.
            logger.error(
                "a line of the audit trail is in the log alone: its %d bytes are more than a "
                "store takes (%d)",
                len(line),
                VALUE_LIMIT,
            )
            return
        self._waiting.append(line)

    def forget(self) -> None:
        """In a fork's child: what waits is the parent's to write."""
        self._waiting = deque(maxlen=WAITING_MOST)

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return bool(self._waiting) and self._clock.monotonic() - self._last_write >= COLLECT

    def write(self, store: ClusterStore) -> None:
        """Put what waits into *store*. What cannot be written waits on; never raises for it."""
        self._last_write = self._clock.monotonic()
        while batch := self._next_batch():
            try:
                self._write(store, batch)
            except ClusterTokenError as error:
                logger.warning(
                    "%d lines of the audit trail are not in the store yet: %s", len(batch), error
                )
                self._waiting.extendleft(reversed(batch))
                return

    def _next_batch(self) -> list[str]:
        batch: list[str] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0]) < BATCH_BYTES):
            line = self._waiting.popleft()
            size += len(line) + 1
            batch.append(line)
        return batch

    def _write(self, store: ClusterStore, batch: Sequence[str]) -> None:
        now = self._clock.time()
        # By the name alone it is known how many lines there are, and in which order.
        name = f"{now * 1e6:017.0f}-{len(batch)}-{secrets.token_hex(4)}"
        value = ("[" + ",".join(batch) + "]").encode()
        store.add(f"{PREFIX}{_day(now)}/{name}", value, now + KEPT_FOR)


class KeptAudit:
    """What the cluster store has of the trail. Every call asks the store."""

    def __init__(self, store: ClusterStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def newest(self, wanted: Callable[[AuditLine], bool] | None = None) -> Iterator[AuditLine]:
        """The lines, the newest first, read day by day as they are asked for.

        Raises :class:`~flask_clustertoken.errors.StoreError`.
        """
        for day in self._days():
            for _, record in self._batches(day):
                for line in reversed(_lines(record.value)):
                    if wanted is None or wanted(line):
                        yield line

    def page(
        self, wanted: Callable[[AuditLine], bool] | None = None, before: str = "", most: int = 50
    ) -> AuditPage:
        """Up to *most* of the lines, the newest first, from where another page ended.

        Looks at :data:`LOOKED_AT` lines at most, and says where it is then: a page may be empty,
        and not the last. Raises :class:`ValueError` for a *before* that no page gave, and
        :class:`~flask_clustertoken.errors.StoreError`.
        """
        if before and not _PLACE.fullmatch(before):
            raise ValueError("this is not where a page of the audit trail ended")
        end, _, left = before.partition(":")
        found: list[AuditLine] = []
        looked = 0
        for day in self._days():
            if end and day > end[:10]:
                continue
            for name, record in self._batches(day, end):
                lines = _lines(record.value)
                count = int(left) if name == end else len(lines)
                for number in reversed(range(min(count, len(lines)))):
                    if len(found) == most or looked == LOOKED_AT:
                        return AuditPage(tuple(found), f"{name}:{number + 1}", day)
                    looked += 1
                    if wanted is None or wanted(lines[number]):
                        found.append(lines[number])
        return AuditPage(tuple(found), "", "")

    def _batches(self, day: str, end: str = "") -> Iterator[tuple[str, Record]]:
        """Those of *day* up to the one called *end*, the newest first, as they are asked for.

        Keys are read in their order alone, and it is the last that are wanted: so they are read
        from behind, some minutes at first, and more of the day each time.
        """
        area = f"{PREFIX}{day}/"
        if not self._store.scan(area, limit=1):
            return
        begins = _day_begins(day)
        # (By a clock that is ahead it may be later already: of the first part that is no end.)
        until = min(_time_of(end, begins), max(begins, self._clock.time())) + FIRST_LOOK
        upper, width = end or f"{day}/~", 2 * FIRST_LOOK
        while until > begins:
            since = max(begins, until - width)
            lower = f"{day}/{since * 1e6:017.0f}" if since > begins else f"{day}/"
            found = []
            for key, record in self._between(PREFIX + lower):
                name = key.removeprefix(PREFIX)
                if name > upper:
                    break
                found.append((name, record))
            yield from reversed(found)
            upper, until, width = lower, since, width * 6

    def _between(self, after: str) -> Iterator[tuple[str, Record]]:
        area = after[: len(PREFIX) + 11]
        for page in self._store.pages(area, after, limit=20):
            yield from page

    def _days(self) -> Iterator[str]:
        now = self._clock.time()
        for back in range(-1, round(KEPT_FOR / 86_400) + 1):
            yield _day(now - back * 86_400)

    def trim(self, late: Callable[[], bool]) -> int:
        """Delete the oldest batches beyond :data:`KEPT_MOST` lines; how many lines that were.

        (What is older than :data:`KEPT_FOR` is over by itself.)
        """
        lines = gone = 0
        for day in self._days():
            keys = sorted((key for key, _ in self._store.walk(f"{PREFIX}{day}/")), reverse=True)
            for key in keys:
                if late():
                    return gone
                count = _count(key)
                lines += count
                if lines > KEPT_MOST and self._store.delete(key):
                    gone += count
        return gone


def _day(seconds: float) -> str:
    return (datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%d"
    )


def _day_begins(day: str) -> float:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()


def _time_of(name: str, begins: float) -> float:
    """When the batch *name* was written, and a moment; ``""``: behind the end of its day."""
    if not name:
        return begins + 86_400
    try:
        return min(int(name[11:].split("-")[0]) / 1e6 + 1, begins + 86_400)
    except ValueError:
        return begins + 86_400


def _count(key: str) -> int:
    try:
        return int(key.rpartition("/")[2].split("-")[1])
    except (IndexError, ValueError):
        return 0


def _lines(value: bytes) -> list[AuditLine]:
    found = []
    try:
        for said in json.loads(value):
            found.append(AuditLine.from_mapping(said))
    except (ValueError, TypeError, AttributeError):
        logger.error("a batch of the audit trail cannot be read")
    return found
