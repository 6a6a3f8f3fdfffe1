"""What processes share over a directory: lists, tasks, leases and files, whoever is killed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from tests.conftest import Tell
from tests.rounds import rounds
from tests.shared.live import SharedDataContract
from tests.shared.places import Place, line, looking, worker
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

    name = "directory"


def test_three_schedulers_run_each_slot_once(
    place: Place, node: TokenAuthority, tmp_path: Path, tell: Tell
) -> None:
    """The docs' example with APScheduler on three servers, of which some are killed and started
    again: each slot ran once."""
    log, wanted, kills = tmp_path / "ran", rounds(3, 20), rounds(2, 6)

    def ran() -> list[str]:
        return [one.split()[0] for one in log.read_text().splitlines()] if log.exists() else []

    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(place, "schedule", log)) for _ in range(2)]
        for number in range(kills):
            with worker(place, "schedule", log) as doomed:
                for one in (*workers, doomed) if number == 0 else (doomed,):
                    assert line(one) == "ready"
                before = len(ran())
                wait_until(lambda before=before: len(ran()) >= before + wanted, 120)  # type: ignore[misc]
    slots = Counter(ran())
    tell("APScheduler on three servers", killed=kills, slots=len(slots), ran_twice=0)
    assert len(slots) >= kills * wanted
    assert set(slots.values()) == {1}
