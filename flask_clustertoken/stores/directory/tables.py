"""What is done with the tables of the embedded store inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import rules
from ..base import Add, Change, Delete, NewEntry, Put, Record, Root
from .database import Connection

META = "SELECT epoch, state, moved_to, format, head, floor FROM meta"
ENTRY = "seq, prev, id, body, keep_until"
SAVE_RECORD = "INSERT OR REPLACE INTO records (key, value, expires_at) VALUES (?, ?, ?)"
SAVE_ENTRY = f" INTO feed ({ENTRY}) VALUES (?, ?, ?, ?, ?)"


def said(rows: list[Any]) -> tuple[Root, int, int]:
    """What the answer to :data:`META` says: the root, the feed's head and its floor."""
    epoch, state, moved_to, number, head, floor = rows[0]
    rules.require_known_format(number)
    return Root(epoch, state, moved_to, number), head, floor


def require_open(db: Connection) -> None:
    """:class:`StoreNotOpen` if the store is sealed."""
    rules.require_open(said(db.execute(META).fetchall())[0])


def alive(db: Connection, key: str, now: float) -> Record | None:
    """The record under *key* if it lives at *now*."""
    rows = db.execute("SELECT value, expires_at FROM records WHERE key = ?", (key,)).fetchall()
    record = Record(*rows[0]) if rows else None
    return record if record is not None and record.alive(now) else None


def head_of(db: Connection) -> int:
    head: int = db.execute("SELECT head FROM meta").fetchall()[0][0]
    return head


def last_of(db: Connection) -> tuple[int, str | None]:
    """The feed's last number, and the id of the entry there (``None``: it was trimmed)."""
    head = head_of(db)
    rows = db.execute("SELECT id FROM feed WHERE seq = ?", (head,)).fetchall()
    return head, rows[0][0] if rows else None


def make(db: Connection, changes: Sequence[Change], now: float) -> None:
    """Make *changes*; :class:`Conflict` if a condition did not hold before the first of them."""
    rules.check_conditions(changes, lambda: last_of(db), lambda key: alive(db, key, now))
    for change in changes:
        if isinstance(change, Add | Put):
            db.execute(SAVE_RECORD, (change.key, change.value, change.expires_at))
        elif isinstance(change, Delete):
            db.execute("DELETE FROM records WHERE key = ?", (change.key,))


def numbers_of(db: Connection, entries: Sequence[NewEntry]) -> list[int]:
    """The numbers of *entries* if the first of them was appended before, else nothing."""
    known: dict[str, int] = {}
    for entry in entries:
        for (seq,) in db.execute("SELECT seq FROM feed WHERE id = ?", (entry.id,)).fetchall():
            known[entry.id] = seq
        if not known:
            return []
    # One that was trimmed since had the number after its neighbour's.
    return [known.get(entry.id, known[entries[0].id] + i) for i, entry in enumerate(entries)]


def add_entries(
    db: Connection, entries: Sequence[NewEntry], now: float, above: int = 0
) -> list[int]:
    """Append *entries* with consecutive numbers after the head, and above *above*.

    The counter stands above the head after an old copy of the database was put back: the
    numbers that were given out before are not given out again.
    """
    if not entries:
        return []
    head = head_of(db)
    first = rules.next_seq(head, now, max(above, db.counted))
    seqs = list(range(first, first + len(entries)))
    db.executemany(
        "INSERT" + SAVE_ENTRY,
        [
            (seq, prev, new.id, new.body, new.keep_until)
            for seq, prev, new in zip(seqs, [head, *seqs], entries, strict=False)
        ],
    )
    db.execute("UPDATE meta SET head = ?", (seqs[-1],))
    return seqs
