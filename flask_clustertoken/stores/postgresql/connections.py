"""One process's connections to the primary, and statements run over them."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ...errors import StoreUnavailable
from ..deadline import Deadline
from .driver import Ask, LineCut, Row, Session, StatementRefused
from .place import PostgreSQLOptions, PostgreSQLPlace, named
from .statements import statement

#: Seconds before a step is tried again that was undone (a deadlock) or found a broken line.
_PAUSE = 0.02


class ReadOnlyServer(StoreUnavailable):
    """The server is a standby; nothing was done."""


class NotReplicated(StoreUnavailable):
    """The server did it and says that no standby has confirmed it: it does not count."""


class Connections:
    """Used by one thread at a time each. Made in the process that uses it, after any fork."""

    def __init__(self, place: PostgreSQLPlace, options: PostgreSQLOptions) -> None:
        self.place = place
        #: Whether a program between us and the servers was found.
        self.pooled = False
        self._options = options
        self._hosts = list(place.hosts)
        self._room = threading.BoundedSemaphore(options.connections)
        #: One is kept for what waits for nobody, as a proof of freshness, however many wait.
        self._waiting_room = threading.BoundedSemaphore(max(1, options.connections - 1))
        self._shut = False
        self._idle: deque[Session] = deque()

    @property
    def moves(self) -> bool:
        """Whether another server may take the primary's place."""
        return len(self.place.hosts) > 1

    def ask(
        self, deadline: Deadline, *asked: Ask, again: bool = False, waits: bool = False
    ) -> list[list[Row]]:
        """The rows that each statement answers, all of them one transaction on the primary.

        *again*: it does no harm to do it twice, where a connection turns out to be gone.
        *waits*: it takes its turn in the server, for a lock.
        Raises :class:`NotReplicated` where the server warned: it does so when somebody cancelled
        the wait for a standby, and then answers that all is done.
        """
        while True:
            try:
                with self.session(deadline, waits=waits) as session:
                    answers = session.ask(deadline, *asked)
                    if session.warned:
                        raise NotReplicated(
                            "the PostgreSQL server gave up waiting for its standby: what was "
                            "written may be lost in a fail-over, so it does not count"
                        )
                    return answers
            except LineCut as cut:
                # (The others are no better, and the next call asks anew who is the primary.)
                self.drop()
                if cut.connecting or not (cut.broken and again) or deadline.over:
                    raise
            except StatementRefused as refusal:
                if refusal.state not in ("40001", "40P01") or deadline.over:
                    raise explained(refusal) from refusal
            time.sleep(_PAUSE * (0.5 + random.random()))

    @contextmanager
    def session(self, deadline: Deadline, *, waits: bool = False) -> Iterator[Session]:
        """A connection for some steps of one thread; given back unless it broke."""
        with ExitStack() as rooms:
            for room in (self._waiting_room, self._room) if waits else (self._room,):
                if not room.acquire(timeout=deadline.left()):
                    raise StoreUnavailable(
                        f"all {self._options.connections} connections of this process to the "
                        "PostgreSQL server are in use"
                    )
                rooms.callback(room.release)
            session = self._take(deadline)
            try:
                yield session
            finally:
                if self._shut:
                    session.close()
                elif not session.closed:
                    self._idle.append(session)

    def _take(self, deadline: Deadline) -> Session:
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                return self.connect(deadline)
            if session.usable:
                return session
            session.close()

    def connect(self, deadline: Deadline, place: PostgreSQLPlace | None = None) -> Session:
        """A connection to the first host that is a primary, asked one by one.

        Each has its share of the time that is left.
        """
        place = place or self.place
        hosts = self._hosts if place is self.place else list(place.hosts)
        trouble: list[str] = []
        cause: Exception | None = None
        for number, host in enumerate(list(hosts)):
            patience = Deadline(deadline.left() / (len(hosts) - number))
            try:
                session = Session(host, self._said(place), patience)
                greeting = statement("greet", self._options.schema)
                ((row,),) = session.ask(patience, (greeting, (str(session.greeted_by),)))
            except (StoreUnavailable, TimeoutError) as error:
                cause = error
                trouble.append(str(error) or named(host))
                continue
            session.find_out(row[0])
            if place is self.place:
                self.pooled = session.pooled
                # The one that answers is asked first the next time.
                self._hosts = [host, *(one for one in hosts if one != host)]
            return session
        cut = LineCut("; ".join(trouble))
        cut.broken = cut.connecting = True
        raise cut from cause

    def _said(self, place: PostgreSQLPlace) -> Mapping[str, str]:
        options = self._options
        said = {
            "fallback_application_name": "clustertoken",
            "target_session_attrs": "read-write",
            **dict(place.libpq),
            "client_encoding": "UTF8",
            "dbname": place.database,
        }
        user = place.username or options.username
        password = place.password or options.password
        if user:
            said["user"] = user
        if password:
            said["password"] = password
        return said

    def drop(self) -> None:
        """Close what nobody uses: the next call asks anew who is the primary."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def shut(self) -> None:
        """Close them all; those in use when their step is over."""
        self._shut = True
        self.drop()

    def abandon(self) -> None:
        """In a fork's child: the sockets are the parent's too, so nothing is said over them."""
        self._idle = deque()


_MEANT = {
    "28": "the PostgreSQL server does not let this role in: look at its name and password in "
    "STORE, in STORE_OPTIONS or in ~/.pgpass, and at the server's pg_hba.conf",
    "3D000": "the PostgreSQL server has no such database as STORE names",
    "53100": "the PostgreSQL server's disk is full: it takes nothing new",
    "53200": "the PostgreSQL server is out of memory",
    "53300": "the PostgreSQL server has no connection left (max_connections): set "
    'STORE_OPTIONS {"connections": …} lower, raise it, or put PgBouncer between',
    "55P03": "somebody holds a lock on our tables in PostgreSQL for too long",
    "57014": "a statement was cancelled on the PostgreSQL server (statement_timeout?)",
    "42501": "this role may not use our tables in PostgreSQL: 'flask tokens schema --sql' "
    "prints what an administrator has to run, grants included",
}


def explained(refusal: StatementRefused) -> StoreUnavailable:
    """What a server's refusal means for the caller."""
    if refusal.state == "25006" or (refusal.state == "55000" and "recovery" in refusal.said):
        return ReadOnlyServer("the PostgreSQL server is a standby")
    for state, meaning in _MEANT.items():
        if refusal.state.startswith(state):
            return StoreUnavailable(f"{meaning}. It said: {refusal.said}")
    return refusal
