"""Recall: what this process remembers of texts that it has verified, bounded.

A seen text skips the signature and the record, never the view. Two generations of a plain
dictionary: when the young one is full it becomes the old one, so that a lookup takes no lock
and the memory has an end.
"""

from __future__ import annotations

from .tokens import Token, view_keys

#: Texts remembered for certain; up to twice as many are.
CAPACITY = 20_000

_UNKNOWN = float("-inf")


class Seen:
    """A verified text's token, and what is known of it since."""

    __slots__ = (
        "checked",
        "doubts",
        "ends_at",
        "keys",
        "keys_generation",
        "known_until",
        "record_ends",
        "recorded",
        "token",
    )

    def __init__(
        self, token: Token, *, recorded: bool, ends_at: float, keys_generation: int
    ) -> None:
        self.token = token
        #: The keys with which it was verified (or signed): with others it is to be verified anew.
        self.keys_generation = keys_generation
        #: The digests under which the view would know a revocation of it.
        self.keys = view_keys(token)
        #: It lives only while the store has a record of it.
        self.recorded = recorded
        #: Wall-clock end, skew included.
        self.ends_at = ends_at
        #: Until then (monotonic) the record need not be asked for, unless it was doubted since.
        self.known_until = _UNKNOWN
        #: How often remembered answers had been doubted when this one was asked for.
        self.doubts = 0
        #: The record's own end, as last read or set.
        self.record_ends: float | None = None
        #: The view's generation at which nothing covered it.
        self.checked = 0


class Recall:
    """Text → :class:`Seen`, for one process.

    What makes an entry worthless stands in the entry itself and is compared when it is used:
    whoever writes one down a moment too late does no harm, in whatever order threads run.
    """

    def __init__(self) -> None:
        #: The young generation: to look there first, without a call.
        self.young: dict[str, Seen] = {}
        self._old: dict[str, Seen] = {}
        #: Moves whenever remembered answers must be asked again.
        self.doubts = 0

    def get(self, text: str, keys_generation: int) -> Seen | None:
        """What is remembered of *text*, if the keys are still those of then."""
        seen = self.young.get(text)
        if seen is None:
            if not self._old:
                return None
            seen = self._old.pop(text, None)
            if seen is None:
                return None
            self.young[text] = seen
        return seen if seen.keys_generation == keys_generation else None

    def put(self, text: str, seen: Seen) -> None:
        """Remember *seen*."""
        if len(self.young) >= CAPACITY:
            self._old, self.young = self.young, {}
        self.young[text] = seen

    def doubt(self) -> None:
        """Ask for every record again: after a gap, a snapshot or another epoch."""
        self.doubts += 1

    def clear(self) -> None:
        self.doubts += 1
        self.young, self._old = {}, {}
