"""Locks: who may not come back in, until when. One lock a target; the later number wins.

A lock refuses what it matches for as long as it stands, and has ended for good the logins that
were issued before it. Asked are the digests that a token has in the view anyway, so 100,000 locks
cost a token that was seen before nothing, and any other one a few look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from ..stores import time_of
from ..tokens import Token, view_keys
from .entry import FeedEntry

#: What a lock is for: the digests that it matches, and the kinds of token.
LockTarget = tuple[tuple[int, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock: number *seq*, in force until *until* (wall-clock seconds, ``inf``: an unlock)."""

    seq: int
    #: The number under which it stands in the feed: another one where it was published again.
    entry: int
    target: LockTarget
    until: float
    message: str
    except_labels: frozenset[int]
    #: Until then it is remembered; ``None``: until it is swept by name.
    kept_until: float | None

    @property
    def ends_at(self) -> float | None:
        """Its end, ``None`` where only an unlock ends it."""
        return None if self.until == inf else self.until

    def matches(self, token: Token, keys: Iterable[int]) -> bool:
        """Whether it is for *token*, which has these :func:`view_keys`."""
        wanted, kinds = self.target
        if token.kind not in kinds or (wanted and not any(key in wanted for key in keys)):
            return False
        return not (self.except_labels and self.except_labels.intersection(keys))

    def says_what(self, other: Lock) -> bool:
        """Whether *other* ended the very same."""
        return (self.seq, self.target, self.except_labels) == (
            other.seq,
            other.target,
            other.except_labels,
        )

    def ended(self, token: Token, keys: Iterable[int]) -> bool:
        """Whether it has ended *token* for good: a login of before it."""
        return token.kind == "login" and token.since < self.seq and self.matches(token, keys)


def lock_of(seq: int, feed_entry: FeedEntry, kept_until: float | None = None) -> Lock:
    """The lock that *feed_entry*, entry number *seq*, sets."""
    return Lock(
        feed_entry.number(seq),
        seq,
        (feed_entry.digests, feed_entry.kinds),
        feed_entry.value or inf,
        str(feed_entry.extra.get("message", "")),
        frozenset(int(one, 16) for one in feed_entry.extra.get("except_labels", ())),
        kept_until,
    )


@dataclass(slots=True)
class _History:
    """What is known of one target: its locks by number, and the last unlock's number."""

    locks: dict[int, Lock] = field(default_factory=dict)
    unlocked: int = 0
    #: Unlock by unlock, the number of its entry.
    unlocks: dict[int, int] = field(default_factory=dict)
    #: Lock by lock, in which era it was met last; see :meth:`Locks.begin_anew`.
    met: dict[int, int] = field(default_factory=dict)

    def standing(self, now: float) -> Lock | None:
        locks = self.locks  # (as a whole: it is replaced while readers look)
        last = max(locks, default=0)
        if last <= self.unlocked or now >= locks[last].until:
            return None
        return locks[last]


