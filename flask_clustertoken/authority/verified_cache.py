"""Verified cache: what this process remembers of texts that it has verified, bounded.

A seen text skips the signature and the record, never the view. Two generations of a plain
dictionary: when the young one is full it becomes the old one, so that a lookup takes no lock
and the memory has an end. Full is, whichever comes first, a number of texts or half of the
bytes that may be spent: claims are the app's, and a few kilobytes of them are many times that
as objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import getsizeof
from threading import Lock
from typing import Any

from ..settings import TOKEN_CACHE
from ..tokens import Token, view_keys
from .reuse import Copies

#: Texts that a generation holds at most; what is remembered are up to two of them.
CAPACITY = 20_000

#: What takes more than this part of the bytes is verified each time: it would push out, for one
#: visitor, what serves hundreds.
SHARE = 32

_UNKNOWN = float("-inf")

#: Bytes of an entry besides its texts and claims: the objects themselves, their numbers, and the
#: two places in dictionaries. (Measured: see the test of this module.)
_FRAME = 600


class Verified:
    """A verified text's token, and what is known of it since."""

    __slots__ = (
        "checked",
        "copies",
        "doubts",
        "ends_at",
        "keys",
        "keys_generation",
        "known_until",
        "proof",
        "proof_ends",
        "record_ends",
        "record_known_until",
        "recorded",
        "spare",
        "succeeded",
        "token",
        "weight",
    )

    def __init__(
        self,
        token: Token,
        *,
        recorded: bool,
        ends_at: float,
        keys_generation: int,
        copies: Copies | None = None,
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
        #: Until then (monotonic) nothing need be asked or noted, unless the record was doubted
        #: since: the earlier of the next two.
        self.known_until = _UNKNOWN
        #: Until then the record need not be asked for.
        self.record_known_until = _UNKNOWN
        #: What is noted of this copy's use; ``None`` for one that came with its login.
        self.copies = copies
        #: The doubt that remembered answers were under when this one was asked for.
        self.doubts: object = None
        #: The record's own end, as last read or set.
        self.record_ends: float | None = None
        #: The seconds for renewals that its record was written with; these never change.
        self.spare: float | None = None
        #: The last text that proved that the browser has the key, and its end (wall clock).
        self.proof = ""
        self.proof_ends = 0.0
        #: The login that it took the place of is known to be over.
        self.succeeded = not token.succeeds
        #: The view's generation at which nothing covered it.
        self.checked = 0
        #: The bytes that were counted for it; kept by :class:`VerifiedTokens`, under its lock.
        self.weight = 0

    def rest(self, until: float) -> None:
        """The record need not be asked for until *until*; a use may have to be noted before."""
        self.record_known_until = until
        if self.copies is None or self.token.bound_key:
            # (Of a bound login a use is noted where it is proven, and not with the record.)
            self.known_until = until
        else:
            self.known_until = min(until, self.copies.next_at)


class VerifiedTokens:
    """Text → :class:`Verified`, for one process; *budget* are the bytes that it may take.

    What makes an entry worthless stands in the entry itself and is compared when it is used:
    whoever writes one down a moment too late does no harm, in whatever order threads run. Who
    writes one down holds the lock, so that none is counted twice or not at all.
    """

    def __init__(self, budget: int = TOKEN_CACHE) -> None:
        #: The young generation: to look there first, without a call.
        self.young: dict[str, Verified] = {}
        self._old: dict[str, Verified] = {}
        #: Another object whenever remembered answers must be asked again. (Not a number that is
        #: raised: of two threads that raise it at once, one would be overlooked.)
        self.doubts = object()
        self._budget = budget
        self._weights = {True: 0, False: 0}
        self._lock = Lock()

    @property
    def weight(self) -> int:
        """The bytes that what is remembered takes."""
        return sum(self._weights.values())

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, text: str, keys_generation: int) -> Verified | None:
        """What is remembered of *text*, if the keys are still those of then."""
        seen = self.young.get(text)
        if seen is None:
            if text not in self._old:
                return None
            with self._lock:
                seen = self._old.pop(text, None)
                if seen is not None:
                    self._weights[False] -= seen.weight
                    self._keep(text, seen)
            if seen is None:
                return None  # (Another thread was faster; it is verified once more.)
        return seen if seen.keys_generation == keys_generation else None

    def put(self, text: str, seen: Verified) -> None:
        """Remember *seen*, as heavy as it is now: again, after its record was read."""
        weight = weigh(text, seen.token)
        with self._lock:
            for young, held in ((True, self.young), (False, self._old)):
                before = held.pop(text, None)
                if before is not None:
                    self._weights[young] -= before.weight
            seen.weight = weight
            if weight * SHARE <= self._budget:
                self._keep(text, seen)

    def _keep(self, text: str, seen: Verified) -> None:
        full = self._weights[True] + seen.weight > self._budget // 2
        if full or len(self.young) >= CAPACITY:
            self._old, self.young = self.young, {}
            self._weights = {True: 0, False: self._weights[True]}
        self.young[text] = seen
        self._weights[True] += seen.weight

    def doubt(self) -> None:
        """Ask for every record again: after a gap, a snapshot or another epoch."""
        self.doubts = object()

    def clear(self) -> None:
        self.doubts = object()
        with self._lock:
            self.young, self._old = {}, {}
            self._weights = {True: 0, False: 0}


def weigh(text: str, token: Token) -> int:
    """The bytes that remembering *text* with *token* takes, claims included."""
    words = (token.id, token.subject, token.name, token.created_by, token.device, token.epoch)
    return (
        _FRAME
        + getsizeof(text)
        + sum(map(getsizeof, words))
        + _deep((token.claims, token.labels, token.scopes))
    )


def _deep(values: Iterable[Any]) -> int:
    """The bytes of *values* and of all that is in them, each object once."""
    size, met = 0, set()
    left = list(values)
    while left:
        one = left.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        size += getsizeof(one)
        if isinstance(one, str):
            continue  # (as most are)
        if isinstance(one, Mapping):
            left += one.keys()
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
    return size
