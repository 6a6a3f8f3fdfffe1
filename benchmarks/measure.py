"""Measuring on a machine that has other things to do: blocks, interleaved; ratios, not times.

What is compared is measured in short blocks that alternate with blocks of the yardstick
("bare"), so that a neighbour's noise hits all alike. A ratio is one block's time over the mean
of the two bare blocks beside it. "Quiet" microseconds are the tenth percentile of the blocks:
what it costs while nobody disturbs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: One piece of work that is timed.
Work = Callable[[], object]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* (0 to 1) of *values* lie; nan of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measured values, in short."""

    count: int
    low: float
    p10: float
    p50: float
    p90: float
    p99: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(
            len(values),
            low=min(values, default=float("nan")),
            p10=percentile(values, 0.1),
            p50=percentile(values, 0.5),
            p90=percentile(values, 0.9),
            p99=percentile(values, 0.99),
            high=max(values, default=float("nan")),
        )

    def scaled(self, factor: float) -> dict[str, float]:
        """For a report: all but the count times *factor*, rounded."""
        return {
            name: value if name == "count" else round(value * factor, 3)
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """What one piece of work costs beside bare. Microseconds; *over* is the quiet difference."""

    ratio: float
    ratio_p10: float
    ratio_p90: float
    over: float
    quiet: float
    median: float
    blocks: int

    def row(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def block(work: Work, seconds: float) -> float:
    """Microseconds that *work* takes, over and over for *seconds*, once it is warm."""
    clock = time.perf_counter
    warm = clock() + seconds / 3
    while clock() < warm:
        work()
    count, start = 0, clock()
    end = start + seconds
    while True:
        work()
        count += 1
        now = clock()
        if now >= end:
            return (now - start) / count * 1e6


def compare(
    bare: Work,
    others: Mapping[str, Work],
    *,
    rounds: int,
    seconds: float = 0.004,
    tick: Callable[[int], None] = lambda _: None,
) -> tuple[Compared, dict[str, Compared]]:
    """Bare, and each of *others* beside it."""
    names = list(others)
    taken: dict[str, list[float]] = {name: [] for name in names}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    bares = [block(bare, seconds)]
    for count in range(rounds):
        random.shuffle(names)
        for name in names:
            taken[name].append(block(others[name], seconds))
            bares.append(block(bare, seconds))
            ratios[name].append(taken[name][-1] / ((bares[-2] + bares[-1]) / 2))
        tick(count + 1)
    quiet = percentile(bares, 0.1)
    itself = Compared(1.0, 1.0, 1.0, 0.0, quiet, percentile(bares, 0.5), len(bares))
    return itself, {
        name: Compared(
            percentile(ratios[name], 0.5),
            percentile(ratios[name], 0.1),
            percentile(ratios[name], 0.9),
            percentile(taken[name], 0.1) - quiet,
            percentile(taken[name], 0.1),
            percentile(taken[name], 0.5),
            len(taken[name]),
        )
        for name in others
    }


def timed(work: Work) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def wait_until(predicate: Callable[[], Any], seconds: float, what: str) -> None:
    """Raises :class:`TimeoutError`, naming *what*, if it does not come true in time."""
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)