class Locks:
    """The locks that one view knows. Whoever learns holds the view's lock; readers need none."""

    def __init__(self) -> None:
        self._by_target: dict[LockTarget, _History] = {}
        self._by_key: dict[int, tuple[LockTarget, ...]] = {}
        #: Of everybody, or of a kind of token.
        self._wide: tuple[LockTarget, ...] = ()
        #: Locks that spared somebody: what they ended stands in no table.
        self._sparing: tuple[Lock, ...] = ()
        #: Nothing ends before then.
        self._first_end = inf
        self._era = 0
        self._by_entry: dict[int, LockTarget] = {}

    def __len__(self) -> int:
        """How many locks are remembered, also those that do not stand any more."""
        return sum(len(one.locks) for one in self._by_target.values())

    # asked

    def on(self, token: Token, now: float, keys: Iterable[int] | None = None) -> Lock | None:
        """The lock that refuses *token* at the time of day *now*; the widest first."""
        if not self._by_target:
            return None
        keys = tuple(keys or view_keys(token))
        targets = [*self._wide, *(one for key in keys for one in self._by_key.get(key, ()))]
        for target in targets:
            history = self._by_target.get(target)
            lock = history.standing(now) if history is not None else None
            if lock is not None and lock.matches(token, keys):
                return lock
        return None

    def ended(self, token: Token, keys: Iterable[int]) -> bool:
        """Whether a lock that spared others has ended *token*, which it did not spare."""
        return any(lock.ended(token, keys) for lock in self._sparing)

    def standing(self, target: LockTarget, now: float) -> Lock | None:
        """The lock on *target* that is in force at *now*."""
        history = self._by_target.get(target)
        return history.standing(now) if history is not None else None

    # learning: what readers walk through is replaced, never changed in place

    def learn(self, lock: Lock) -> None:
        """Take *lock* in; again, and in any order, is fine."""
        history = self._history(lock.target)
        history.locks = {**history.locks, lock.seq: lock}
        history.met[lock.seq] = self._era
        self._by_entry[lock.entry] = lock.target
        if lock.kept_until is not None:
            self._first_end = min(self._first_end, lock.kept_until)
        if lock.except_labels:
            # (A number may come again in another history, under another lock.)
            others = [one for one in self._sparing if not lock.says_what(one)]
            self._sparing = (*others, lock)

    def unlock(self, seq: int, entry: int, target: LockTarget) -> None:
        """The locks on *target* before number *seq* stand no more; entry number *entry* says so."""
        history = self._history(target)
        history.unlocks[seq] = entry
        history.unlocked = max(history.unlocked, seq)
        self._by_entry[entry] = target

    def _history(self, target: LockTarget) -> _History:
        history = self._by_target.get(target)
        if history is None:
            history = self._by_target[target] = _History()
            for key in target[0]:
                self._by_key[key] = (*self._by_key.get(key, ()), target)
            if not target[0]:
                self._wide = (*self._wide, target)
        return history

    # after a loss

    @property
    def era(self) -> int:
        """Moves with :meth:`begin_anew`."""
        return self._era

    def begin_anew(self) -> None:
        """The store may have lost what is known here, and gives its numbers to others.

        An unlock of the lost history must not end a lock of the new one, whatever its number: all
        locks stand until the snapshot has said which of them were unlocked.
        """
        self._era += 1
        for history in self._by_target.values():
            history.unlocked = 0
            history.unlocks = {}

    def settle(self, era: int) -> None:
        """A snapshot was read that began in *era*: a lock of before that it lacks is none."""
        for target, history in list(self._by_target.items()):
            for seq in [seq for seq, met in history.met.items() if met < era]:
                self._drop(target, history, seq, ended=True)

    # forgetting

    def over(self, longest: float, before: float) -> list[int]:
        """Numbers of entries that have no end of their own and may be swept by name.

        Locks that do not stand any more, *longest* seconds after the next lock or unlock on their
        target, behind which no login was issued that they ended; unlocks of which no lock is
        left, and those before another one. *before* is a time of day. Only for a view that knows
        everything up to these numbers.
        """
        found = []
        for history in list(self._by_target.values()):
            for seq, lock in history.locks.items():
                # (Not of the newest: a lock that is set every night would never be over.)
                later = [one for one in (*history.locks, history.unlocked) if one > seq]
                gone = min(later, default=0)
                if lock.kept_until is None and gone and time_of(gone) + longest < before:
                    found.append(lock.entry)
            for seq, entry in history.unlocks.items():
                needed = seq == history.unlocked and history.locks
                if not needed and time_of(entry) < before:
                    found.append(entry)
        return found

    def holds(self, entry: int) -> bool:
        """Whether entry number *entry* is still needed, although its own time may be over.

        A later lock is, for as long as an earlier one on its target is remembered: left alone,
        that one would stand again.
        """
        return entry in self._by_entry

    def forget(self, entry: int) -> None:
        """Entry number *entry* was swept by name."""
        target = self._by_entry.pop(entry, None)
        history = None if target is None else self._by_target.get(target)
        if target is None or history is None:
            return
        for seq in [seq for seq, one in history.unlocks.items() if one == entry]:
            del history.unlocks[seq]
        for seq in [seq for seq, lock in history.locks.items() if lock.entry == entry]:
            self._drop(target, history, seq)
        if not history.locks and not history.unlocks and target in self._by_target:
            self._remove(target)

    def expire(self, now: float) -> None:
        """Forget locks whose own end has passed, save those that :meth:`holds` means."""
        if now <= self._first_end:
            return
        first_end = inf
        for target, history in list(self._by_target.items()):
            for seq, lock in sorted(history.locks.items()):
                if lock.kept_until is None:
                    break  # (swept by name; until then all behind it are needed)
                if lock.kept_until >= now:
                    first_end = min(first_end, lock.kept_until)
                    break
                self._drop(target, history, seq)
        self._first_end = first_end

    def _drop(
        self, target: LockTarget, history: _History, seq: int, *, ended: bool = False
    ) -> None:
        """Forget a lock; *ended*: but not what it has ended."""
        gone = history.locks[seq]
        history.locks = {one: lock for one, lock in history.locks.items() if one != seq}
        history.met.pop(seq, None)
        self._by_entry.pop(gone.entry, None)
        self._first_end = 0.0  # (one behind it may be over)
        if not ended:
            self._sparing = tuple(one for one in self._sparing if not gone.says_what(one))
        if not history.locks and not history.unlocks:
            self._remove(target)

    def _remove(self, target: LockTarget) -> None:
        del self._by_target[target]
        for key in target[0]:
            left = tuple(one for one in self._by_key[key] if one != target)
            if left:
                self._by_key[key] = left
            else:
                del self._by_key[key]
        self._wide = tuple(one for one in self._wide if one != target)
