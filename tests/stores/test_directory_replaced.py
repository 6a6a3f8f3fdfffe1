"""What the embedded store does when its files are lost, replaced, or an old copy is put back.

The rule behind all of it: a lost database is never taken for "nothing is revoked". Either
everything is there, or the epoch is another one, or the call raises, or the position shows
that entries are missing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import (
    StoreUnavailable,
)
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.testing.contract import feed_of

from .folders import NOBODY, Open, as_nobody, database, entry, fill


def test_a_deleted_database_is_noticed_within_a_second(
    open_: Open, folder: Path, clock: ManualClock
) -> None:
    """The handle that had it open goes over to a new one with another epoch."""
    store = open_()
    epoch = fill(store)
    database(folder).unlink()
    clock.advance(1)
    assert store.root().epoch != epoch
    assert store.get("record/1") is None
    assert store.position() == store.head()


def test_a_write_never_goes_into_a_deleted_database(open_: Open, folder: Path) -> None:
    """It looks at the files under the lock, so it lands where others read."""
    store, other = open_(), open_()
    fill(store)
    database(folder).unlink()
    (seq,) = store.append([entry("after")])
    assert [one.id for one in feed_of(open_())] == ["after"]
    other.announce("n1", b"")
    assert other.vouch("n1", b"").seq == seq


def test_a_vouch_notices_a_replaced_database_at_once(open_: Open, folder: Path) -> None:
    """Another store's database in its place is another epoch, and our node is not in it."""
    store = open_()
    epoch = fill(store)
    store.announce("n1", b"")
    strange = open_(folder.parent / "strange")
    strange.announce("n1", b"")
    strange.close()
    os.replace(folder.parent / "strange" / "default.sqlite3", database(folder))
    for suffix in ("-wal", "-shm"):
        database(folder).with_name(f"default.sqlite3{suffix}").unlink()
    store.vouch("n1", b"")
    assert store.root().epoch != epoch


def test_an_old_copy_put_back_shows_in_the_position(
    open_: Open, folder: Path, tmp_path: Path
) -> None:
    """The position stays above the head; what is appended next is above both, and says
    by its predecessor that something is missing."""
    store = open_()
    fill(store, 5)
    old_head = store.head()
    store.close()
    shutil.copy(database(folder), tmp_path / "backup")
    store = open_()
    seqs = [store.append([entry(f"lost{number}")], above=10**17)[0] for number in range(3)]
    store.close()
    shutil.copy(tmp_path / "backup", database(folder))
    again = open_()
    assert again.head() == old_head < again.position() == seqs[-1]
    again.announce("n1", b"")
    assert again.vouch("n1", b"").seq == old_head
    assert again.position() == seqs[-1]
    (seq,) = again.append([entry("new")])
    assert seq > seqs[-1]
    assert feed_of(again)[-1].prev == old_head
    assert again.position() == again.head() == seq


def test_a_vanished_folder_is_not_made_again(open_: Open, folder: Path, clock: ManualClock) -> None:
    """A handle that had it open says that it is gone; nothing grows in its place."""
    store = open_()
    fill(store, 1)
    shutil.rmtree(folder)
    clock.advance(1)
    for call in (store.root, lambda: store.append([entry("x")]), store.position):
        with pytest.raises(StoreUnavailable, match="shared"):
            call()
    assert not folder.exists()


@pytest.mark.processes
def test_a_folder_that_may_not_be_entered_any_more_is_trouble(open_to_all: Path) -> None:
    """Rights taken away under an open store raise :class:`StoreUnavailable`, not absence."""
    path = open_to_all / "shared"
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)

    def child() -> bool:
        clock = ManualClock()
        with DirectoryStore(path, clock=clock, timeout=1) as store:
            store.announce("n1", b"")
            path.chmod(0)
            clock.advance(1)
            for call in (store.root, store.head, lambda: store.vouch("n1", b"")):
                with pytest.raises(StoreUnavailable) as caught:
                    call()
                assert isinstance(caught.value.__cause__, PermissionError)
                clock.advance(1)
            path.chmod(0o700)
            return store.vouch("n1", b"").seq == 0

    assert as_nobody(child)


@pytest.mark.parametrize("content", [None, b"", b"\x01\x02\x03", b"\xff" * 8])
def test_the_counter_is_made_anew_from_the_database(
    open_: Open, folder: Path, content: bytes | None
) -> None:
    """Deleted, cut or full of nonsense: it is at the head when the store is open."""
    store = open_()
    fill(store, 3)
    head = store.head()
    store.close()
    if content is None:
        (folder / "default.head").unlink()
    else:
        (folder / "default.head").write_bytes(content)
    again = open_()
    assert again.position() == head
    assert again.append([entry("next")])[0] > head


def test_a_counter_deleted_under_an_open_store_is_noticed(open_: Open, folder: Path) -> None:
    """Whoever writes next makes a new one, and the others follow at their next look."""
    store, other = open_(), open_()
    fill(store, 1)
    other.announce("n1", b"")
    (folder / "default.head").unlink()
    (seq,) = store.append([entry("x")])
    assert store.position() == seq
    assert other.vouch("n1", b"").seq == seq
    assert other.position() == seq


@pytest.mark.parametrize("repair", ["head", "vouch", "write", "open"])
def test_a_counter_left_behind_is_raised(open_: Open, folder: Path, repair: str) -> None:
    """A process killed between commit and counter leaves it low: the next look raises it."""
    store, other = open_(), open_()
    other.announce("n1", b"")
    fill(store, 2)
    head = store.head()
    assert store._files.cell is not None
    store._files.cell[0] = 5
    assert other.position() == 5
    assert other.read(0).seq == head
    if repair == "head":
        assert other.head() == head
    elif repair == "vouch":
        assert other.vouch("n1", b"").seq == head
    elif repair == "write":
        other.put("key", b"", None)
    else:
        other = open_()
        other.root()
    assert other.position() == head
