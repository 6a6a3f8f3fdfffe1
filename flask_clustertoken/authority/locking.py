"""Locking: who may not come back in. A lock is one acknowledged entry of the feed.

It has ended the logins that were there, and refuses what it matches until its time, or until an
unlock: logins that are just being made, renewals, API tokens, another issuer's bearer tokens.
Names are in a record beside it, for whoever lists; the feed holds their digests alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from ..clock import Clock
from ..cluster import Revocation
from ..events import Events, TokenRevoked, Unlocked
from ..revocations import FeedEntry, Follower, LockTarget, lock_of
from ..stores.base import PAGE, Change, ClusterStore, Delete, Put
from ..tokens import Token, TokenKind, digest, digests, validation, view_keys

What = Literal["subject", "label", "kind", "everyone"]

#: Characters of the message that whoever is refused may read.
MESSAGE_LIMIT = 500

_PREFIX = "lock/"
_BOTH: tuple[TokenKind, ...] = ("login", "api")


class LockRuntime(Protocol):
    """What locking needs of this process's part in the cluster."""

    @property
    def clock(self) -> Clock: ...
    @property
    def events(self) -> Events: ...
    @property
    def store(self) -> ClusterStore: ...
    def follower(self) -> Follower: ...


class LockPublisher(Protocol):
    """Appends an entry, with changes in the same step, and says its number."""

    def append(self, feed_entry: FeedEntry, changes: Sequence[Change] = ()) -> int: ...


@dataclass(frozen=True, slots=True)
class StandingLock:
    """A lock that is in force: number *seq* of the feed, on *name* (a subject, a label, a kind).

    *until* is in seconds since 1970, ``None``: until it is unlocked; *since* is when it was set.
    """

    what: What
    name: str
    seq: int
    since: float
    until: float | None
    message: str
    except_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedLock:
    """A lock as it would be set: checked, and not written. Its number is 0."""

    lock: StandingLock
    feed_entry: FeedEntry
    put: Put

    def refuses(self, token: Token) -> bool:
        """Whether it would be for *token*, were it issued before or behind it."""
        return lock_of(0, self.feed_entry).matches(token, tuple(view_keys(token)))


