"""What the embedded store does when its files are damaged.

The rule behind all of it: a lost database is never taken for "nothing is revoked". Either
everything is there, or the epoch is another one, or the call raises, or the position shows
that entries are missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sqlite3
import sys
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import (
    ClusterTokenError,
    StoreDamaged,
    StoreNotOpen,
    StoreUnavailable,
)
from flask_clustertoken.stores.base import NewEntry, Put
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.testing.contract import at_once, feed_of

from .folders import Open, by_another_process, database, entry, fill


def test_a_damaged_database_is_set_aside(
    open_: Open, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept under another name, the new one has another epoch, and the log says so."""
    store = open_()
    epoch = fill(store)
    position = store.position()
    store.close()
    database(folder).write_bytes(b"this is no database " * 1000)
    with caplog.at_level(logging.ERROR):
        again = open_()
        assert again.root().epoch != epoch
    assert again.root().state == "open"
    (kept,) = folder.glob("default.sqlite3.damaged-*")
    assert kept.read_bytes().startswith(b"this is no database")
    assert "Everyone signs in again" in caplog.text
    assert "API tokens" in caplog.text
    # Nobody waits for entries that are gone, and no number comes twice.
    assert again.position() == again.head() == again.read(0).floor == position
    assert again.append([entry("new")])[0] > position


def test_of_two_that_find_the_damage_one_repairs(open_: Open, folder: Path) -> None:
    """Both have the same new store, and one damaged file is kept."""
    first = open_()
    epoch = fill(first)
    first.close()
    database(folder).write_bytes(b"\x00garbage" * 3000)
    roots = at_once(*[open_().root for _ in range(4)])
    assert len(set(map(repr, roots))) == 1
    assert epoch not in repr(roots[0])
    assert len(list(folder.glob("default.sqlite3.damaged-*"))) == 1


def whole_or_noticed(store: DirectoryStore, epoch: str, count: int) -> bool:
    try:
        if store.root().epoch != epoch or store.position() > store.head():
            return True
        found = feed_of(store)
        chain = [one.prev for one in found] == [0, *[one.seq for one in found[:-1]]]
        return len(found) == count or not chain or found[-1].seq != store.head()
    except ClusterTokenError:
        return True


def test_a_truncated_database_is_not_an_empty_one(open_: Open, folder: Path) -> None:
    """Cut off anywhere, it is whole, or has another epoch, or raises."""
    store = open_()
    epoch = fill(store)
    store.close()
    whole = database(folder).read_bytes()
    cuts = [0, 1, 15, 16, 18, 99, 100, 101, 512, 1024, 4095, 4096, 4097, 8192, 12_288]
    cuts += [len(whole) - 4096, len(whole) - 1]
    for cut in cuts:
        database(folder).write_bytes(whole[:cut])
        with open_() as again:
            assert whole_or_noticed(again, epoch, 40), cut


def test_flipped_bytes_are_not_taken_for_an_empty_feed(open_: Open, folder: Path) -> None:
    """With a byte changed anywhere, no entry vanishes unnoticed."""
    store = open_()
    epoch = fill(store)
    counter = store.position()
    store.close()
    whole = database(folder).read_bytes()
    chosen = random.Random(7)
    places = [*range(0, 100, 7), *(chosen.randrange(len(whole)) for _ in range(80))]
    for place in places:
        (folder / "default.head").write_bytes(counter.to_bytes(8, sys.byteorder))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chosen.randrange(8)
        database(folder).write_bytes(flipped)
        with open_() as again:
            assert whole_or_noticed(again, epoch, 40), place


def test_damage_that_shows_while_it_is_open_closes_the_store(
    open_: Open, folder: Path, clock: ManualClock
) -> None:
    """The call that meets it raises; the next one finds a new store with another epoch."""
    store = open_()
    epoch = fill(store)
    store.close()
    again = open_()
    assert again.root().epoch == epoch
    by_another_process(
        "import sys; f = open(sys.argv[1], 'r+b'); size = f.seek(0, 2); f.seek(0);"
        "f.write(b'\\xff' * size); f.close()",
        database(folder),
    )
    fresh = open_()
    assert fresh.root().epoch != epoch
    clock.advance(1)
    assert again.root() == fresh.root()


