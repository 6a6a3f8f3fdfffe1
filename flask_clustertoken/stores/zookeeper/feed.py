"""The feed in ZooKeeper: a head that carries the newest entries, and pages of older ones.

An append writes the head and one small znode for the entry's id. The entry itself stays in
the head until newer ones push it out into the last page, some dozens at a time. So one read
of the head brings a follower what it has missed, and a snapshot of 100,000 entries is a few
hundred reads and not 100,000; a listing of the pages stays far below the megabyte at which
ZooKeeper's replies become trouble.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import StoreDamaged
from .. import rules
from ..base import Batch, Entry, NewEntry
from .codec import Head, pack_entries, pack_entry, pack_head, unpack_entries, unpack_head
from .connection import WINDOW, CallDeadline, Op, Refused, Request
from .site import (
    Beaten,
    Data,
    Names,
    Raced,
    Site,
    ZnodeStat,
    children,
    children_and_stat,
    get,
    gone,
    stat,
    write,
)

#: The head carries up to so many of the newest entries, and so many bytes of them. Each
#: append writes and each follower reads them all. (With 12 KB of them an append took 1.6 times as
#: long as a bare write, measured; with 3 KB hardly longer.)
TAIL_ENTRIES = 16
TAIL_BYTES = 4 * 1024

#: A page is closed when it would become larger. An entry that is larger has a page of its own.
#: (Every eighth append or so writes the last one anew.)
PAGE_BYTES = 32 * 1024

#: Pages read at once.
PAGES_AT_ONCE = 16

#: Seconds for which the head is taken to stand where it was seen last, where nobody watches it.
LIKELY = 1.0


@dataclass(frozen=True, slots=True)
class SeenHead:
    """The head as it was read, and what tells whether it still is the same."""

    head: Head
    version: int
    mark: tuple[int, int, int]


def _mark(state: ZnodeStat) -> tuple[int, int, int]:
    return state.czxid, state.mzxid, state.mtime


class Feed:
    """The feed of one realm. *watch* is set on the head with every read of it, if given."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.watch: Callable[[Any], None] | None = None
        self._seen: SeenHead | None = None
        #: When it was seen so, by the monotonic clock.
        self._seen_at = 0.0
        self._listed: tuple[tuple[int, int], Sequence[int]] | None = None

    def unsure(self) -> None:
        """The connection changed: nothing that was seen through the old one counts."""
        self._seen = None

    # -- the head ----------------------------------------------------------------------

    def _took(self, answer: Data) -> SeenHead:
        if isinstance(answer, Refused):
            raise gone(self._site.head)
        data, state = answer
        return self._saw(SeenHead(unpack_head(data), state.version, _mark(state)))

    def _saw(self, seen: SeenHead) -> SeenHead:
        self._seen, self._seen_at = seen, time.monotonic()
        return seen

    def likely(self) -> SeenHead | None:
        """The head as it stands, most likely: for whoever has it checked by the servers.

        Whoever watches is told when it moves; without a watch it is believed for a moment.
        """
        if self.watch is None and time.monotonic() - self._seen_at > LIKELY:
            return None
        return self._seen

    def appended(self, head: Head, ops: Sequence[Op], came_of: Sequence[Any]) -> None:
        """It is this *head* now: what *came of* the *ops* of a transaction that made it so."""
        for op, answer in zip(ops, came_of, strict=False):
            if op.path == self._site.head:
                self._saw(SeenHead(head, answer.version, _mark(answer)))

    def look(self, deadline: CallDeadline) -> SeenHead:
        """Read the head."""
        (answer,) = self._site.line.ask(deadline, get(self._site.head, self.watch))
        return self._took(answer)

    def seen(self, deadline: CallDeadline, seq: int, *, anew: bool) -> SeenHead:
        """The head as it was seen last where that was number *seq*, else read.

        For whoever has it checked by the servers afterwards.
        """
        known = self._seen
        if known is not None and known.head.seq == seq and not anew:
            return known
        return self.look(deadline)

    def look_around(
        self, deadline: CallDeadline, more: Sequence[Request]
    ) -> tuple[SeenHead, Names, list[Any]]:
        """The head, who stands in line for it, and the answers to *more*, asked for together."""
        line, first = self._site.line, more[: WINDOW - 2]
        answer, names, *answers = line.ask(
            deadline, get(self._site.head, self.watch), children(self._site.queue), *first
        )
        return self._took(answer), names, [*answers, *line.ask_many(deadline, more[WINDOW - 2 :])]

    def after_write(self, deadline: CallDeadline, request: Request) -> tuple[Any, Head | None]:
        """Send a write of our own and, through the same client, look at the head after it.

        While the head stands still, only its stat is fetched. No head where the write was
        refused.
        """
        line, known = self._site.line, self._seen
        if known is None:
            written, answer = line.ask(deadline, request, get(self._site.head, self.watch))
        else:
            written, state = line.ask(deadline, request, stat(self._site.head, self.watch))
            if state is not None and _mark(state) == known.mark:
                self._seen_at = time.monotonic()
                return written, None if isinstance(written, Refused) else known.head
            answer = None
        if isinstance(written, Refused):
            return written, None
        return written, (self.look(deadline) if answer is None else self._took(answer)).head

    def number_now(self, deadline: CallDeadline) -> int:
        """The feed's last number at the moment of a write of our own.

        Where the head was seen, that it still is this one is a condition of the write: the
        servers answer both at once. Where it is not, they have refused that together, and what
        is read then is no older.
        """
        site, known = self._site, self._seen
        if known is None:
            _, head = self.after_write(deadline, write(site.scratch, b""))
            if head is None:
                raise gone(site.scratch)
            return head.seq
        unmoved = Op("check", site.head, version=known.version)
        try:
            site.commit(deadline, [Op("set", site.scratch), unmoved])
        except Beaten:
            return self.look(deadline).head.seq
        except Raced as error:
            raise gone(error.path) from error
        if self._seen is known:
            self._seen_at = time.monotonic()
        return known.head.seq

    # -- appending ---------------------------------------------------------------------

    def number(self, head: Head, new: Sequence[NewEntry], above: int) -> list[Entry]:
        """The entries with their numbers."""
        entries: list[Entry] = []
        prev = head.seq
        for one in new:
            seq = rules.next_seq(prev, self._site.clock.time(), above)
            entries.append(Entry(seq, prev, one.id, one.body, one.keep_until))
            prev = seq
        return entries

    def plan(
        self, deadline: CallDeadline, seen: SeenHead, entries: Sequence[Entry]
    ) -> tuple[Head, list[Op]]:
        """The operations that append *entries* to the head that was *seen*, and the head then.

        (Ids first: one that is there tells that all of it was done before.)
        """
        tail, spilled = _split((*seen.head.tail, *entries))
        page = seen.head.page
        ops: list[Op] = []
        if spilled:
            page, ops = self.spill(deadline, page, spilled)
        head = Head(entries[-1].seq, seen.head.floor, page, tail)
        ids = [Op("create", self._site.id(one.id), str(one.seq).encode()) for one in entries]
        return head, [*ids, Op("set", self._site.head, pack_head(head), seen.version), *ops]

    def spill(
        self, deadline: CallDeadline, page: int, entries: Sequence[Entry]
    ) -> tuple[int, list[Op]]:
        """Move *entries* to the end of *page*, or to new ones; the last page's number."""
        chunks = chunks_of(entries)
        ops: list[Op] = []
        if page:
            (answer,) = self._site.line.ask(deadline, get(self._site.page(page)))
            if answer is Refused.ABSENT:
                raise Raced("the last page")
            data, state = answer
            if len(data) + len(chunks[0]) <= PAGE_BYTES:
                more = data + b"".join(map(pack_entry, chunks[0].entries))
                ops.append(Op("set", self._site.page(page), more, state.version))
                chunks = chunks[1:]
        for chunk in chunks:
            page = chunk.entries[0].seq
            ops.append(Op("create", self._site.page(page), pack_entries(chunk.entries)))
        return page, ops

    def known(self, deadline: CallDeadline, ids: Sequence[str]) -> list[int] | None:
        """The numbers of entries with these ids, if the first of them is seen to be there."""
        answers = self._site.line.ask_many(deadline, [get(self._site.id(one)) for one in ids])
        if answers[0] is Refused.ABSENT:
            return None
        if Refused.ABSENT in answers:
            raise StoreDamaged("of entries that were appended in one step some are missing")
        return [int(data) for data, _ in answers]

    # -- reading -----------------------------------------------------------------------

    def read(self, deadline: CallDeadline, after: int, limit: int) -> Batch:
        head = self.look(deadline).head
        tail = [entry for entry in head.tail if entry.seq > after]
        entries: list[Entry] = []
        if after < head.seq and not (head.tail and after >= head.tail[0].prev):
            end = head.tail[0].seq - 1 if head.tail else head.seq
            entries = self._from_pages(deadline, after, end, limit)
        entries += tail
        more = len(entries) > limit
        page = tuple(entries[:limit])
        return Batch(page, page[-1].seq if more else head.seq, more, head.floor)

    def numbers(self, deadline: CallDeadline) -> Sequence[int]:
        """The pages there are, in order; listed anew only where one came or went since."""
        (state,) = self._site.line.ask(deadline, stat(self._site.pages))
        if state is None:
            raise gone(self._site.pages)
        known = self._listed
        if known is not None and known[0] == (state.czxid, state.pzxid):
            return known[1]
        (answer,) = self._site.line.ask(deadline, children_and_stat(self._site.pages))
        if answer is Refused.ABSENT:
            raise gone(self._site.pages)
        names, state = answer
        numbers = sorted(map(int, names))
        self._listed = (state.czxid, state.pzxid), numbers
        return numbers

    def _from_pages(self, deadline: CallDeadline, after: int, end: int, limit: int) -> list[Entry]:
        """Entries after *after* up to *end*, some more than *limit* if there are.

        From one call to the next nothing is missed, whatever is swept in between: what comes
        after *after* stands in the last page that begins before it, or in a later one.
        """
        numbers = self.numbers(deadline)
        numbers = numbers[max(0, bisect_right(numbers, after) - 1) :]
        entries: list[Entry] = []
        for start in range(0, len(numbers), PAGES_AT_ONCE):
            requests = [get(self._site.page(one)) for one in numbers[start : start + PAGES_AT_ONCE]]
            for answer in self._site.line.ask(deadline, *requests):
                if answer is Refused.ABSENT:
                    # Swept since it was listed, and what was left of it stands in the page
                    # before, which was read already.
                    raise Raced("a page")
                entries += [one for one in unpack_entries(answer[0]) if after < one.seq <= end]
            if len(entries) > limit:
                break
        return entries


@dataclass(frozen=True, slots=True)
class Chunk:
    entries: list[Entry]
    size: int

    def __len__(self) -> int:
        return self.size


def _size(entry: Entry) -> int:
    return len(entry.body) + len(entry.id) + 32


def chunks_of(entries: Sequence[Entry], limit: int = PAGE_BYTES) -> list[Chunk]:
    """*entries* cut into runs of at most *limit* bytes, or one entry."""
    chunks: list[Chunk] = []
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if run and size + _size(entry) > limit:
            chunks.append(Chunk(run, size))
            run, size = [], 0
        run.append(entry)
        size += _size(entry)
    if run:
        chunks.append(Chunk(run, size))
    return chunks


def _split(entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], Sequence[Entry]]:
    """What stays in the head and what leaves it: half of it at once, when it is full."""
    if len(entries) <= TAIL_ENTRIES and sum(map(_size, entries)) <= TAIL_BYTES:
        return tuple(entries), ()
    keep = size = 0
    for entry in reversed(entries):
        size += _size(entry)
        if keep == TAIL_ENTRIES // 2 or size > TAIL_BYTES // 2:
            break
        keep += 1
    cut = len(entries) - keep
    return tuple(entries[cut:]), entries[:cut]
