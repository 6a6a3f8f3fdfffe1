"""The call that wakes the follower up: a subscription on a connection of its own.

Nothing is queued for whoever is away, so a call that is lost costs no more than the time
until the follower looks by itself.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from ...errors import StoreError
from .driver import Contact, Deadline
from .topology import Topology

#: Seconds after which a silent line is asked whether it is there.
_SILENCE = 5.0
#: Seconds between two tries to subscribe, the first and the longest.
_FIRST, _LONGEST = 0.2, 2.0


class Wakeup:
    """A thread that listens until it is stopped."""

    def __init__(
        self, topology: Topology, channel: str, moved: Callable[[], None], timeout: float
    ) -> None:
        self._topology = topology
        self._channel = channel
        self._moved = moved
        self._timeout = timeout
        self._stopped = threading.Event()
        self._contact: Contact | None = None
        self._thread = threading.Thread(target=self._listen, name="clustertoken-redis", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        contact = self._contact
        if contact is not None:
            contact.interrupt()

    def _listen(self) -> None:
        pause = _FIRST
        while not self._stopped.is_set():
            try:
                self._subscribe()
                pause = _FIRST
                self._hear()
            except (StoreError, OSError):
                pass
            finally:
                self._hang_up()
            if self._stopped.is_set():
                return
            # The line was cut: what happened meanwhile was not called out.
            self._moved()
            self._stopped.wait(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST)

    def _hang_up(self) -> None:
        contact, self._contact = self._contact, None
        if contact is not None:
            contact.close()

    def _subscribe(self) -> None:
        self._contact = self._topology.connect(Deadline(self._timeout))
        self._contact.say(Deadline(self._timeout), ("SUBSCRIBE", self._channel))
        answer = self._contact.hear(Deadline(self._timeout))
        if isinstance(answer, Exception):
            raise StoreError("no subscription") from answer
        # (What was appended while nobody listened.)
        self._moved()

    def _hear(self) -> None:
        contact, asked = self._contact, False
        if contact is None:
            return
        while not self._stopped.is_set():
            if contact.silent_for(_SILENCE):
                if asked:
                    return
                asked = True
                contact.say(Deadline(self._timeout), ("PING",))
                continue
            answer = contact.hear(Deadline(self._timeout))
            asked = False
            if isinstance(answer, list) and answer[:1] == [b"message"]:
                self._moved()
