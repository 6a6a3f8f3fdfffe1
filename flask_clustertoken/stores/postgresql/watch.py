"""What wakes the follower up: a look at the head, again and again, or a call that is listened for.

Looking costs a row's read each time and works everywhere. ``LISTEN`` is for whoever has a way
past the pooler to the server and connections to spare: nothing is queued for whoever is away, and
behind a pooler it is silently nothing at all.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from ...errors import StoreError
from ..deadline import Deadline
from .driver import Session
from .realm import PostgreSQLRealm
from .statements import quoted

_log = logging.getLogger(__name__)

#: Seconds after which a silent line is asked whether it is there.
_SILENCE = 5.0
#: Seconds between two tries, the first and the longest.
_FIRST, _LONGEST = 0.2, 2.0


class HeadWatch:
    """A thread that looks, or listens, until it is stopped."""

    def __init__(self, realm: PostgreSQLRealm, moved: Callable[[], None], timeout: float) -> None:
        self._realm = realm
        self._moved = moved
        self._timeout = timeout
        self._stopped = threading.Event()
        self._session: Session | None = None
        #: The history that this connection was made in, once it is known.
        self._history = ""
        self._thread = threading.Thread(target=self._run, name="clustertoken-pg", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        session = self._session
        if session is not None:
            session.interrupt()

    def _run(self) -> None:
        pause = _FIRST
        watch = self._listen if self._realm.options.listen else self._look
        while not self._stopped.is_set():
            try:
                self._connect()
                pause = _FIRST
                watch()
            except (StoreError, TimeoutError, OSError):
                _log.debug("the feed's head is not watched", exc_info=True)
            finally:
                self._hang_up()
            if self._stopped.is_set():
                return
            # The line was cut: what happened meanwhile was not seen.
            self._moved()
            self._stopped.wait(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST)

    def _connect(self) -> None:
        realm = self._realm
        self._session = realm.connections.connect(Deadline(self._timeout), realm.options.listen)
        self._history = ""

    @property
    def _on(self) -> bool:
        """Whether to go on over this connection: an old primary may keep it open for ever."""
        self._history = self._history or self._realm.met
        return not self._stopped.is_set() and self._history == self._realm.met

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _head(self) -> int | None:
        if self._session is None:
            return None
        look = (self._realm.text("look"), (self._realm.name,))
        (rows,) = self._session.ask(Deadline(self._timeout), look)
        return int(rows[0][0]) if rows else None

    def _look(self) -> None:
        before = self._head()
        # (What was appended while nobody watched. Said behind the look: what comes from here on
        # is seen to move.)
        self._moved()
        every = self._realm.options.look
        while self._on and not self._stopped.wait(every * (0.75 + random.random() / 2)):
            head = self._head()
            if head != before:
                before = head
                self._moved()

    def _listen(self) -> None:
        session, realm = self._session, self._realm
        if session is None:
            return
        if session.pooled:
            _log.warning(
                "between this node and the PostgreSQL server named by STORE_OPTIONS listen stands "
                "a pooler, behind which LISTEN is nothing: the feed's head is looked at instead"
            )
            self._look()
            return
        realm.run(Deadline(self._timeout), "root")  # (It may be the first that asks.)
        call = (f"LISTEN {quoted(realm.channel)}", ())
        noted = (realm.text("listened"), (realm.name,))
        session.ask(Deadline(self._timeout), call, noted)
        self._moved()
        while self._on:
            if session.notified(_SILENCE):
                self._moved()
            else:
                self._head()
