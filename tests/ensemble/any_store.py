"""Worker processes on a store of any kind, and what the tests of its faults ask them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Tell
from tests.waiting import came_true, holds_for, wait_until

from .harness import MAX_STALENESS, Fleet, Process


@dataclass
class StoreFleet(Fleet):
    """Three workers; *urls* says how each finds the store (the last one for the rest)."""

    urls: Sequence[str] = ()
    options: dict[str, object] = field(default_factory=dict)
    #: Further words for the worker's command line.
    more: Sequence[str] = ()

    @classmethod
    def on(cls, folder: Path, *urls: str, **options: object) -> StoreFleet:
        return cls(None, "", folder, urls=urls, options=dict(options))  # type: ignore[arg-type]

    def start_worker(
        self, *, cut: bool = False, index: int = 0, mutation: str | None = None
    ) -> Process:
        self._started += 1
        name = f"w{self._started}"
        url = self.urls[min(index, len(self.urls) - 1)]
        options = ["--options", json.dumps(self.options), *self.more]
        if mutation := self.mutation if mutation is None else mutation:
            options += ["--mutation", mutation]
        if index < len(self.skews):
            options += ["--skew", str(self.skews[index])]
        worker = Process(name, url, self.folder / f"{name}.jsonl", *options)
        self.workers.append(worker)
        return worker


Judge = Callable[[StoreFleet, str], None]


def judging(tell: Tell, store: str) -> Judge:
    """Reads the history that was recorded, and says what it shows."""

    def judge(fleet: StoreFleet, fault: str) -> None:
        verdict = fleet.verdict()
        tell(
            f"{store}: {fault}",
            revocations=verdict.revocations,
            validations=verdict.validations,
            violations=len(verdict.violations),
            worst_delay=f"{verdict.worst_delay * 1000:,.0f} ms",
        )
        assert verdict.violations == [], "\n".join(map(str, verdict.violations[:5]))
        assert verdict.revocations > 0

    return judge


def fresh(worker: Process) -> bool:
    return bool(worker.ask("ready")["fresh"])


def said(worker: Process, made: dict[str, str]) -> str:
    answer = worker.ask("validate", token=made["token"], text=made["text"])
    return "accepted" if answer["accepted"] else str(answer["reason"])


def reason(worker: Process, made: dict[str, str]) -> str:
    """What a worker says that is fresh (on a busy machine it may be late with its proof)."""
    told: list[str] = []

    def is_fresh() -> bool:
        told.append(said(worker, made))
        return told[-1] != "stale"

    came_true(is_fresh, 60)
    return told[-1]


def wait_revoked(workers: Sequence[Process], *ended: dict[str, str]) -> None:
    """Until each of *workers* refuses each of *ended*. (By when is for the history to show.)"""
    for worker in workers:
        for made in ended:
            wait_until(lambda w=worker, made=made: said(w, made) == "revoked", 60)  # type: ignore[misc]


def revoke_for(fleet: StoreFleet, seconds: float) -> int:
    """Log users in and out for a while; returns how many log-outs were acknowledged."""
    return fleet.come_and_go(seconds)


def logged_in(fleet: StoreFleet, worker: Process) -> dict[str, str]:
    """A login there, once the store takes one."""
    made: dict[str, str] = {}

    def works() -> bool:
        made.clear()
        made.update(fleet.login(worker))
        return "error" not in made

    wait_until(works, 60)
    return made


def log_outs_go_on(fleet: StoreFleet) -> None:
    """Wait until somebody who logged in has been logged out again."""
    wait_until(lambda: revoke_for(fleet, 0.2) > 0, 60)


def a_clock_jumps(fleet: StoreFleet, times: int) -> None:
    """Of one worker's machine, ahead and back, *times* times, while users log in and out."""
    jumping, others = fleet.workers[2], fleet.workers[:2]
    for seconds in (7200.0, -7200.0) * times:
        made = fleet.logins(2)
        jumping.ask("jump", seconds=seconds)
        wait_until(lambda: "clock" in str(jumping.ask("ready")["trouble"]), 60)
        assert not fresh(jumping)
        wait_until(lambda made=made: "error" not in fleet.revoke(others[0], made[0]), 60)  # type: ignore[misc]
        wait_revoked(others, made[0])
        assert reason(others[1], made[1]) == "accepted"
        holds_for(lambda: not fresh(jumping), MAX_STALENESS)
        jumping.ask("jump", seconds=0.0)
        fleet.wait_fresh()
        wait_revoked([jumping], made[0])
        assert reason(jumping, made[1]) == "accepted"
    log_outs_go_on(fleet)
