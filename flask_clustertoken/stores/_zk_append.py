"""Appending to the feed, together with changes of records: one transaction, until it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import StoreUnavailable
from ._zk_client import Deadline, Late, LineLost, Op
from ._zk_feed import Feed
from ._zk_queue import Queue, Turns
from ._zk_records import Records
from ._zk_site import Beaten, Site
from .base import Change, NewEntry


class Appender:
    """What one process appends to one realm's feed."""

    def __init__(
        self, site: Site, feed: Feed, records: Records, unsealed: Callable[[Deadline, bool], Op]
    ) -> None:
        self._site = site
        self._feed = feed
        self._records = records
        self._unsealed = unsealed
        self._queue = Queue(site)
        self._turns = Turns()

    def append(
        self,
        deadline: Deadline,
        entries: Sequence[NewEntry],
        changes: Sequence[Change],
        above: int,
    ) -> list[int]:
        """The numbers of *entries*, appended now or by an earlier try."""
        feed, queue = self._feed, self._queue
        ids = [one.id for one in entries]
        beaten = False

        def step(sure: bool) -> list[int]:
            nonlocal beaten
            if sure:
                # An earlier try may have been carried out, whatever came back of it.
                known = feed.known(deadline, ids)
                if known is not None:
                    return known
            check = self._unsealed(deadline, sure)
            seen, names = feed.look_and_queue(deadline)
            if beaten or queue.others_first(names):
                queue.stand(deadline)
                seen = feed.look(deadline)
            numbered = feed.number(seen.head, entries, above)
            ops = [
                *feed.plan(deadline, seen, numbered),
                check,
                *self._records.plan(deadline, changes, sure),
            ]
            try:
                self._site.commit(deadline, ops)
            except Beaten:
                beaten = True
                raise
            return [one.seq for one in numbered]

        # All writers race for the head; the threads of one process do not race each other.
        if not self._turns.take(deadline.left()):
            raise StoreUnavailable(
                f"others of this process were appending for {deadline.seconds:g} s"
            ) from Late("no turn")
        try:
            return self._site.again(deadline, step)
        finally:
            queue.leave()
            self._turns.give()

    def transact(self, deadline: Deadline, changes: Sequence[Change]) -> None:
        """Make *changes* alone."""

        def step(sure: bool) -> None:
            check = self._unsealed(deadline, sure)
            ops = self._records.plan(deadline, changes, sure)
            try:
                self._site.commit(deadline, [check, *ops])
            except LineLost as error:
                # Nothing here tells whether it was carried out, so it is not tried again.
                raise StoreUnavailable(str(error)) from error.__cause__

        self._site.again(deadline, step)
