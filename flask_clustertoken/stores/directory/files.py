"""One handle's hold on the files of the embedded store: opened late, and watched.

Opened at the first use in a process; opened again after a fork, and when the files turn out
to be replaced. Every access goes through :meth:`Files.query` or :meth:`Files.write`, which
turn what SQLite and the system raise into the family of errors.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...clock import Clock
from ...errors import StoreDamaged, StoreError, StoreUnavailable
from ..rules import was_closed
from . import folder as _folder
from .counter import Counter, exclusive, identity
from .database import Connection, Database, Replaced, is_damage, is_full
from .opening import open_database

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the files were replaced.
LOOK_EVERY = 1.0
#: Times that a call starts over because the files were replaced under it.
_ATTEMPTS = 3

Result = TypeVar("Result")


class Files:
    """The database and the counter of *realm* in *folder*."""

    def __init__(self, folder: str, realm: str, clock: Clock, timeout: float) -> None:
        self._folder = folder
        self._name = os.path.join(folder, realm)
        self._clock = clock
        self._timeout = timeout
        #: The counter's number, while the files are open: ``cell[0]``.
        self.cell: memoryview | None = None
        self._database: Database | None = None
        self._closed = False
        self._look_at = 0.0
        self._opened_before = False
        self._suspect = False

    # life

    def forget(self) -> None:
        """In a fork's child: as if nothing had been opened."""
        if self._database is not None:
            self._database.abandon()
        self._database = self.cell = None

    def close(self) -> None:
        self._closed = True
        self._drop(self._database)

    def check_not_closed(self) -> None:
        if self._closed:
            raise was_closed()

    def _drop(self, database: Database | None) -> None:
        if database is not None:
            # Another thread may have opened the files anew already.
            if self._database is database:
                self._database = self.cell = None
            database.retire()

    def database(self, *, look: bool = False) -> Database:
        """What is open, opened now if need be; each second, or now with *look*, looks whether
        it is still what the path leads to."""
        self.check_not_closed()
        database, now = self._database, self._clock.monotonic()
        if database is not None and (look or now >= self._look_at):
            self._look_at = now + LOOK_EVERY
            try:
                same = database.current()
            except OSError as error:
                raise self._trouble(database, error) from error
            if not same:
                log.warning("The files %s.* were replaced or deleted; opened anew.", self._name)
                self._drop(database)
                database = None
        if database is None:
            database = self._open()
            # Closed by another thread meanwhile: it could not close what was not there yet.
            if self._closed:
                self._drop(database)
                self.check_not_closed()
        return database

    def _open(self) -> Database:
        head = self._name + ".head"
        try:
            _folder.prepare(self._folder, create=not self._opened_before)
            if identity(head) is None:
                _folder.create_file(head)
            with exclusive(head, time.monotonic() + self._timeout) as fd:
                # Another thread may have been here before us.
                database = self._database
                if database is None or not database.current():
                    database = open_database(
                        self._name + ".sqlite3",
                        Counter(head, fd),
                        timeout=self._timeout,
                        now=self._clock.time(),
                        thorough=self._suspect,
                    )
                    self._database, self.cell = database, database.counter.cell
                    self._look_at = self._clock.monotonic() + LOOK_EVERY
                    self._opened_before, self._suspect = True, False
                return database
        except (OSError, sqlite3.Error, Replaced) as error:
            raise StoreUnavailable(
                f"the store {self._name}.* cannot be opened by the user with id {os.geteuid()}, "
                f"who must be able to read and write these files: {error}"
            ) from error

    # access

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement, which is one snapshot."""
        for _ in range(_ATTEMPTS):
            database = self.database()
            try:
                return database.query(sql, parameters)
            except Replaced:
                self._drop(database)
            except (sqlite3.Error, OSError) as error:
                raise self._trouble(database, error) from error
        raise self._replaced_again()

    def write(
        self, work: Callable[[Connection], Result], *, durable: bool = False, look: bool = False
    ) -> Result:
        """Do *work* in one transaction, on the disk before this returns if *durable*.

        *work* may be called twice: what it did first is undone then.
        """
        deadline = time.monotonic() + self._timeout
        for attempt in range(_ATTEMPTS):
            database = self.database(look=look)
            try:
                with database.transaction(deadline, durable=durable) as db:
                    return work(db)
            except Replaced:
                self._drop(database)
            except (sqlite3.Error, OSError) as error:
                # On a full disk room was made for a second try.
                if attempt or not is_full(error):
                    raise self._trouble(database, error) from error
        raise self._replaced_again()

    def repair_counter(self, head: int) -> None:
        """Raise a counter that a killed process left below *head*."""
        database = self._database
        if database is not None and database.counter.value < head:
            database.repair_counter(head)

    def _trouble(self, database: Database, error: Exception) -> StoreError:
        """What SQLite's or the system's error is in the family of errors."""
        if isinstance(error, sqlite3.Error) and is_damage(error):
            # The next call opens it anew, and looks through all of it.
            self._suspect = True
            self._drop(database)
            return StoreDamaged(f"{database.path} is damaged: {error}")
        return StoreUnavailable(f"{database.path}: {error}")

    def _replaced_again(self) -> StoreUnavailable:
        return StoreUnavailable(f"the files {self._name}.* are being replaced all the time")
