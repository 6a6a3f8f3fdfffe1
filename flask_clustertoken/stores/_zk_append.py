"""Appending to the feed, together with changes of records: one transaction, until it fits."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StoreUnavailable
from ._zk_client import Deadline, Late, LineLost
from ._zk_queue import Queue, Turns
from ._zk_realm import Realm
from ._zk_site import Beaten
from .base import Change, NewEntry


class Appender:
    """What one process appends to one realm's feed."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._queue = Queue(realm.site)
        self._turns = Turns()

    def append(
        self,
        deadline: Deadline,
        entries: Sequence[NewEntry],
        changes: Sequence[Change],
        above: int,
    ) -> list[int]:
        """The numbers of *entries*, appended now or by an earlier try."""
        realm, feed, queue = self._realm, self._realm.feed, self._queue
        ids = [one.id for one in entries]
        beaten = False

        def step(sure: bool) -> list[int]:
            nonlocal beaten
            if sure:
                # An earlier try may have been carried out, whatever came back of it.
                known = feed.known(deadline, ids)
                if known is not None:
                    return known
            check = realm.unsealed(deadline, sure)
            seen, names = feed.look_and_queue(deadline)
            if beaten or queue.others_first(names):
                queue.stand(deadline)
                seen = feed.look(deadline)
            numbered = feed.number(seen.head, entries, above)
            ops = [
                *feed.plan(deadline, seen, numbered),
                check,
                *realm.records.plan(deadline, changes, sure),
            ]
            try:
                realm.commit(deadline, ops)
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
            return realm.site.again(deadline, step)
        finally:
            queue.leave()
            self._turns.give()

    def transact(self, deadline: Deadline, changes: Sequence[Change]) -> None:
        """Make *changes* alone."""
        realm = self._realm

        def step(sure: bool) -> None:
            check = realm.unsealed(deadline, sure)
            ops = realm.records.plan(deadline, changes, sure)
            try:
                realm.commit(deadline, [check, *ops])
            except LineLost as error:
                # Nothing here tells whether it was carried out, so it is not tried again.
                raise StoreUnavailable(str(error)) from error.__cause__

        realm.site.again(deadline, step)
