"""What the embedded store does when its files are damaged, lost, replaced or out of reach.

The rule behind all of it: a lost database is never taken for "nothing is revoked". Either
everything is there, or the epoch is another one, or the call raises, or the position shows
that entries are missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import (
    ClusterTokenError,
    ConfigurationError,
    StoreDamaged,
    StoreNotOpen,
    StoreUnavailable,
)
from flask_clustertoken.stores.base import NewEntry, Put
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.directory import folder as _folder
from flask_clustertoken.testing.contract import at_once, feed_of, in_a_child

NOBODY = 65534
Open = Callable[..., DirectoryStore]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def open_(folder: Path, clock: ManualClock) -> Iterator[Open]:
    """Gives handles on the store in *folder* and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def make(path: Path = folder, timeout: float = 5.0) -> DirectoryStore:
            store = DirectoryStore(path, clock=clock, timeout=timeout)
            stack.callback(store.close)
            return store

        yield make


def entry(name: str) -> NewEntry:
    return NewEntry(name, b"body of " + name.encode(), None)


def fill(store: DirectoryStore, count: int = 40) -> str:
    """Write records and entries; returns the epoch."""
    for number in range(count):
        store.append([entry(f"e{number}")], [Put(f"record/{number}", b"v" * 200, None)])
    return store.root().epoch


def database(folder: Path) -> Path:
    return folder / "default.sqlite3"


def by_another_process(code: str, *arguments: object) -> None:
    """Run *code* elsewhere: opening a database's file here would drop SQLite's own locks."""
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, timeout=30)


def as_nobody(work: Callable[[], bool]) -> bool:
    """What *work* answers for a user without rights: in a child, which gives root's up."""

    def child() -> bool:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return work()

    return in_a_child(child)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder whose parents everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="clustertoken-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


# -- damage ----------------------------------------------------------------------------


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


# -- lost, replaced, rolled back -------------------------------------------------------


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


# -- rights and room -------------------------------------------------------------------


def test_what_it_makes_is_for_its_owner_alone(open_: Open, folder: Path) -> None:
    """The folder has 0700, each file 0600, and a note says what they are."""
    fill(open_(), 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(made.values()) == {0o600}
    note = (folder / "README.txt").read_text()
    for name in made.keys() - {"README.txt"}:
        assert name.replace("default", "<realm>") in note


def test_a_folder_that_everybody_may_write_is_refused(open_: Open, folder: Path) -> None:
    """Unless its sticky bit keeps others from replacing files."""
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        open_().root()
    assert list(folder.iterdir()) == []
    folder.chmod(0o1777)
    open_().root()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "glusterfs"])
def test_a_network_file_system_is_refused(
    open_: Open, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting and the remedy; nothing is made there."""
    parent = str(folder.parent).replace(" ", "\\040")
    table = (
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"30 20 0:40 / {parent} rw,relatime shared:3 - {kind} server:/export rw\n"
        f"31 20 0:41 / {parent}x rw - ext4 /dev/sdb1 rw\n"
    )
    monkeypatch.setattr(_folder, "_mount_table", lambda: table)
    with pytest.raises(ConfigurationError, match="zookeeper://") as caught:
        open_().root()
    assert caught.value.setting == "STORE"
    assert kind in str(caught.value)
    assert not folder.exists()


def test_a_local_disk_above_a_network_one_is_fine(
    open_: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount that holds the folder decides, the later of two on one point."""
    table = (
        "20 1 0:9 / / rw - nfs server:/ rw\n"
        f"30 20 0:40 / {folder.parent} rw - cifs //server/share rw\n"
        f"31 30 8:2 / {folder.parent} rw - ext4 /dev/sda2 rw\n"
    )
    monkeypatch.setattr(_folder, "_mount_table", lambda: table)
    open_().root()


@pytest.mark.processes
def test_who_cannot_map_the_counter_does_not_open_the_store(open_to_all: Path) -> None:
    """The error names the file and the rights that are missing."""
    path = open_to_all / "shared"
    with DirectoryStore(path) as store:
        store.put("key", b"", None)
    for file in [path, *path.iterdir()]:
        file.chmod(0o755)

    def refused() -> bool:
        try:
            DirectoryStore(path, timeout=1).get("key")
        except StoreUnavailable as error:
            return "default.head" in str(error) and isinstance(error.__cause__, PermissionError)
        return False

    assert as_nobody(refused)


@pytest.mark.processes
def test_a_database_that_may_only_be_read_is_read(open_to_all: Path) -> None:
    """Writing raises; reading goes on where it can."""
    path = open_to_all / "shared"
    with DirectoryStore(path) as store:
        store.append([entry("a")], [Put("key", b"value", None)])
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
            os.chown(path / "default.head", NOBODY, NOBODY)
        for file in path.glob("default.sqlite3*"):
            file.chmod(0o444)

        def read_only() -> bool:
            mine = DirectoryStore(path, timeout=1)
            found = mine.get("key")
            for write in (
                lambda: mine.put("x", b"", None),
                lambda: mine.append([entry("b")]),
            ):
                try:
                    write()
                except StoreUnavailable:
                    continue
                return False
            mine.close()
            return found is not None and found.value == b"value"

        assert as_nobody(read_only)
        assert [one.id for one in feed_of(store)] == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can meet a folder of somebody else")
def test_root_makes_nothing_in_somebody_elses_folder(open_: Open, folder: Path) -> None:
    """The app could not open what belongs to root; what is there already is used as it is."""
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(StoreUnavailable, match="as root nothing is created"):
        open_().root()
    with pytest.raises(StoreUnavailable, match="as root nothing is created"):
        open_(folder / "below").root()
    assert list(folder.iterdir()) == []
    os.chown(folder, 0, 0)
    with open_() as store:
        store.put("key", b"", None)
    for path in [folder, *folder.iterdir()]:
        os.chown(path, NOBODY, NOBODY)
    with open_() as store:
        store.put("more", b"", None)
        assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}


