"""What processes share over a store: the same tests for each kind of it, with its real server."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.shared.fileinfo import PIECE
from tests.rounds import rounds

WORKER = Path(__file__).with_name("worker.py")


class Place(NamedTuple):
    """Where the processes of one test meet."""

    url: str
    realm: str = "default"


def settings(place: Place) -> Settings:
    return Settings(store=place.url, realm=place.realm, secret=("k" * 40,))


@contextlib.contextmanager
def worker(place: Place, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process; killed at the end if it is still there."""
    command = [sys.executable, str(WORKER), *place, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def looking(place: Place) -> Iterator[TokenAuthority]:
    """A look at the store from this process; it is there when a worker begins."""
    made = TokenAuthority(settings(place), active=False)
    made.store.root()
    yield made
    made.close()


class SharedDataContract:
    """Whoever derives gives the fixture ``place``."""

    #: Pieces that this process holds at most at any moment; a driver may have copies of its own.
    pieces_held = 4

    @pytest.fixture
    def node(self, place: Place) -> Iterator[TokenAuthority]:
        with looking(place) as node:
            yield node

    def test_updates_of_many_processes_lose_nothing(
        self, place: Place, node: TokenAuthority
    ) -> None:
        """8 processes add to one list: every number of each is there once, in its order."""
        many, count = rounds(4, 8), rounds(25, 500)
        with contextlib.ExitStack() as stack:
            workers = [
                stack.enter_context(worker(place, "update", name, count)) for name in range(many)
            ]
            assert [line(one) for one in workers] == ["done"] * many
        found = node.shared("lists").get("all")
        assert len(found) == many * count
        for name in range(many):
            assert [number for who, number in found if who == name] == list(range(count))

    def test_a_slot_runs_once_whoever_is_killed(
        self, place: Place, node: TokenAuthority, tmp_path: Path
    ) -> None:
        """Each of many slots ran once or, where its process was killed, not at all."""
        many, slots, killed = rounds(6, 50), rounds(60, 200), rounds(2, 10)
        log = tmp_path / "ran"
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(worker(place, "once", log, slots)) for _ in range(many)]
            for one in workers:
                assert line(one) == "ready"
            for one in workers[:killed]:
                one.send_signal(signal.SIGKILL)
            assert [line(one) for one in workers[killed:]] == ["done"] * (many - killed)
        ran = Counter(log.read_text().split())
        assert set(ran.values()) == {1}
        assert slots - killed <= len(ran) <= slots

    def test_one_process_after_the_other_holds_the_lease(
        self, place: Place, node: TokenAuthority
    ) -> None:
        """Who lets go is followed by whoever waits, under a higher fence; meanwhile by nobody."""
        with contextlib.ExitStack() as stack:
            with node.shared("tasks").lease("lease", 20.0) as lease:
                other = stack.enter_context(worker(place, "hold", 20.0))
                assert lease.held
            assert int(line(other).removeprefix("fence ")) > lease.fence
            assert not node.shared("tasks").lease("lease", 20.0).take()

    def test_a_large_file_needs_the_memory_of_few_pieces(self, node: TokenAuthority) -> None:
        """Up and down, however large it is; and it comes back whole."""
        pieces = rounds(16, 84)  # 3 MB, and 16 MB
        node.files("fonts").put("warm", b"x" * (PIECE + 1))
        node.files("fonts").open("warm").read()
        tracemalloc.start()
        try:
            info = node.files("fonts").put("large", Endless(pieces))
            up = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            whole = sha256()
            with node.files("fonts").open("large") as opened:
                while some := opened.read(PIECE // 3):
                    whole.update(some)
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert info.size == pieces * PIECE
        assert whole.hexdigest() == info.sha256
        assert max(up, down) < self.pieces_held * PIECE, (up / PIECE, down / PIECE)


class Endless(io.RawIOBase):
    """A stream of *pieces* that nobody holds in memory."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces * PIECE
        self._block = bytes(range(256)) * 32

    def read(self, size: int = -1) -> bytes:
        some = self._block[: min(size, self._left)]
        self._left -= len(some)
        return some