def test_an_error_of_damage_is_said_and_looked_into(open_: Open, folder: Path) -> None:
    """A page of records that cannot be read raises :class:`StoreDamaged`; then all is checked."""
    store = open_()
    epoch = fill(store, 400)
    store.close()
    content = bytearray(database(folder).read_bytes())
    with contextlib.closing(sqlite3.connect(database(folder))) as db:
        ((root_page,),) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'records'"
        ).fetchall()
    start = (root_page - 1) * 4096
    content[start : start + 4096] = b"\xee" * 4096
    database(folder).write_bytes(content)
    again = open_()
    assert again.root().epoch == epoch
    with pytest.raises(StoreDamaged) as caught:
        again.get("record/7")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert again.root().epoch != epoch
    assert again.get("record/7") is None


def test_a_damaged_feed_is_found_at_opening(open_: Open, folder: Path) -> None:
    """Not only when somebody reads that page: opening looks through all revocations."""
    store = open_()
    for number in range(20):
        store.append([NewEntry(f"e{number}", bytes(3000), None)])
    epoch = store.root().epoch
    store.close()
    content = bytearray(database(folder).read_bytes())
    with contextlib.closing(sqlite3.connect(database(folder))) as db:
        ((root_page,),) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'feed'"
        ).fetchall()
    start = (root_page - 1) * 4096
    # A page with children: the last eight bytes hold a pointer to one and its number.
    assert content[start] == 5
    content[start + 4088 : start + 4096] = b"\xff" * 8
    database(folder).write_bytes(content)
    again = open_()
    assert again.root().epoch != epoch
    assert len(list(folder.glob("*.damaged-*"))) == 1


def test_an_exception_undoes_what_was_written(open_: Open) -> None:
    """Whatever goes wrong in a transaction, nothing of it stays."""
    store = open_()
    (first,) = store.append([entry("a")])
    # The second id is known, which only the first of an append may be.
    with pytest.raises(StoreUnavailable):
        store.append([entry("b"), entry("a")], [Put("key", b"", None)])
    assert store.get("key") is None
    assert [one.id for one in feed_of(store)] == ["a"]
    assert store.position() == store.head() == first


def test_a_backup_is_made_while_it_runs(open_: Open, folder: Path, tmp_path: Path) -> None:
    """As the note in the folder says: through a connection that only reads."""
    store = open_()
    epoch = fill(store)
    by_another_process(
        "import sqlite3, sys;"
        "source = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True);"
        "target = sqlite3.connect(sys.argv[2]); source.backup(target); target.close()",
        database(folder),
        tmp_path / "copy.sqlite3",
    )
    (tmp_path / "restored").mkdir(mode=0o700)
    os.rename(tmp_path / "copy.sqlite3", tmp_path / "restored" / "default.sqlite3")
    restored = open_(tmp_path / "restored")
    assert restored.root().epoch == epoch
    assert feed_of(restored) == feed_of(store)
    assert restored.position() == store.position()


def test_the_log_does_not_grow_without_end(open_: Open, folder: Path) -> None:
    """It is copied into the database now and then, and written over from its start."""
    store = open_()
    for number in range(1200):
        store.put(f"key/{number % 50}", os.urandom(20_000), None)
    assert (folder / "default.sqlite3-wal").stat().st_size < 12 << 20
    assert (folder / "default.sqlite3").stat().st_size > 1 << 20


def test_another_programs_database_is_left_alone(open_: Open, folder: Path) -> None:
    """It is neither used nor moved."""
    folder.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(database(folder))) as db:
        db.execute("CREATE TABLE theirs (x)")
        db.commit()
    with pytest.raises(StoreDamaged, match="another program"):
        open_().root()
    assert list(folder.glob("*damaged*")) == []


def test_a_newer_format_is_not_opened(open_: Open, folder: Path) -> None:
    """The error says which format it is and which this version reads."""
    store = open_()
    fill(store, 1)
    store.close()
    with contextlib.closing(sqlite3.connect(database(folder))) as db:
        db.execute("UPDATE meta SET format = 7")
        db.commit()
    with pytest.raises(StoreNotOpen, match=r"format 7.*up to 1"):
        open_().get("record/0")
