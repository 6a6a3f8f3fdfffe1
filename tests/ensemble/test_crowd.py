"""Two hundred connections lose the store and get it back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

# (By itself: 200 nodes that all start, and start again, leave nothing of a machine to others, whose
# own bounds they would break; and they would need longer than the store is down.)
pytestmark = [pytest.mark.zookeeper, pytest.mark.quiet]

PROCESSES, EACH = 4, 50


@contextmanager
def crowd(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ensemble.crowd", url, str(EACH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def fresh(processes: list[subprocess.Popen[str]]) -> int:
    found = 0
    for process in processes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("how many?\n")
        process.stdin.flush()
        found += int(process.stdout.readline())
    return found


def connections(ensemble: Ensemble) -> int:
    said = "\n".join(server.say("srvr") for server in ensemble.servers)
    return sum(int(row.split()[1]) for row in said.splitlines() if row.startswith("Connections:"))


def test_all_are_fresh_soon_after_the_store_is_back(
    ensemble: Ensemble, zk_root: str, tell: Tell
) -> None:
    """All are fresh within ten seconds, with one connection each: no storm.

    Where the machine is so slow that the first start takes them longer, that is the measure.
    """
    with ExitStack() as stack:
        begun = time.monotonic()
        processes = [stack.enter_context(crowd(ensemble.url(zk_root))) for _ in range(PROCESSES)]
        wait_until(lambda: fresh(processes) == PROCESSES * EACH, 120)
        start = time.monotonic() - begun
        for server in ensemble.servers:
            server.kill()
        wait_until(lambda: fresh(processes) == 0, 30)

        ensemble.start()
        back = time.monotonic()
        most = 0

        def all_fresh() -> bool:
            nonlocal most
            most = max(most, connections(ensemble))
            return fresh(processes) == PROCESSES * EACH

        wait_until(all_fresh, max(60, start))
        took = time.monotonic() - back
        tell(
            "the store lost and regained",
            nodes=PROCESSES * EACH,
            all_fresh_after=f"{took:.1f} s",
            most_connections=most,
        )

        assert took <= max(10, start)
        # One each. A server counts a line that was given up until it notices, so a node whose
        # first try came too early may be counted twice; a storm would be many times each.
        assert most <= PROCESSES * EACH * 2
