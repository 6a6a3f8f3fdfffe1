"""Sightings: which keys nodes were lately seen with, remembered by the store.

A node's entry says which keys it has; when it leaves, or is swept because it went quiet, that
goes with it. The race: the only holder of a key restarts; between its withdrawal and its return
another node meets one of its logins, finds the key with nobody, and would call a good login
invalid. A note made at the withdrawal does not close it: who is killed makes none, an entry
may be removed by anyone, and a key may leave a node's file while the node stays.

So the note comes *first*: before a node publishes a key the store has a record of it, which
lives for ten minutes longer than until the node's next look at it. Whoever finds a key with no
listed node reads the records after the list; a key that was ever published before that is in
the one or the other for ten minutes (and a few more: the record is written once for all nodes
that have the key, not with each contact). A record is only ever added, or prolonged where it
lives, so nobody's note is lost to another's. There are as many as keys that nodes had
within a quarter of an hour.

On one host (an embedded store) nothing is noted: whoever restarts the app restarts its workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..clock import Clock
from ..stores.base import ClusterStore

#: Under which the store keeps the notes; behind it stands a key's fingerprint.
SEEN = "seen/keys/"

#: Seconds for which a key is known after the last node that had it was there.
REMEMBERED = 600.0

#: Seconds between two looks of a node at its own notes.
EVERY = 60.0

#: What a node leaves of a note's life beyond that: time until its next look, and for being late.
_LEAST, _MOST = REMEMBERED + 1.5 * EVERY, REMEMBERED + 2.5 * EVERY


class Sightings:
    """One node's part: sees to it that the store knows which keys it has."""

    def __init__(self, store: ClusterStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: When to look again at the note of each key, by the monotonic clock.
        self._due: dict[str, float] = {}

    def note(self, keys: Sequence[str]) -> None:
        """To be called before *keys* are published; cheap until a look is due.

        Raises :class:`~flask_clustertoken.errors.StoreError`; then nothing may be published.
        """
        if self._store.embedded:
            return
        now = self._clock.monotonic()
        due = [one for one in keys if now >= self._due.get(one, now)]
        if due:
            time = self._clock.time()
            for one in due:
                # (What it misses because it lags, the add finds.)
                record = self._store.peek(SEEN + one)
                end = 0.0 if record is None else record.expires_at
                if end is not None and end < time + _LEAST:
                    self._remember(SEEN + one, time + _MOST)
        self._due = {one: now + EVERY if one in due else self._due[one] for one in keys}

    def _remember(self, key: str, end: float) -> None:
        """Each call is one step of the store; a note that dies between two of them is made anew."""
        store = self._store
        _ = store.add(key, b"1", end) or store.touch(key, end) or store.add(key, b"1", end)


def seen_lately(store: ClusterStore) -> dict[str, float | None]:
    """The keys with which a node was seen within some ten minutes; until when that is remembered.

    To be asked after the list of nodes: who was not in it has left its note before.
    """
    if store.embedded:
        return {}
    return {key.removeprefix(SEEN): one.expires_at for key, one in store.scan(SEEN)}
