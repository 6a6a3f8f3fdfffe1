"""Many processes on one embedded store: nothing is lost, whoever dies or forks meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.stores.base import Entry, NewEntry
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.directory.counter import exclusive
from flask_clustertoken.testing.contract import at_once, feed_of, in_a_child
from tests.rounds import rounds

pytestmark = pytest.mark.processes

APPENDER = Path(__file__).with_name("appender.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def store(folder: Path) -> Iterator[DirectoryStore]:
    with DirectoryStore(folder) as store:
        yield store


def entry(name: str) -> NewEntry:
    return NewEntry(name, b"body", None)


@contextlib.contextmanager
def appender(folder: Path, name: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that appends *count* entries; killed at the end if it is still there."""
    command = [sys.executable, str(APPENDER), str(folder), name, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(program: str, *arguments: object) -> str:
    """What *program* prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(APPENDER.parents[2])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_chain(entries: list[Entry]) -> None:
    assert [one.prev for one in entries] == [0, *[one.seq for one in entries[:-1]]]


def test_processes_that_append_at_once_lose_nothing(folder: Path, store: DirectoryStore) -> None:
    """Each acknowledged number is in every other process's position at once, the position
    never goes back nor ahead of what can be read, and the chain has no gap."""
    store.root()
    given: list[list[int]] = [[], [], [], []]
    finished = threading.Event()

    def collecting(index: int) -> bool:
        with appender(folder, f"p{index}", 150) as process:
            assert process.stdout is not None
            for line in process.stdout:
                assert store.position() >= int(line)
                given[index].append(int(line))
        return process.wait(20) == 0

    def watching() -> bool:
        last = 0
        with DirectoryStore(folder) as reader:
            while not finished.is_set():
                position = reader.position()
                assert position >= last
                assert reader.read(last).seq >= position
                last = position
        return True

    def all_collecting() -> bool:
        try:
            return all(
                answer is True
                for answer in at_once(*[partial(collecting, index) for index in range(4)])
            )
        finally:
            finished.set()

    assert at_once(all_collecting, watching) == [True, True]
    entries = feed_of(store)
    assert sorted(chain(*given)) == [one.seq for one in entries]
    assert len(entries) == 600
    assert_chain(entries)
    assert store.position() == store.head() == entries[-1].seq


def test_killed_processes_leave_a_clean_store(folder: Path) -> None:
    """Killed at any moment: what was acknowledged is there, no lock is left, nothing is broken."""
    moments = random.Random(3)
    acknowledged: list[int] = []
    for round_ in range(rounds(8, 1_000)):
        with (
            appender(folder, f"r{round_}a", 10_000) as first,
            appender(folder, f"r{round_}b", 10_000) as second,
        ):
            for process in (first, second):
                assert process.stdout is not None
                acknowledged.append(int(process.stdout.readline()))
            # The other one's pace has nothing to do with what the first is just doing.
            assert second.stdout is not None
            for _ in range(moments.randrange(20)):
                acknowledged.append(int(second.stdout.readline()))
            first.kill()
            assert first.stdout is not None
            acknowledged += [int(line) for line in first.stdout if line.endswith("\n")]
            # The other one goes on: no lock died with the first.
            assert second.stdout is not None
            acknowledged += [int(second.stdout.readline()) for _ in range(3)]
            second.kill()
            acknowledged += [int(line) for line in second.stdout if line.endswith("\n")]
        with DirectoryStore(folder, timeout=10) as store:
            (seq,) = store.append([entry(f"after{round_}")])
            assert store.position() == store.head() == seq
            acknowledged.append(seq)
    with DirectoryStore(folder) as store:
        entries = feed_of(store)
        assert set(acknowledged) <= {one.seq for one in entries}
        assert_chain(entries)
        # An entry and its record are there together or not at all.
        names = [one.id for one in entries if one.id.startswith("r")]
        assert store.get_many(names).keys() == set(names)
    assert not list(folder.glob("*damaged*"))


def test_children_forked_from_a_busy_process_use_the_store(
    folder: Path, store: DirectoryStore
) -> None:
    """While threads of the parent write, each child opens the store anew and none hangs."""
    finished = threading.Event()
    store.root()

    def busy(index: int) -> list[int]:
        given = []
        while not finished.is_set():
            given += store.append([entry(f"busy{index}-{len(given)}")])
        return given

    def writing(number: int) -> bool:
        return all(store.append([entry(f"child{number}-{i}")]) for i in range(5))

    def forking() -> list[int]:
        try:
            for number in range(8):
                assert in_a_child(partial(writing, number))
        finally:
            finished.set()
        return []

    answers = at_once(partial(busy, 0), partial(busy, 1), forking)
    given = [seq for answer in answers for seq in answer]
    entries = feed_of(store)
    assert {*given} <= {one.seq for one in entries}
    assert len(entries) == len(given) + 40
    assert_chain(entries)


def test_a_child_never_opens_what_its_parent_was_using(store: DirectoryStore) -> None:
    """A connection in use while the process forks, for longer than any call may take, leaves
    locks in the child's memory that nobody holds: the child refuses instead of guessing."""
    store.put("key", b"", None)
    database = store._files.database()
    database._timeout = 0.1

    def refused() -> bool:
        try:
            store.get("key")
        except StoreUnavailable as error:
            return "forked" in str(error)
        return False

    connection = database.take()
    try:
        assert in_a_child(refused)
    finally:
        database.give(connection)
    assert store.get("key") is not None
    assert in_a_child(lambda: store.get("key") is not None)


def test_a_child_does_not_keep_the_parents_lock(folder: Path, store: DirectoryStore) -> None:
    """Forked while the lock is held, it neither holds nor frees it."""
    store.root()
    path = str(folder / "default.head")

    def child() -> bool:
        # Freed by closing? Then the parent's lock would be gone as well.
        try:
            with exclusive(path, time.monotonic() + 0.2):
                return False
        except StoreUnavailable:
            return True

    with exclusive(path, time.monotonic() + 5):
        assert in_a_child(child)
    store.append([entry("a")])


def test_a_child_that_exits_leaves_the_parents_store_alone(folder: Path) -> None:
    """Also one that ends as interpreters do, with all their finalisers."""
    program = """
import os, sys
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.stores.directory.store import DirectoryStore
store = DirectoryStore(sys.argv[1])
store.append([NewEntry("before", b"", None)])
child = os.fork()
if child == 0:
    if sys.argv[2] == "use":
        store.append([NewEntry("child", b"", None)])
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
store.append([NewEntry("after", b"", None)])
print(store.head() == store.position(), os.path.exists(sys.argv[1] + "/default.sqlite3-wal"))
os.kill(os.getpid(), 9) if sys.argv[2] == "kill" else store.close()
"""
    for how in ("use", "idle"):
        assert run(program, folder / how, how) == "True True\n"
        with DirectoryStore(folder / how) as store:
            names = [one.id for one in feed_of(store)]
        assert names == (["before", "child", "after"] if how == "use" else ["before", "after"])


def test_greenlets_share_the_store(folder: Path) -> None:
    """Under gevent a greenlet that waits for the lock lets the others go on."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    program = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from flask_clustertoken.stores.directory.counter import exclusive
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.stores.directory.store import DirectoryStore
store = DirectoryStore(sys.argv[1], timeout=30)
store.root()
ticks = []
def tick():
    while len(ticks) < 1000:
        ticks.append(1)
        time.sleep(0.001)
clock = gevent.spawn(tick)
with exclusive(sys.argv[1] + "/default.head", time.monotonic() + 5):
    jobs = [
        gevent.spawn(store.append, [NewEntry(f"g{number}", b"", None)]) for number in range(50)
    ]
    while len(ticks) < 20:
        time.sleep(0.01)
gevent.joinall(jobs, timeout=30, raise_error=True)
clock.kill()
print(len({job.value[0] for job in jobs}), len(store.read(0).entries))
store.close()
"""
    assert run(program, folder) == "50 50\n"
