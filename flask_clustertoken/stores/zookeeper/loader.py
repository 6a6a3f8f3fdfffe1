"""Bringing entries with their numbers from another store into the feed in ZooKeeper."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..base import Entry
from .codec import pack_entries, pack_head, unpack_entries
from .connection import REQUEST_LIMIT, CallDeadline, Op, Refused
from .feed import Feed, chunks_of
from .site import Raced, Site, create, get


class Loader:
    """Fills a feed that nobody else appends to: the store is being prepared."""

    def __init__(self, site: Site, feed: Feed) -> None:
        self._site = site
        self._feed = feed

    def load(self, deadline: CallDeadline, entries: Sequence[Entry]) -> None:
        """Bring in *entries* with their numbers; those that are here already are left alone."""
        left = sorted(entries, key=lambda one: one.seq)
        while left:
            left = self._site.again(deadline, partial(self._load_some, deadline, left))

    def lift(self, deadline: CallDeadline, seq: int, floor: int) -> None:
        """Head and floor become at least these."""
        self._site.again(deadline, lambda _: self._raise(deadline, seq, floor))

    def _raise(self, deadline: CallDeadline, seq: int, floor: int) -> None:
        seen = self._feed.look(deadline)
        head = replace(seen.head, seq=max(seen.head.seq, seq), floor=max(seen.head.floor, floor))
        self._site.commit(deadline, [Op("set", self._site.head, pack_head(head), seen.version)])

    def _load_some(self, deadline: CallDeadline, entries: list[Entry], _sure: bool) -> list[Entry]:
        """Merge the first of *entries* into the page where they belong; those that are left."""
        site, seen = self._site, self._feed.look(deadline)
        head = seen.head
        if head.tail:
            page, ops = self._feed.spill(deadline, head.page, head.tail)
            moved = pack_head(replace(head, page=page, tail=()))
            self._site.commit(deadline, [Op("set", site.head, moved, seen.version), *ops])
            return entries
        numbers = self._feed.numbers(deadline)
        at = bisect_right(numbers, entries[0].seq) - 1
        over = numbers[at + 1] if at + 1 < len(numbers) else None
        fitting = [one for one in entries if over is None or one.seq < over]
        there: list[Entry] = []
        ops = []
        if at >= 0:
            (answer,) = site.line.ask(deadline, get(site.page(numbers[at])))
            if answer is Refused.ABSENT:
                raise Raced("a page")
            there = unpack_entries(answer[0])
        have = {one.seq for one in there}
        new = [one for one in fitting if one.seq not in have]
        # One step carries so much; the rest comes in the next.
        new = chunks_of(new, REQUEST_LIMIT // 4)[0].entries if new else []
        settled = have | {one.seq for one in new}
        left = [one for one in entries if one.seq not in settled]
        if not new:
            return left
        chunks = chunks_of(sorted([*there, *new], key=lambda one: one.seq))
        for count, chunk in enumerate(chunks):
            if at >= 0 and count == 0:
                ops.append(Op("set", site.page(numbers[at]), pack_entries(chunk.entries)))
            else:
                path = site.page(chunk.entries[0].seq)
                ops.append(Op("create", path, pack_entries(chunk.entries)))
        last = max([*numbers, *(chunk.entries[0].seq for chunk in chunks[at >= 0 :])])
        head = replace(head, seq=max(head.seq, new[-1].seq), page=last)
        ids = {site.id(one.id): str(one.seq).encode() for one in new}
        if not site.create_many(deadline, ids):
            site.make_parents_of(deadline, ids)
            site.line.ask_many(deadline, [create(*one) for one in ids.items()])
        self._site.commit(deadline, [Op("set", site.head, pack_head(head), seen.version), *ops])
        return left
