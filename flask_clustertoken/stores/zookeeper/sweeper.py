"""Finding feed entries in ZooKeeper whose time is over, and deleting them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from ..base import Entry
from .codec import Head, pack_entries, pack_entry, pack_head, unpack_entries
from .connection import CallDeadline, Op, Refused
from .feed import PAGE_BYTES, PAGES_AT_ONCE, Feed
from .site import Raced, Site, ZnodeStat, get, stat


class ZnodeSweeper:
    """Remembers of each page when the first of its entries ends, so that it reads few of them."""

    def __init__(self, site: Site, feed: Feed) -> None:
        self._site = site
        self._feed = feed
        self._ends: dict[int, tuple[int, float]] = {}

    def ended(self, deadline: CallDeadline, before: float, after: int, limit: int) -> list[Entry]:
        """Looks into a page only if it changed since its earliest end was last seen."""
        head = self._feed.look(deadline).head
        listed = self._feed.numbers(deadline)
        known = self._ends  # (replaced by whoever else sweeps, in whichever thread)
        self._ends = {one: known[one] for one in listed if one in known}
        numbers = listed[max(0, bisect_right(listed, after) - 1) :]
        states = self._site.line.ask_many(deadline, [stat(self._site.page(one)) for one in numbers])
        found = {one.seq: one for one in _over(head.tail, before, after)}
        due = [
            number
            for number, state in zip(numbers, states, strict=True)
            if state is not None and not self._later(number, state.mzxid, before)
        ]
        from_pages = 0
        for start in range(0, len(due), PAGES_AT_ONCE):
            some = due[start : start + PAGES_AT_ONCE]
            answers = self._site.line.ask(deadline, *[get(self._site.page(one)) for one in some])
            for number, answer in zip(some, answers, strict=True):
                if answer is Refused.ABSENT:
                    continue
                entries = unpack_entries(answer[0])
                ends = [one.keep_until for one in entries if one.keep_until is not None]
                self._ends[number] = (answer[1].mzxid, min(ends, default=float("inf")))
                over = _over(entries, before, after)
                from_pages += len(over)
                found |= {one.seq: one for one in over}
            if from_pages >= limit:
                break
        return sorted(found.values(), key=lambda one: one.seq)[:limit]

    def _later(self, number: int, mzxid: int, before: float) -> bool:
        """This page is known to hold nothing that ended before *before*."""
        known = self._ends.get(number)
        return known is not None and known[0] == mzxid and known[1] >= before

    def trim(self, deadline: CallDeadline, seqs: Sequence[int]) -> None:
        doomed = set(seqs)
        while doomed:
            some = frozenset(doomed)
            doomed -= self._site.again(deadline, partial(self._trim_some, deadline, some))

    def _trim_some(self, deadline: CallDeadline, doomed: frozenset[int], _sure: bool) -> set[int]:
        """Trim those of *doomed* that stand in one place; all that need no more trimming."""
        head_seen = self._feed.look(deadline)
        head, site = head_seen.head, self._site
        cut = {one.seq for one in head.tail} & doomed
        done: set[int] = set()
        ops: list[Op] = []
        if cut:
            leave = [one for one in head.tail if one.seq in cut]
            head = replace(head, tail=tuple(one for one in head.tail if one.seq not in cut))
        else:
            numbers = self._feed.numbers(deadline)
            first = min(doomed)
            at = bisect_right(numbers, first) - 1
            if at < 0:
                return {first}
            some = numbers[max(0, at - 1) : at + 1]
            answers = site.line.ask(deadline, *[get(site.page(one)) for one in some])
            if Refused.ABSENT in answers:
                raise Raced("a page")
            entries = unpack_entries(answers[-1][0])
            leave = [one for one in entries if one.seq in doomed][:500]
            cut = {one.seq for one in leave}
            if len(leave) < 500:
                # What is not in the page where it belongs is gone already.
                over = numbers[at + 1] if at + 1 < len(numbers) else head.seq + 1
                done = {one for one in doomed if one < over} or {first}
            if not leave:
                return done
            rest = [one for one in entries if one.seq not in cut]
            ops, head = self._rewrite(some, answers, rest, head)
        head = replace(head, floor=max(head.floor, *cut))
        ids = site.line.ask_many(deadline, [stat(site.id(one.id)) for one in leave])
        ops += [
            Op("delete", site.id(one.id))
            for one, state in zip(leave, ids, strict=True)
            if state is not None
        ]
        site.commit(deadline, [Op("set", site.head, pack_head(head), head_seen.version), *ops])
        return cut | done

    def _rewrite(
        self,
        some: Sequence[int],
        answers: Sequence[tuple[bytes, ZnodeStat]],
        rest: Sequence[Entry],
        head: Head,
    ) -> tuple[list[Op], Head]:
        """Leave *rest* in the last of *some* pages, or in the one before if both are small."""
        site, number, (_, state) = self._site, some[-1], answers[-1]
        data = pack_entries(rest)
        before = answers[0][0] if len(some) == 2 else b""
        if rest and not (before and len(before) + len(data) <= PAGE_BYTES // 2):
            return [Op("set", site.page(number), data, state.version)], head
        ops = [Op("delete", site.page(number), version=state.version)]
        if rest:
            ops.append(
                Op(
                    "set",
                    site.page(some[0]),
                    before + b"".join(map(pack_entry, rest)),
                    answers[0][1].version,
                )
            )
        if head.page == number:
            head = replace(head, page=some[0] if len(some) == 2 else 0)
        return ops, head


def _over(entries: Iterable[Entry], before: float, after: int) -> list[Entry]:
    return [
        one
        for one in entries
        if one.seq > after and one.keep_until is not None and one.keep_until < before
    ]
