"""Leases that go from one process to another, whatever happens to the first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from flask_clustertoken.shared.lease import APART
from tests.forked import Forked
from tests.rounds import rounds
from tests.waiting import wait_until

from .places import Place, asked, fence, line, worker


def acts(log: Path) -> list[str]:
    """What those did who hold the lease one after the other."""
    return log.read_text().splitlines() if log.exists() else []


def has(log: Path, count: int) -> bool:
    """Whether they have acted so often."""
    return len(acts(log)) >= count


def handed_over(
    first: Place,
    then: Place,
    folder: Path,
    harm: Callable[[Sequence[Forked]], object],
    mend: Callable[[Sequence[Forked]], object] | None,
) -> list[int]:
    """Holders of leases come to *harm*, and others follow; how often each of both has acted.

    The clocks are as far apart as any two may be, the followers' ahead, so that these have it as
    early as anybody can. Nobody acts who looked when the next one acted already.
    """
    many, seconds = rounds(1, 6), rounds(5, 8)
    logs = [folder / f"acts-{number}" for number in range(many)]
    with contextlib.ExitStack() as stack:

        def some(place: Place, ahead: float) -> list[Forked]:
            return [
                stack.enter_context(
                    worker(place, "hold", f"lease-{number}", seconds, log, ahead=ahead)
                )
                for number, log in enumerate(logs)
            ]

        holders = some(first, 2 - APART)
        assert [line(one) for one in holders] == ["asks"] * many
        before = [fence(one) for one in holders]
        followers = some(then, APART - 2)
        assert [line(one) for one in followers] == ["asks"] * many
        # (They try at once, and each second; and find it taken, unless it was lost meanwhile.)
        begun = [len(acts(log)) for log in logs]
        wait_until(lambda: all(map(has, logs, [one + 300 for one in begun])), 60)
        harm(holders)
        after = [fence(one) for one in followers]
        begun = [len(acts(log)) for log in logs]
        wait_until(lambda: all(map(has, logs, [one + 20 for one in begun])), 60)
        if mend is not None:
            mend(holders)
        assert [asked(one) for one in followers] == ["held"] * many
    counts = []
    for log, low, high in zip(logs, before, after, strict=True):
        assert low < high
        at: dict[int, list[float]] = {low: [], high: []}
        for row in acts(log):
            under, moment = row.split()
            at[int(under)].append(float(moment))
        assert max(at[low]) < min(at[high]), "two held the lease"
        counts += [len(at[low]) + len(at[high])]
    return counts
