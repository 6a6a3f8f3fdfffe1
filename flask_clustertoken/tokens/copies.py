"""Copies: which of a login's copies is the newer one, and what its record side says of their use.

A renewal makes a copy of a login's token. One browser has one copy: once a newer one has been in
use for a while, nobody has an older one, or there are two holders. (What Auth0 and Okta call reuse
detection, with a leeway; RFC 9700, 4.14.2, asks for it of refresh tokens.)

**A copy's generation is the time at which it was made**, in seconds since the login's issue.
So nodes need not ask each other for the next number, and a copy that passed through a version which
knows nothing of it has none, and is judged by nobody.

Where copies run fast (``ALWAYS_RENEW``) it is rounded down. Two tabs that poll side by side keep
handing the browser copies of their own for hours then, as two holders would. By the rounded time
all of them step at the same moment, however each is renewed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

#: The number of the note's form.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """How far apart generations are at least and at most: seconds, each a power of two.

    Powers of two, so that what is rounded differently at different ages keeps its order.
    """

    finest: int
    coarsest: int

    def generation(self, age: float) -> int:
        """Of a copy that is made *age* seconds after the issue of the login.

        A quarter of the age apart at most: of a young login a theft is noticed sooner, and an old
        one is not noted more often than its record is prolonged.
        """
        whole = max(0, int(age))
        apart = min(max(_power_below(whole) // 4, self.finest), self.coarsest)
        return whole - whole % apart

    @classmethod
    def of(cls, *, renew_after: int, always: bool, grace: int) -> Pace:
        """For logins that are renewed once *renew_after* has passed, or *always*."""
        if renew_after >= 2 * grace and not always:
            return cls(1, 1)
        # Each generation can be in use for longer than the grace.
        finest = 2 * _power_below(2 * grace)
        return cls(finest, max(finest, _power_below(renew_after // 4)))


def _power_below(number: int) -> int:
    """The greatest power of two that is not above *number*; at least 1."""
    return 1 << max(0, number.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where and when a login was used: *at* by the store's clock (seconds since 1970).

    *agent* is what the browser calls itself (its ``User-Agent``, cut to 200 characters; it can say
    what it likes), *host* the name of the node's host. No address is kept.
    """

    at: float
    agent: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class CopiesNote:
    """What the store keeps of how a login's copies were used. Times are the store's.

    It is an entry of its own beside the record, which never changes. It begins with the first use
    of a renewed copy.
    """

    #: The newest generation that was used, and its first use.
    newest: int
    first: float
    #: Another one, where both are candidates: of copies made side by side the browser keeps the
    #: one whose answer came last, which need not be the newest.
    older: int = 0
    older_first: float = 0.0
    #: Copies *older* than this generation are spent: it was in use for longer than the grace.
    spent: int = 0
    #: When that was known, and where it was used then.
    spent_at: float = inf
    agent: str = ""
    host: str = ""
    #: The value of :attr:`spent` for which a second holder was told of, and who does so (a random
    #: text: whoever lost the answer to that step finds out that it is still theirs to tell).
    told: int = 0
    teller: str = ""

    def encode(self) -> bytes:
        said = {key: value for key, value in asdict(self).items() if value != inf}
        return json.dumps({"format": FORMAT} | said, separators=(",", ":")).encode()

    def _first_use(self, generation: int) -> float | None:
        """Of one of the two that are counted."""
        if generation == self.newest:
            return self.first
        return self.older_first if generation == self.older else None

    def wait(self, generation: int, now: float, grace: float) -> float:
        """Seconds until a use of *generation* says anything new; ``inf``: it never will."""
        if generation <= self.spent:
            return inf
        first = self._first_use(generation)
        if first is not None:
            return max(0.0, first + grace - now)
        return 0.0 if generation > self.older else inf

    def used(self, generation: int, place: Whereabouts, grace: float) -> CopiesNote:
        """The note after a copy of *generation* was used at *place*.

        Only uses of *one* generation count together. (A brief use of a copy that the browser did
        not keep, and one of that copy's grandchildren a day later, are not the use of one copy.)
        """
        if generation <= self.spent:
            return self
        first = self._first_use(generation)
        if first is None:
            return self._counting(generation, place.at)
        if abs(place.at - first) <= grace:
            return self
        return replace(
            self,
            older=0,
            spent=generation,
            spent_at=max(place.at, first),
            agent=place.agent,
            host=place.host,
        )

    def _counting(self, generation: int, at: float) -> CopiesNote:
        """The note that counts uses of *generation* from *at* on, if it is among the newest two."""
        if generation > self.newest:
            kept = (self.newest, self.first) if self.newest > self.spent else (0, 0.0)
            return replace(self, newest=generation, first=at, older=kept[0], older_first=kept[1])
        if generation > self.older:
            return replace(self, older=generation, older_first=at)
        return self

    def is_spent(self, generation: int, asked_at: float) -> bool:
        """Whether a copy of *generation* was spent when somebody came with it, at *asked_at*."""
        return generation < self.spent and self.spent_at <= asked_at

    def as_told(self, teller: str) -> CopiesNote:
        """The note once *teller* tells of a second holder."""
        return replace(self, told=self.spent, teller=teller)

    def is_told(self, teller: str) -> bool:
        """Whether somebody else than *teller* tells, or has told, of it."""
        return self.told >= self.spent and self.teller != teller

    @property
    def last_place(self) -> Whereabouts:
        """Where the newer copy was used last, as far as it was noted."""
        return Whereabouts(self.spent_at, self.agent, self.host)


def begun(generation: int, place: Whereabouts) -> CopiesNote:
    """The first note of a login."""
    return CopiesNote(newest=generation, first=place.at)


def read_copies(value: bytes) -> CopiesNote | None:
    """What :meth:`CopiesNote.encode` wrote; ``None`` for what this version cannot read.

    It is only ever told of, so what a newer version wrote is left to newer nodes.
    """
    try:
        data: dict[str, Any] = json.loads(value)
        if data.pop("format") != FORMAT:
            return None
        return CopiesNote(**data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def copies_key(record_key: str) -> str:
    """Where the store keeps the note of the login whose record is under *record_key*."""
    return "copies/" + record_key.removeprefix("token/")
