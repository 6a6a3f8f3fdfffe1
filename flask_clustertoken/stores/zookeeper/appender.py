"""Appending to the feed, together with changes of records: one transaction, until it fits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import Conflict, HeadMoved, StoreUnavailable
from ..base import Add, Change, HeadIs, NewEntry, Put, Unchanged
from .connection import CallDeadline, Late, LineLost, Op
from .feed import Feed, SeenHead
from .queue import Queue, Turns
from .records import Questions, RecordChange, Records
from .site import Beaten, Raced, Site, children


class Appender:
    """What one process appends to one realm's feed."""

    def __init__(
        self, site: Site, feed: Feed, records: Records, unsealed: Callable[[CallDeadline, bool], Op]
    ) -> None:
        self._site = site
        self._feed = feed
        self._records = records
        self._unsealed = unsealed
        self._queue = Queue(site)
        self._turns = Turns()
        #: Somebody stood in line when it was looked at last: whoever does not look overtakes them.
        self._crowded = False

    def append(
        self,
        deadline: CallDeadline,
        entries: Sequence[NewEntry],
        changes: Sequence[Change],
        above: int,
    ) -> list[int]:
        """The numbers of *entries*, appended now or by an earlier try."""
        feed = self._feed
        ids = [one.id for one in entries]
        heads, on_records = _sorted(changes)
        beaten = False

        def step(sure: bool) -> list[int]:
            nonlocal beaten
            if sure:
                # An earlier try may have been carried out, whatever came back of it.
                known = feed.known(deadline, ids)
                if known is not None:
                    return known
            check = self._unsealed(deadline, sure)
            asked = self._records.questions(on_records, sure)
            seen = None if sure or beaten or asked.requests else self._likely(heads)
            blind, answers = seen is not None, list[Any]()
            if seen is None:
                seen, answers = self._look(deadline, asked, beaten)
                try:
                    _stands_at(seen, heads, sure)
                except HeadMoved:
                    # By an earlier call of ours, perhaps. (Read behind the head that it moved.)
                    known = feed.known(deadline, ids)
                    if known is not None:
                        return known
                    raise
            numbered = feed.number(seen.head, entries, above)
            head, on_feed = feed.plan(deadline, seen, numbered)
            ops = [*on_feed, check, *self._records.plan(on_records, asked, answers, sure)]
            line = [children(self._site.queue)] if blind else []
            try:
                came_of = self._site.commit(deadline, ops, *line)
            except Beaten:
                # (Who had not looked may have been late: that is no race lost.)
                beaten = not blind
                feed.unsure()
                raise
            except Raced as error:
                raise self._records.refused(asked, error) from error
            feed.appended(head, ops, came_of)
            if blind:
                self._crowded = bool(came_of[-1])
            self._records.settled(asked)
            return [one.seq for one in numbered]

        with self._turn(deadline):
            return self._site.again(deadline, step)

    @contextmanager
    def _turn(self, deadline: CallDeadline) -> Iterator[None]:
        """All writers race for the head; the threads of one process do not race each other."""
        if not self._turns.take(deadline.left()):
            raise StoreUnavailable(
                f"others of this process were appending for {deadline.seconds:g} s"
            ) from Late("no turn")
        try:
            yield
        finally:
            try:
                self._queue.leave()
            finally:
                self._turns.give()

    def _look(
        self, deadline: CallDeadline, asked: Questions, beaten: bool
    ) -> tuple[SeenHead, list[Any]]:
        """The head, when it is our turn, and the answers to what is *asked*."""
        seen, names, answers = self._feed.look_around(deadline, asked.requests)
        self._crowded = bool(names)
        if beaten or self._queue.others_first(names):
            self._queue.stand(deadline)
            seen = self._feed.look(deadline)
        return seen, answers

    def _likely(self, heads: Sequence[HeadIs]) -> SeenHead | None:
        """The head to go by without a look at it, where that most likely holds.

        The servers check it: where it does not hold, nothing was done, and it is looked at. Nobody
        who stands in line is overtaken twice, for the line is listed along with what is done.
        """
        seen = None if self._crowded else self._feed.likely()
        if seen is None:
            return None
        try:
            _stands_at(seen, heads, sure=True)
        except HeadMoved:
            return None
        return seen

    def transact(self, deadline: CallDeadline, changes: Sequence[Change]) -> None:
        """Make *changes* alone."""
        feed, records = self._feed, self._records
        heads, on_records = _sorted(changes)
        # Whether a try whose answer was lost was carried out, the maker of what it added tells,
        # or whether what it replaces is as it was.
        maker = secrets.token_bytes(8)
        replaced = {change.key for change in on_records if isinstance(change, Put)}
        tells = any(
            isinstance(change, Add) or (isinstance(change, Unchanged) and change.key in replaced)
            for change in on_records
        )
        lost = False

        def step(sure: bool) -> None:
            nonlocal lost
            if lost and records.made_by(deadline, maker, on_records):
                return
            ops = [self._unsealed(deadline, sure)]
            if heads:
                seen = feed.seen(deadline, heads[0].seq, anew=sure)
                _stands_at(seen, heads, sure)
                ops.append(Op("check", self._site.head, version=seen.version))
            asked = records.questions(on_records, sure)
            answers = self._site.line.ask_many(deadline, asked.requests)
            try:
                ops += records.plan(on_records, asked, answers, sure, maker)
            except Conflict as error:
                if not lost:
                    raise
                # With what that try wrote, perhaps, which others have written over since.
                raise StoreUnavailable(
                    "the answer to a write was lost, and others have written since"
                ) from error
            try:
                self._site.commit(deadline, ops)
            except Beaten:
                feed.unsure()
                raise
            except Raced as error:
                raise records.refused(asked, error) from error
            except LineLost as error:
                if not tells:
                    # Nothing here tells whether it was carried out, so it is not tried again.
                    raise StoreUnavailable(str(error)) from error.__cause__
                lost = True
                raise
            records.settled(asked)

        self._site.again(deadline, step)


def _sorted(changes: Sequence[Change]) -> tuple[list[HeadIs], list[RecordChange]]:
    """Where the head has to stand, and the changes of records."""
    heads = [change for change in changes if isinstance(change, HeadIs)]
    return heads, [change for change in changes if not isinstance(change, HeadIs)]


def _stands_at(seen: SeenHead, heads: Sequence[HeadIs], sure: bool) -> None:
    """:class:`HeadMoved` where the head is another one; a lower one only where that is *sure*."""
    head = seen.head
    last = head.tail[-1] if head.tail and head.tail[-1].seq == head.seq else None
    for one in heads:
        if head.seq < one.seq and not sure:
            raise Raced("a head that lags")
        one.check(head.seq, last.id if last is not None else None)
