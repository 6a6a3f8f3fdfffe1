"""Lines in front of the feed's head: for fairness alone, correctness never rests on them.

Whoever appends changes the head on condition that nobody else did, and tries again if
somebody had. Under load that is unfair: who is connected to the leader sees each new head
first and wins again and again, while others run into their deadline. So whoever lost takes a
ticket, and while there are tickets everybody goes in their order. A ticket is an ephemeral
znode; one whose owner does nothing for a moment is taken away by whoever comes next.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from typing import Any

from .connection import CallDeadline, Refused
from .site import Names, Site, children, delete

#: Seconds for which the first in the line may do nothing.
PATIENCE = 0.5

#: Seconds between two looks at the line, for each place before one's own.
_PACE = 0.004


class Turns:
    """The threads of this process, one at a time and in the order in which they came.

    (A plain lock goes to whoever asks at the right moment, which is who just had it.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[threading.Event] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for one's turn; ``False`` if it did not come within *seconds*."""
        with self._lock:
            if not self._busy:
                self._busy = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            if mine.wait(seconds):
                return True
        except BaseException:
            # (A greenlet's own time-out or its end, a signal.) A turn that comes to nobody would
            # be the last one of this process.
            if not self._left(mine):
                self.give()
            raise
        return not self._left(mine)

    def _left(self, mine: threading.Event) -> bool:
        """Wait no more; ``False``: the turn came just now."""
        with self._lock:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def give(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._busy = False


class Queue:
    """One process's place in the line; its callers take turns, so it needs one at most."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = secrets.token_hex(8)
        self._ticket: str | None = None

    def others_first(self, names: Names) -> bool:
        """Whether somebody stands before us, by a listing of the line."""
        if isinstance(names, Refused) or not names:
            return False
        return self._ticket is None or bool(self._before(names))

    def _before(self, names: list[str]) -> list[str]:
        """Those before us, in their order: ZooKeeper numbered the tickets."""
        line = sorted(names, key=lambda name: name.rpartition("-")[2])
        return line[: line.index(self._ticket)] if self._ticket in line else line

    def stand(self, deadline: CallDeadline) -> None:
        """Take a ticket, if there is none yet, and wait until it is the first."""
        line = self._site.line
        if self._ticket is None:
            (path,) = line.ask(deadline, self._take)
            if isinstance(path, Refused):
                return
            self._ticket = path.rpartition("/")[2]
        first, since = "", time.monotonic()
        while deadline.left() > 0:
            (names,) = line.ask(deadline, children(self._site.queue))
            if names is Refused.ABSENT or self._ticket not in names:
                return
            before = self._before(names)
            if not before:
                return
            if before[0] != first:
                first, since = before[0], time.monotonic()
            elif time.monotonic() - since > PATIENCE or first.startswith(self._name):
                # Its owner is gone or hangs; or it is ours, and the answer to it was lost.
                line.post(delete(f"{self._site.queue}/{first}"))
            time.sleep(min(deadline.left(), _PACE * min(len(before), 25)))

    def _take(self, zk: Any) -> Any:
        path = f"{self._site.queue}/{self._name}-"
        return zk.create_async(path, b"", ephemeral=True, sequence=True)

    def leave(self) -> None:
        """Give the ticket back, if there is one; nobody waits for that."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._site.line.post(delete(f"{self._site.queue}/{ticket}"))