def test_a_lock_held_too_long_is_an_error(open_: Open, folder: Path) -> None:
    """A write ends at its deadline; reading does not wait; afterwards all goes on."""
    store = open_(timeout=0.2)
    fill(store, 1)
    with open(folder / "default.head", "r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for write in (
            lambda: store.append([entry("x")]),
            lambda: store.put("key", b"", None),
            lambda: store.announce("n", b""),
        ):
            with pytest.raises(StoreUnavailable, match="deadline"):
                write()
        assert store.get("record/0") is not None
        assert store.read(0).seq == store.head() == store.position()
    store.append([entry("x")])


@pytest.mark.processes
def test_a_database_locked_by_a_shell_is_an_error(open_: Open, folder: Path) -> None:
    """Somebody else's transaction does not hold a call beyond its deadline."""
    store = open_(timeout=0.3)
    fill(store, 1)
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "db.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()",
            str(database(folder)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnavailable) as caught:
            store.append([entry("x")])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert store.get("record/0") is not None
        shell.communicate(timeout=20)
    store.append([entry("x")])


def append_until_full(store: DirectoryStore) -> int:
    """Append until the store refuses; returns how many entries were acknowledged."""
    count = 0
    with pytest.raises(StoreUnavailable) as caught:  # noqa: PT012
        while count < 10_000:
            store.append([NewEntry(f"big{count}", os.urandom(20_000), None)])
            count += 1
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    return count


@pytest.mark.processes
def test_without_room_a_write_fails_whole(folder: Path) -> None:
    """Beyond the file size that the system allows: nothing half-written, reading goes on."""

    def child() -> bool:
        with DirectoryStore(folder, timeout=2) as store:
            store.put("key", b"value", None)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
            count = append_until_full(store)
            assert count > 3
            assert len(feed_of(store)) == count
            assert store.position() == store.head() == feed_of(store)[-1].seq
            assert store.get("key") is not None
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            store.append([entry("room again")])
            return len(feed_of(store)) == count + 1

    assert in_a_child(child)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(point)],
        capture_output=True,
        timeout=20,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True, timeout=20)


def test_on_a_full_disk_nothing_is_half_written(open_: Open, small_disk: Path) -> None:
    """Revoking says that it failed, reading goes on, and with room again all does."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    store = open_(small_disk / "shared")
    store.put("key", b"value", None)
    count = append_until_full(store)
    assert count > 3
    assert len(feed_of(store)) == count
    assert store.position() == store.head() == feed_of(store)[-1].seq
    assert store.get("key") is not None
    ballast.unlink()
    store.append([entry("room again")])
    assert feed_of(open_(small_disk / "shared"))[-1].id == "room again"


def test_when_others_fill_the_disk_nodes_stay_fresh(open_: Open, small_disk: Path) -> None:
    """What needs no more room goes on: a vouch rewrites its entry each time."""
    store = open_(small_disk / "shared")
    store.announce("n1", b"")
    store.put("key", b"value", None)
    store.close()
    store = open_(small_disk / "shared")
    store.vouch("n1", b"")
    with (small_disk / "log").open("wb", buffering=0) as log, contextlib.suppress(OSError):
        while log.write(bytes(512)):
            continue
    for number in range(200):
        store.vouch("n1", b"%d" % number)
    assert store.nodes()[0].info == b"199"
    with pytest.raises(StoreUnavailable):
        store.append([NewEntry("big", os.urandom(200_000), None)])
    assert store.vouch("n1", b"").seq == 0