class Locking:
    """Sets and takes away locks. What it is given is checked first: a :class:`TypeError` or
    :class:`ValueError` has written nothing."""

    def __init__(
        self,
        runtime: LockRuntime,
        publisher: LockPublisher,
        revocation: Callable[[int], Revocation],
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._revocation = revocation

    def lock(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
        until: float | datetime | None = None,
        message: str = "",
        except_labels: Sequence[str] = (),
    ) -> Revocation:
        """Refuse a subject, what has a label, a kind of token, or everyone: one of the four.

        Logins of before are ended for good. API tokens and bearer tokens of another issuer are
        refused while the lock stands, and good again afterwards. *until* is in seconds since
        1970 (milliseconds are refused), or a datetime with its zone; without it the lock stands
        until :meth:`unlock`. Whoever has one of *except_labels* is spared. *message* may be read
        by whoever is refused. A second lock on the same takes the first one's place.

        The receipt can be confirmed as that of a revocation. Raises
        :class:`~flask_clustertoken.errors.NodesTooOld`, and nothing was written, while nodes of an
        older version are there, and :class:`~flask_clustertoken.errors.StoreError`.
        """
        plan = self.plan(
            subject=subject,
            label=label,
            kind=kind,
            everyone=everyone,
            until=until,
            message=message,
            except_labels=except_labels,
        )
        return self._publish(plan.feed_entry, plan.put, (plan.lock.what, plan.lock.name))

    def plan(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
        until: float | datetime | None = None,
        message: str = "",
        except_labels: Sequence[str] = (),
    ) -> PlannedLock:
        """What :meth:`lock` would set; nothing is written. Raises what it does for arguments."""
        what, name, target = _target(subject, label, kind, everyone)
        spared = validation.labels(except_labels)
        if message:
            message = validation.text(message, "the message of a lock", MESSAGE_LIMIT)
        elif not isinstance(message, str):
            raise TypeError("the message of a lock is a text")
        now = self._runtime.clock.time()
        end = None if until is None else validation.moment(until, "until")
        if end is not None and end <= now:
            raise validation.WrongArgument("until lies in the past: nothing would be locked")
        extra: dict[str, Any] = {"message": message} if message else {}
        if spared:
            extra["except_labels"] = [f"{one:016x}" for one in digests("label", spared)]
        feed_entry = FeedEntry("lock", now, *target, value=end or 0.0, extra=extra)
        lock = StandingLock(what, name, 0, now, end, message, spared)
        words = {key: one for key, one in asdict(lock).items() if key != "seq"}
        put = Put(_key(target), json.dumps(words).encode(), end)
        return PlannedLock(lock, feed_entry, put)

    def unlock(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
    ) -> Revocation:
        """Take the lock on this away, named as it was set. Where there is none nothing changes.

        Logins that the lock has ended stay ended. Raises as :meth:`lock`.
        """
        what, name, target = _target(subject, label, kind, everyone)
        feed_entry = FeedEntry("unlock", self._runtime.clock.time(), *target)
        return self._publish(feed_entry, Delete(_key(target)), (what, name))

    def locks(self) -> list[StandingLock]:
        """The locks in force, by number. Raises :class:`~flask_clustertoken.errors.StoreError`."""
        follower, store = self._runtime.follower(), self._runtime.store
        follower.follow()
        found, after = [], ""
        while page := store.scan(_PREFIX, after, PAGE):
            after = page[-1][0]
            found += [self._standing(record.value, follower) for _, record in page]
        return sorted((one for one in found if one is not None), key=lambda one: one.seq)

    def standing(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
    ) -> StandingLock | None:
        """The lock in force on just this, named as it was set. Raises as :meth:`lock`."""
        _, _, target = _target(subject, label, kind, everyone)
        follower = self._runtime.follower()
        follower.follow()
        record = self._runtime.store.get(_key(target))
        return None if record is None else self._standing(record.value, follower)

    def _standing(self, written: bytes, follower: Follower) -> StandingLock | None:
        """The lock whose names stand in *written*, where the view has it in force."""
        words = json.loads(written)
        target = _named(words["what"], words["name"])
        lock = follower.view.locks.standing(target, self._runtime.clock.time())
        if lock is None:
            return None
        words["except_labels"] = tuple(words["except_labels"])
        return StandingLock(seq=lock.seq, **words)

    def _publish(self, feed_entry: FeedEntry, change: Change, named: tuple[str, ...]) -> Revocation:
        seq = self._publisher.append(feed_entry, [change])
        event = TokenRevoked if feed_entry.kind == "lock" else Unlocked
        self._runtime.events.announce(event(seq, feed_entry, named))
        return self._revocation(seq)


def _target(
    subject: str | None, label: str | None, kind: TokenKind | None, everyone: bool
) -> tuple[What, str, LockTarget]:
    named = [subject is not None, label is not None, kind is not None, bool(everyone)]
    if sum(named) != 1:
        raise TypeError("one of subject=, label=, kind= and everyone=True says what is locked")
    what: What = "everyone"
    name = ""
    if subject is not None:
        what, name = "subject", validation.subject(subject)
    elif label is not None:
        what, name = "label", validation.labels([label])[0]
    elif kind is not None:
        what, name = "kind", validation.kinds([kind])[0]
    return what, name, _named(what, name)


def _named(what: str, name: str) -> LockTarget:
    """The digest that logins have comes first."""
    if what == "subject":
        return tuple(digest(f"subject:{one}", name) for one in _BOTH), _BOTH
    if what == "label":
        return digests("label", [name]), _BOTH
    return (), _BOTH if what == "everyone" else (name,)


def _key(target: LockTarget) -> str:
    """Where the names of the lock on *target* are: one record for each target."""
    return f"{_PREFIX}{digest('lock', repr(target)):016x}"
