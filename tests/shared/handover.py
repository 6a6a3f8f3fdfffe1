"""Leases that go from one process to another, whatever happens to the first."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from flask_clustertoken.shared.lease import APART
from tests.rounds import rounds
from tests.waiting import wait_until

from .places import Place, asked, fence, worker


def handed_over(
    first: Place,
    then: Place,
    folder: Path,
    harm: Callable[[Sequence[subprocess.Popen[str]]], object],
    mend: Callable[[Sequence[subprocess.Popen[str]]], object] | None,
) -> list[int]:
    """Holders of leases come to *harm*, and others follow; how often each of both has acted.

    The clocks are as far apart as any two may be, the followers' ahead, so that these have it as
    early as anybody can. Nobody acts who looked when the next one acted already.
    """
    many, seconds = rounds(1, 6), 3.0
    logs = [folder / f"acts-{number}" for number in range(many)]
    with contextlib.ExitStack() as stack:

        def some(place: Place, ahead: float) -> list[subprocess.Popen[str]]:
            return [
                stack.enter_context(
                    worker(place, "hold", f"lease-{number}", seconds, log, ahead=ahead)
                )
                for number, log in enumerate(logs)
            ]

        holders = some(first, 2 - APART)
        before = [fence(one) for one in holders]
        followers = some(then, APART - 2)
        for log in logs:
            wait_until(lambda log=log: log.exists() and log.stat().st_size > 0)  # type: ignore[misc]
        harm(holders)
        after = [fence(one) for one in followers]
        for log, later in zip(logs, after, strict=True):
            wait_until(lambda log=log, later=later: str(later) in log.read_text())  # type: ignore[misc]
        if mend is not None:
            mend(holders)
        assert [asked(one) for one in followers] == ["held"] * many
    counts = []
    for log, low, high in zip(logs, before, after, strict=True):
        assert low < high
        acts: dict[int, list[float]] = {low: [], high: []}
        for row in log.read_text().splitlines():
            under, at = row.split()
            acts[int(under)].append(float(at))
        assert max(acts[low]) < min(acts[high]), "two held the lease"
        counts += [len(acts[low]) + len(acts[high])]
    return counts
