"""Opens the database of the embedded store, and begins a new one where it is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from typing import Any

from ...errors import StoreDamaged
from ..base import FORMAT
from .counter import Counter, identity
from .database import Connection, Database, is_damage
from .folder import create_file, explain, may_create
from .tables import META, said

log = logging.getLogger(__name__)

#: In the header of our files, so that another program's database is not taken for ours.
_APPLICATION_ID = 0x466C4354

_SCHEMA = (
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL,"
    " state TEXT NOT NULL, moved_to TEXT NOT NULL, format INTEGER NOT NULL,"
    " head INTEGER NOT NULL, floor INTEGER NOT NULL)",
    "CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL)"
    " WITHOUT ROWID",
    "CREATE INDEX records_end ON records (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE feed (seq INTEGER PRIMARY KEY, prev INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,"
    " body BLOB NOT NULL, keep_until REAL)",
    "CREATE INDEX feed_end ON feed (keep_until) WHERE keep_until IS NOT NULL",
    "CREATE TABLE presence (node_id TEXT PRIMARY KEY, info BLOB NOT NULL,"
    " version INTEGER NOT NULL, changed_at REAL NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)


class Broken(Exception):
    """The file is not a database, or not a whole one."""


def open_database(
    path: str, counter: Counter, *, timeout: float, now: float, thorough: bool
) -> Database:
    """The database *path*, found sound or begun anew; *counter* is at its head or above.

    Called by the holder of the counter's lock, so of several processes one decides. A
    damaged database is kept under another name and never taken for an empty one: the new one
    has an epoch of its own, and no token of another epoch is accepted. A counter above the
    head says that an old copy was put back; it is left there for the follower to find.
    """
    explain(os.path.dirname(path))
    database = _sound(path, counter, timeout, thorough)
    if database is None:
        may_create(os.path.dirname(path))
        if counter.value or _left(path):
            _lost(path, now)
        create_file(path)
        database = Database(path, counter, timeout)
        # The new head is not behind the counter, or every request would wait for entries
        # that nobody has; the floor tells readers of the old feed that they were cut off.
        _fill(database, counter.value)
    _, head, _ = said(database.query(META))
    counter.raise_to(head)
    return database


def _sound(path: str, counter: Counter, timeout: float, thorough: bool) -> Database | None:
    """The database in *path* if there is one and it is whole."""
    if identity(path) is None:
        return None
    database = Database(path, counter, timeout)
    try:
        if _has_content(database, thorough):
            return database
    except Broken as error:
        log.error("The database %s is damaged: %s", path, error)
    except BaseException:
        database.retire()
        raise
    database.retire()
    return None


def _left(path: str) -> bool:
    """Whether anything of a database lies there: not so in a folder that is used first."""
    return identity(path + "-wal") is not None or (
        identity(path) is not None and os.stat(path).st_size > 0
    )


def _lost(path: str, now: float) -> None:
    target = set_aside(path, now)
    log.error(
        "The database %s was damaged, emptied or deleted; what was left of it is %s*. A new "
        "one is begun: no token that was issued before is accepted any more. Everyone signs in "
        "again; API tokens must be issued again, unless a backup is put back.",
        path,
        target,
    )


def set_aside(path: str, now: float) -> str:
    """Rename the database *path* with its log and index; returns its new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target, count = f"{path}.damaged-{stamp}", 1
    while os.path.exists(target) or os.path.exists(target + "-wal"):
        count += 1
        target = f"{path}.damaged-{stamp}-{count}"
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, target + suffix)
    return target


def _has_content(database: Database, thorough: bool) -> bool:
    """Whether there is a database in the file yet; ``False`` where it is empty.

    Looks through the revocations and what is said once; through the records, which may be
    many, only with *thorough*. Raises :class:`Broken` or :class:`StoreDamaged`.
    """
    try:
        with database.connection() as db:
            return _check(db, database.path, thorough)
    except sqlite3.DatabaseError as error:
        missing = "no such table" in str(error) or "no such column" in str(error)
        if is_damage(error) or missing:
            raise Broken(str(error)) from error
        raise


def _check(db: Connection, path: str, thorough: bool) -> bool:
    (application,) = db.execute("PRAGMA application_id").fetchall()[0]
    (things,) = db.execute("SELECT count(*) FROM sqlite_master").fetchall()[0]
    if not application and not things:
        return False
    if application != _APPLICATION_ID:
        raise StoreDamaged(f"{path} is another program's database. Move it away.")
    for what in ("",) if thorough else ("(meta)", "(feed)", "(presence)"):
        found = db.execute(f"PRAGMA quick_check{what}").fetchall()
        if found != [("ok",)]:
            raise Broken(f"quick_check: {found[0][0]}")
    rows: list[Any] = db.execute(META).fetchall()
    types = [str, str, str, int, int, int]
    if len(rows) != 1 or [type(value) for value in rows[0]] != types:
        raise Broken("its first table is not as we write it")
    if rows[0][1] not in ("open", "preparing", "sealed"):
        raise Broken("its state is none that we know")
    return True


def _fill(database: Database, seq: int) -> None:
    """Lay an empty database out, with *seq* as the number that the feed has reached."""
    with database.connection() as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = FULL").fetchall()
        db.durable = True
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement).fetchall()
        db.execute(
            "INSERT INTO meta VALUES (1, ?, 'open', '', ?, ?, ?)",
            (secrets.token_hex(8), FORMAT, seq, seq),
        )
        db.execute("COMMIT")
