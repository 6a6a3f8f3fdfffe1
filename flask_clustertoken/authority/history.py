"""History: the revocations that the feed holds, the newest first, in pages.

The feed names ids, labels and subjects by their digests alone; who was meant says the audit trail.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from ..cluster import NodeRuntime
from ..revocations import REVOKING, FeedEntry
from ..stores import Seq, seq_at, time_of

#: Revocations of one page.
MOST = 50

#: Seconds of the feed that are looked at first. Where too little is in them, eight times as many.
_FIRST, _MORE = 60.0, 8

#: Seconds: what lies further back is looked at as a whole.
_FAR = 40 * 86_400.0


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation: number *seq* of the feed, *at* (wall clock), and how many it names."""

    seq: Seq
    at: float
    kind: str
    kinds: tuple[str, ...]
    named: int
    #: Of ``not_before`` the time before which everything ended, of ``lock`` its end.
    value: float


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The newest first. *before* is where the next page begins; 0: there are no more."""

    revoked: tuple[Revoked, ...]
    before: Seq


class History:
    """Reads the feed backwards, as far as it can be: it is made to be read the other way."""

    def __init__(self, runtime: NodeRuntime) -> None:
        self._runtime = runtime

    def newest(self, before: Seq = 0, most: int = MOST) -> HistoryPage:
        """Up to *most* revocations of before number *before* (0: of all).

        Entries are forgotten once what they ended is over. Raises
        :class:`~flask_clustertoken.errors.StoreError`.
        """
        end = time_of(before) if before else self._runtime.clock.time()
        width = _FIRST
        while True:
            start = seq_at(max(0.0, end - width)) if width < _FAR else 0
            found = self._last(start, before, most + 1)
            if len(found) > most or not start:
                newest = found[::-1][:most]
                more = len(found) > most
                return HistoryPage(tuple(newest), newest[-1].seq if more else 0)
            width *= _MORE

    def _last(self, after: Seq, before: Seq, most: int) -> list[Revoked]:
        """The last *most* behind *after*, in their order."""
        found: deque[Revoked] = deque(maxlen=most)
        store, more = self._runtime.used(), True
        while more:
            batch = store.read(after)
            for entry in batch.entries:
                if before and entry.seq >= before:
                    return list(found)
                with suppress(ValueError):  # of a newer version: told by the diagnosis
                    said = FeedEntry.decode(entry.body)
                    if said.kind in REVOKING:
                        found.append(_revoked(entry.seq, said))
            after, more = batch.seq, batch.more
        return list(found)


def _revoked(seq: Seq, said: FeedEntry) -> Revoked:
    return Revoked(
        seq, said.at or time_of(seq), said.kind, said.kinds, len(said.digests), said.value
    )
