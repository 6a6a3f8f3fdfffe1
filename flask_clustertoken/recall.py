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
        "ends_at",
        "keys",
        "known_until",
        "record_ends",
        "recorded",
        "token",
    )

    def __init__(self, token: Token, *, recorded: bool, ends_at: float) -> None:
        self.token = token
        #: The digests under which the view would know a revocation of it.
        self.keys = view_keys(token)
        #: It lives only while the store has a record of it.
        self.recorded = recorded
        #: Wall-clock end, skew included.
        self.ends_at = ends_at
        #: Until then (monotonic) the record need not be asked for.
        self.known_until = _UNKNOWN
        #: The record's own end, as last read or set.
        self.record_ends: float | None = None
        #: The view's generation at which nothing covered it.
        self.checked = 0


class Recall:
    """Text → :class:`Seen`, for one process."""

    def __init__(self) -> None:
        self._young: dict[str, Seen] = {}
        self._old: dict[str, Seen] = {}
        self._keys_generation = -1
        #: Moves whenever remembered answers must be asked again.
        self.doubts = 0

    def get(self, text: str, keys_generation: int) -> Seen | None:
        """What is remembered of *text*, if the keys are still those of then."""
        if keys_generation != self._keys_generation:
            self.clear()
            self._keys_generation = keys_generation
            return None
        seen = self._young.get(text)
        if seen is None and self._old:
            seen = self._old.pop(text, None)
            if seen is not None:
                self._young[text] = seen
        return seen

    def put(self, text: str, seen: Seen, keys_generation: int) -> None:
        """Remember *seen*, unless the keys changed since it was verified."""
        if keys_generation != self._keys_generation:
            return
        if len(self._young) >= CAPACITY:
            self._old, self._young = self._young, {}
        self._young[text] = seen

    def doubt(self) -> None:
        """Ask for every record again: after a gap, a snapshot or another epoch."""
        self.doubts += 1
        for seen in [*self._young.values(), *self._old.values()]:
            seen.known_until = _UNKNOWN

    def clear(self) -> None:
        self.doubts += 1
        self._young, self._old = {}, {}
