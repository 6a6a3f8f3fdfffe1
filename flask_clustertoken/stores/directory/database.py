"""The SQLite database of one realm, as this process has it open.

Journal: write-ahead, so that readers never wait. SQLite before 3.51.3 can lose commits when
one connection resets that log while another checkpoints it. So every write *and* every
checkpoint here happens under one lock, the counter's, and SQLite's own checkpoints are off:
writer and checkpointer never run at once, with whichever SQLite Python was built.
(The checkpoint of the very last connection that closes is safe: it has the file alone.)

Fork: SQLite keeps its file locks in memory that a child inherits although the kernel's locks
are not. A child that opened the same file while a copy of the parent's connection lies in
its memory would think locks held that are not, and a log could be deleted under it. So
before a fork the connections of this process are brought in and closed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import forks
from ...errors import StoreUnavailable
from .counter import Counter, Identity, exclusive, identity, pause

#: Connections kept open; more threads than this at once open and close their own.
POOL = 4
#: Seconds that SQLite itself waits for a lock. Our writers queue outside, so it only meets
#: an operator's shell or a recovery.
_PATIENCE = 1.0
#: Commits of this process between two checkpoints, and when the log is long.
_COMMITS, _COMMITS_LONG, _LONG_LOG = 256, 32, 4 << 20


class Replaced(Exception):
    """Its path leads to another file than the one that is open here."""


class Connection(sqlite3.Connection):
    """A connection with what was last set on it, and the counter when its transaction began."""

    ticket: object = None
    durable: bool | None = None
    patience: float = _PATIENCE
    counted: int = 0


_forking = False
_databases: weakref.WeakSet[Database] = weakref.WeakSet()
#: A child's copies of its parent's connections, and the files that they are open on.
_graveyard: list[sqlite3.Connection] = []
_inherited: set[Identity] = set()


def _before_fork() -> None:
    global _forking
    _forking = True
    for database in list(_databases):
        database.bring_in()


def _after_fork() -> None:
    global _forking
    _forking = False


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database.abandon()
    _after_fork()


forks.around(_before_fork, _after_fork)
forks.in_child("files", _after_fork_in_child)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is not whole."""
    code = getattr(error, "sqlite_errorcode", None)  # Python 3.11
    if code is not None:
        return code & 0xFF in {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB
    return "malformed" in str(error) or "not a database" in str(error)


def is_full(error: BaseException) -> bool:
    """Whether there was no room on the disk."""
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


class Database:
    """The open file *path* and the counter that goes with it."""

    def __init__(self, path: str, counter: Counter, timeout: float) -> None:
        self._idle: list[Connection] = []
        self._used: dict[object, Connection | None] = {}
        self._retired = False
        self._commits = 0
        found = identity(path)
        if found is None:
            raise Replaced
        if found in _inherited:
            raise StoreUnavailable(
                f"{path} was in use when this process was forked from another, and cannot be "
                f"opened safely here. Start this process anew, or let it fork before first use."
            )
        self.path = path
        self.counter = counter
        self.identity: Identity = found
        self._patience = min(_PATIENCE, timeout)
        self._timeout = timeout
        _databases.add(self)

    def current(self) -> bool:
        """Whether the paths still lead to the files that are open here."""
        return identity(self.path) == self.identity and self.counter.current()

    # connections: no lock, since taking from and adding to a list or dict is one step

    def _connect(self) -> Connection:
        # "rw" does not make a file that somebody has just deleted.
        db = sqlite3.connect(
            Path(self.path).as_uri() + "?mode=rw",
            uri=True,
            timeout=self._patience,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
        db.patience = self._patience
        try:
            db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            db.execute(f"PRAGMA journal_size_limit = {_LONG_LOG}").fetchall()
            if identity(self.path) != self.identity:
                raise Replaced
        except BaseException:
            db.close()
            raise
        return db

    def take(self) -> Connection:
        """A connection for this thread alone, to be handed to :meth:`give`."""
        ticket, deadline = object(), 0.0
        while True:
            # Entered before looking: either we see the fork coming or it sees us.
            self._used[ticket] = None
            if not _forking:
                break
            del self._used[ticket]
            deadline = deadline or time.monotonic() + self._timeout
            pause(deadline, 0.001, "a fork of this process")
        try:
            try:
                db = self._idle.pop()
            except IndexError:
                db = self._connect()
        except BaseException:
            del self._used[ticket]
            raise
        self._used[ticket] = db
        db.ticket = ticket
        return db

    def give(self, db: Connection) -> None:
        """Take back what :meth:`take` gave; an unfinished transaction is undone."""
        try:
            if db.in_transaction:
                db.rollback()
        except sqlite3.Error:
            db.close()
        else:
            if self._retired or len(self._idle) >= POOL:
                db.close()
            else:
                self._idle.append(db)
        self._used.pop(db.ticket, None)

    def bring_in(self) -> None:
        """Before a fork: wait for the connections that are in use, and close all."""
        deadline = time.monotonic() + self._timeout
        while self._used and time.monotonic() < deadline:
            time.sleep(0.001)
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError, sqlite3.Error):
                self._idle.pop().close()

    def retire(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        self._retired = True
        self._close_idle()

    __del__ = retire

    def abandon(self) -> None:
        """In a fork's child: neither use nor close what a parent had open."""
        left = [db for db in [*self._idle, *self._used.values()] if db is not None]
        if left or self._used:
            _inherited.add(self.identity)
        for db in left:
            _graveyard.append(db)
            with contextlib.suppress(ImportError):
                import ctypes

                # Kept even when the interpreter ends: closing would write and unlock.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
        self._idle, self._used = [], {}

    # reading and writing

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for what is neither one statement nor one step under the lock."""
        db = self.take()
        try:
            yield db
        finally:
            self.give(db)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement, which is one snapshot; none is left open."""
        db = self.take()
        try:
            return db.execute(sql, parameters).fetchall()
        finally:
            self.give(db)

    @contextmanager
    def transaction(self, deadline: float, *, durable: bool) -> Iterator[Connection]:
        """One step under the host's write lock: committed at the end, undone by an exception.

        With *durable* it is on the disk when this ends. The counter is at the head of the
        feed before the lock is let go, also where a killed process left it behind.
        Raises :class:`Replaced`, with nothing done, if the files are not those of the path.
        """
        with self._locked(deadline):
            db = self.take()
            try:
                self._begin(db, deadline, durable)
                yield db
                (head,) = db.execute("SELECT head FROM meta").fetchall()[0]
                db.execute("COMMIT")
                self.counter.raise_to(head)
                self._checkpoint(db)
            except sqlite3.Error as error:
                if is_full(error):
                    self._make_room(db)
                raise
            finally:
                self.give(db)

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(exclusive(self.counter.path, deadline))
            except FileNotFoundError:
                raise Replaced from None
            if not self.current():
                raise Replaced
            yield

    def _begin(self, db: Connection, deadline: float, durable: bool) -> None:
        if db.durable is not durable:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}").fetchall()
            db.durable = durable
        patience = max(0.01, min(self._patience, round(deadline - time.monotonic(), 1)))
        if db.patience != patience:
            db.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}").fetchall()
            db.patience = patience
        db.execute("BEGIN IMMEDIATE")
        db.counted = self.counter.value

    def _checkpoint(self, db: Connection) -> None:
        self._commits += 1
        if self._commits < _COMMITS_LONG:
            return
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._commits < _COMMITS and os.stat(self.path + "-wal").st_size < _LONG_LOG:
                return
            self._commits = 0
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _make_room(self, db: Connection) -> None:
        # Once all of the log is copied it is written over from its start. So where somebody
        # else's files fill the disk, small changes go on: above all the proofs of freshness.
        with contextlib.suppress(sqlite3.Error):
            if db.in_transaction:
                db.rollback()
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def repair_counter(self, head: int) -> None:
        """Raise the counter to *head* unless a writer, who does so too, is at it now."""
        with contextlib.suppress(StoreUnavailable, OSError, Replaced), self._locked(0.0):
            self.counter.raise_to(head)
