"""A call's end: whatever a call to a server does, it shares what is left of one time."""

from __future__ import annotations

import time


class Deadline:
    """The end of a call."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    def left(self) -> float:
        """Seconds that are left; the time-out that a socket raises too if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call's time is over")
        return left
