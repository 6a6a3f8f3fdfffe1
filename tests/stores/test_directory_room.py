"""What the embedded store does without its lock, and without room on the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.errors import (
    StoreUnavailable,
)
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.testing.contract import feed_of, in_a_child

from .folders import Open, database, entry, fill


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
