"""What is written: records, the parts of a transaction with its conditions, new entries."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Conflict, HeadMoved


@dataclass(frozen=True, slots=True)
class Record:
    """A value and the end of its life in wall-clock seconds (``None``: it has none)."""

    value: bytes
    expires_at: float | None

    def alive(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Add:
    """Part of a transaction: create *key* only where nothing lives, else :class:`Conflict`."""

    key: str
    value: bytes
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Put:
    """Part of a transaction: create or replace *key*, value and life together."""

    key: str
    value: bytes
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Part of a transaction: *key* is gone afterwards; deleting nothing is fine."""

    key: str


@dataclass(frozen=True, slots=True)
class Require:
    """Part of a transaction: *key* is alive at that moment, else :class:`Conflict`.

    *until*: the caller knows that a record under *key*, if there is one, lives until then at
    least; before that a store need not look how long. (``None``: nothing is known.)
    """

    key: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Part of a transaction: *key* is alive with this very *value*, else :class:`Conflict`.

    Judged by the bytes. Whoever has read a value, and writes what it made of it under this
    condition, loses nothing that another one wrote in between. A value that was changed and
    changed back, or whose life was prolonged, is unchanged.
    """

    key: str
    value: bytes

    def check(self, found: Record | None, now: float) -> None:
        """:class:`Conflict` unless *found*, which is under *key*, says so at *now*."""
        if found is None or found.value != self.value or not found.alive(now):
            raise Conflict(self.key)


#: What whoever loads must still hold is the same condition.
Held = Unchanged


@dataclass(frozen=True, slots=True)
class HeadIs:
    """Part of a transaction: the feed's last number is still *seq*, else :class:`HeadMoved`.

    Judged before the entries of the same transaction are appended. So what was judged by a view
    that stands at *seq* is true in this very step. Where *entry* names the entry that stood
    there, no other may stand there now: where a clock had run ahead, numbers come again after a
    backup was put back. (None at all may: an entry that is trimmed does not move the head.)
    """

    seq: int
    entry: str = ""

    def check(self, head: int, entry: str | None) -> None:
        """:class:`HeadMoved` unless this holds where *entry* (``None``: trimmed) is the *head*."""
        if head != self.seq or (self.entry and entry not in (None, self.entry)):
            raise HeadMoved(self.seq)


Change = Add | Put | Delete | Require | Unchanged | HeadIs


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be appended.

    *id* is a text of 1 to 64 letters, digits, ``-`` or ``_`` chosen by the caller: appending
    a known id again changes nothing and returns the first number, so a retry after a lost
    answer is safe. *keep_until* (wall-clock seconds) is the earliest end that the writer knew
    of; ``None`` means "until it is trimmed by name".
    """

    id: str
    body: bytes
    keep_until: float | None
