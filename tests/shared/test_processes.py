"""Many processes and one store: nothing is lost, nothing runs twice, whoever dies meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.shared.upload import GRACE, UPLOAD_LIFE
from tests.rounds import rounds
from tests.shared.live import Place, SharedDataContract, line, looking, settings, worker
from tests.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(f"directory://{tmp_path}/shared")


@pytest.fixture
def node(place: Place) -> Iterator[TokenAuthority]:
    with looking(place) as node:
        yield node


class TestSharedDataOnOneHost(SharedDataContract):
    """Over a directory."""


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_the_next_holder_has_it_when_the_last_one_has_lost_it(
    place: Place, node: TokenAuthority, how: str
) -> None:
    """A holder that was frozen says that it is lost as it wakes, whoever has it by then; one that
    was killed holds up the others no longer than its lease and the clocks' difference."""
    seconds = 2.0

    def ask(process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return line(process)

    with worker(place, "hold", seconds) as first:
        fence = int(line(first).removeprefix("fence "))
        os.kill(first.pid, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
        assert not node.shared("tasks").lease("lease", seconds).take()
        began = node.clock.monotonic()
        wait_until(lambda: node.clock.monotonic() > began + seconds)
        later = TokenAuthority(
            settings(place),
            active=False,
            clock=ManualClock(node.clock.time() + SKEW + seconds),
        )
        lease = later.shared("tasks").lease("lease", seconds)
        assert lease.take()
        assert lease.fence > fence
        if how == "frozen":
            os.kill(first.pid, signal.SIGCONT)
            assert ask(first) == "lost"
            assert ask(first) == "lost"
        assert lease.held
        later.close()


def test_three_schedulers_run_each_slot_once(
    place: Place, node: TokenAuthority, tmp_path: Path
) -> None:
    """APScheduler on three servers, of which some are killed and started again."""
    log, wanted = tmp_path / "ran", rounds(3, 60)

    def ran() -> list[str]:
        return [one.split()[0] for one in log.read_text().splitlines()] if log.exists() else []

    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(place, "schedule", log)) for _ in range(2)]
        for number in range(2):
            with worker(place, "schedule", log) as doomed:
                for one in (*workers, doomed) if number == 0 else (doomed,):
                    assert line(one) == "ready"
                before = len(ran())
                wait_until(lambda before=before: len(ran()) >= before + wanted, 120)  # type: ignore[misc]
    slots = Counter(ran())
    assert len(slots) >= 2 * wanted
    assert set(slots.values()) == {1}


def test_files_are_whole_whoever_is_killed(place: Place, node: TokenAuthority) -> None:
    """Some store, some are killed while they do, some read and delete: every read is one whole
    version, and what was left over is swept, to the byte."""
    kills, reads = rounds(2, 100), rounds(10, 400)
    with contextlib.ExitStack() as stack:
        steady = stack.enter_context(worker(place, "store", 0))
        assert line(steady) == "stored"
        readers = [stack.enter_context(worker(place, "read", seed, reads)) for seed in range(2)]
        for number in range(kills):
            with worker(place, "store", number + 1) as doomed:
                assert line(doomed) == "stored"
        stack.enter_context(_drained(steady))
        assert [line(one) for one in readers] == [f"read {reads}"] * 2
    later = ManualClock(node.clock.time() + UPLOAD_LIFE + GRACE + 2 * SKEW + 10)
    while sweep_files(node.store, later):
        pass
    kept = sum(info.size for info in node.files("many").infos())
    pieces = sum(len(record.value) for _, record in node.store.walk("piece/"))
    assert pieces == kept
    room = node.store.get("room/default")
    assert room is not None
    assert int(room.value) == kept
    for area in ("upload/", "unnamed/"):
        assert node.store.scan(area) == []


@contextlib.contextmanager
def _drained(process: subprocess.Popen[str]) -> Iterator[None]:
    """Take what *process* says, so that it never waits for us; stop it at the end."""
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    reader.start()
    yield
    process.kill()
    reader.join(60)
