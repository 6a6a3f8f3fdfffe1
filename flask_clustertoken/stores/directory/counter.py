"""Eight bytes that every process of the host sees, and the lock around each write.

Reading the database to learn whether the feed has moved costs microseconds; reading one
aligned word of shared memory costs a tenth of one. The word is only safe to trust because
it is written under the same lock as the database, after the commit and before the lock is
let go: otherwise of two writers the slower one moves it backwards.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ... import forks
from ...errors import StoreUnavailable

log = logging.getLogger(__name__)

Identity = tuple[int, int]

_SIZE = 8
#: Numbers are microseconds since 1970 or little more; this is the year 148,000.
_ABSURD = 1 << 62

#: Descriptors of this process that hold or await a lock. A fork's child inherits the lock
#: with the descriptor, and would keep it if the parent were killed.
_holding: set[int] = set()


def _let_go_in_child() -> None:
    for fd in list(_holding):
        # Only closed: unlocking would take it from the parent as well.
        os.close(fd)
    _holding.clear()


forks.in_child("files", _let_go_in_child)


def identity(path: str) -> Identity | None:
    """Which file *path* is at the moment; ``None`` if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def pause(deadline: float, seconds: float, waiting_for: str) -> None:
    """Sleep for *seconds*; :class:`StoreUnavailable` once *deadline* (``time.monotonic``) is past.

    A sleep rather than a blocking call: under gevent the other greenlets go on.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise StoreUnavailable(f"no answer within the store's deadline: waiting for {waiting_for}")
    time.sleep(min(seconds, left))


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: str, deadline: float) -> Iterator[int]:
    """Hold the lock on the file *path*, and give the descriptor that holds it.

    Opened afresh each time, so that it excludes the threads of this process too. The kernel
    lets go of it when the holder dies. Raises :class:`FileNotFoundError` if there is no such
    file, :class:`StoreUnavailable` if the lock was not had before *deadline*.
    """
    wait, process = 0.0001, os.getpid()
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        _holding.add(fd)
        try:
            while not _lock(fd):
                pause(deadline, wait, f"the lock on {path}")
                wait = min(wait * 1.5, 0.005)
            held = os.fstat(fd)
            # A file that was replaced while we waited guards nothing any more.
            if identity(path) == (held.st_dev, held.st_ino):
                yield fd
                return
        finally:
            # A greenlet that waited here goes on in a fork's child, where it was closed.
            if os.getpid() == process:
                _holding.discard(fd)
                # Said aloud, for a child that inherited the descriptor a moment ago.
                fcntl.flock(fd, fcntl.LOCK_UN)
                os.close(fd)


class Counter:
    """The feed's last number in the file *path*, mapped into this process.

    Opened by the holder of its lock, whose descriptor is *fd*. Raises :class:`OSError` where
    it cannot be mapped for reading and writing.
    """

    def __init__(self, path: str, fd: int) -> None:
        found = os.fstat(fd)
        self.path = path
        self.identity: Identity = (found.st_dev, found.st_ino)
        if found.st_size < _SIZE:
            # Written rather than stretched: touching a hole of a full disk kills the process.
            os.pwrite(fd, bytes(_SIZE), 0)
        self._map = mmap.mmap(fd, _SIZE)
        #: One aligned load or store each way, so no reader sees half a number.
        self.cell = memoryview(self._map).cast("Q")
        if self.cell[0] >= _ABSURD:
            log.error("The counter %s held nonsense; it is taken from the database anew.", path)
            self.cell[0] = 0

    @property
    def value(self) -> int:
        return self.cell[0]

    def current(self) -> bool:
        """Whether its path still leads to this file."""
        return identity(self.path) == self.identity

    def raise_to(self, seq: int) -> None:
        """Called by the holder of the lock: never lowers it."""
        if self.cell[0] < seq:
            self.cell[0] = seq
