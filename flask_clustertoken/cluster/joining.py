"""Joining: one thread does a process's first round, all others wait for it.

The only place with locks. They are held while it is settled who does the round, never while the
store works: it may be slow, and listeners may ask for us.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..backoff import Backoff
from ..clock import Clock
from ..errors import NoThread
from ..revocations import FOLLOWING, Follower

#: Seconds before a process tries again that had no thread to join with, at most: at first and in
#: the end. (Each request would else be a try.)
JOIN_AGAIN, LONGEST_JOIN_AGAIN = 0.5, 3.0

_locks: dict[str, threading.Lock] = {}


def building() -> threading.Lock:
    """The lock under which it is settled who does a first round, one for the process."""
    # Made at first use, so that a monkey-patched process gets a lock that its greenlets know;
    # in one step, so that two threads which come first at once get the same one.
    return _locks.get("building") or _locks.setdefault("building", threading.Lock())


def forget_locks() -> None:
    """In a fork's child: a thread of the parent may have held them."""
    _locks.clear()


@dataclass(frozen=True, slots=True)
class FirstRound:
    """A first round that is under way: who does it, and when it is over."""

    follower: Follower
    thread: int
    over: threading.Event


class Joining:
    """Sees to it that a first round is done, and by one thread.

    *joined* says whose round is over, ``None`` where none is, and raises where none may begin;
    *begin* makes a follower; *do* does its round, and from then on *joined* tells of it.
    *patience* are the seconds that others wait. Where there is no thread for it, *do* raises
    :class:`~flask_clustertoken.errors.NoThread`, and so does :meth:`follower` for a while.
    """

    def __init__(
        self,
        joined: Callable[[], Follower | None],
        begin: Callable[[], Follower],
        do: Callable[[Follower], None],
        patience: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._joined = joined
        self._begin = begin
        self._do = do
        self._patience = patience
        self._clock = clock
        self._round: FirstRound | None = None
        self._pauses = Backoff(JOIN_AGAIN, LONGEST_JOIN_AGAIN)
        #: By the monotonic clock: there was no thread, and before that nobody tries again.
        self._again_at = float("-inf")

    def follower(self) -> Follower:
        """The follower whose first round is over, or, for who would wait too long, under way."""
        while True:
            self._joined()  # (No lock is taken where none may begin.)
            with building():
                joined = self._joined()
                if joined is not None:
                    return joined
                under_way, first = self._round, self._round is None
                if under_way is None:
                    if self._clock.monotonic() < self._again_at:
                        raise NoThread(FOLLOWING)
                    # Made here, not at construction: after any fork and any monkey-patching.
                    under_way = self._round = FirstRound(
                        self._begin(), threading.get_ident(), threading.Event()
                    )
            if first:
                return self._do_first(under_way)
            if under_way.thread == threading.get_ident():
                # What listens to the first round asks something itself.
                return under_way.follower
            if not under_way.over.wait(self._patience()):
                return under_way.follower

    def _do_first(self, mine: FirstRound) -> Follower:
        try:
            self._do(mine.follower)
        except NoThread:
            self._again_at = self._clock.monotonic() + self._pauses.next()
            raise
        finally:
            self._round = None
            mine.over.set()
        return mine.follower

    def forget(self) -> None:
        """In a fork's child: a round that the parent was at is not ours."""
        self._round = None
        self._again_at = float("-inf")
        self._pauses.reset()
