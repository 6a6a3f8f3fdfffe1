"""Exposition: what a scrape is told, of all processes of this server at once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import Clock
from .facts import Facts
from .processes import VARIABLE, CountsFolder
from .recorder import Recorder
from .series import RAW

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric


@dataclass(frozen=True, slots=True)
class Scrape:
    """An answer to Prometheus: bytes, and the type that they are of."""

    body: bytes
    content_type: str


class Exposition:
    """Answers scrapes for one authority. *registry* holds the series where one process counts."""

    def __init__(
        self,
        recorder: Recorder,
        facts: Facts,
        registry: CollectorRegistry | None,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._facts = facts
        self._registry = registry

    def scrape(self, accept: str = "") -> Scrape:
        """Everything that is known now, in the form that *accept* (the request's header) asks for.

        In plain text where it asks for what there is not.
        Waits for no server: what is said of nodes and keys is of a step of before.
        """
        from prometheus_client import CollectorRegistry

        self._recorder.note()
        with self._settled():
            # (Read while nobody puts files together.)
            counted = list(self._counted())
        told = [*derived(counted, self._clock.monotonic()), *self._facts.told()]
        encode, content_type = _encoder(accept)
        registry = CollectorRegistry()
        registry.register(_Told(told))
        return Scrape(encode(registry), content_type)

    def _settled(self) -> AbstractContextManager[None]:
        if self._registry is not None:
            return nullcontext()
        return CountsFolder(Path(os.environ[VARIABLE])).settled()

    def _counted(self) -> Iterable[Metric]:
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        if self._registry is not None:
            return self._registry.collect()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry.collect()


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    from prometheus_client.exposition import choose_encoder

    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        # (A version that is no number, which prometheus-client compares all the same.)
        return choose_encoder("")


class _Told:
    """What a registry asks for its families."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def derived(counted: Iterable[Metric], now: float) -> Iterator[Metric]:
    """*counted*, with what each process noted of itself turned into what is true at *now*.

    *now* is by the monotonic clock, as the notes are: a process that is frozen notes nothing,
    and is seen to be stale all the same.
    """
    noted: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for family in counted:
        if not family.name.startswith(RAW):
            yield family
            continue
        for sample in family.samples:
            # (One process that counts for itself writes no process id behind it.)
            process = sample.labels.get("pid", "")
            noted[sample.labels["realm"]][process][sample.name[len(RAW) :]] = sample.value
    yield from _standing({realm: list(one.values()) for realm, one in noted.items()}, now)


def _standing(noted: dict[str, list[dict[str, float]]], now: float) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    staleness = GaugeMetricFamily(
        "clustertoken_staleness_seconds",
        "Seconds since the last confirmed contact with the store, of the worker that is worst off",
        labels=["realm"],
    )
    fresh = GaugeMetricFamily(
        "clustertoken_fresh",
        "1 where every worker of this server may vouch for tokens, else 0",
        labels=["realm"],
    )
    workers = GaugeMetricFamily(
        "clustertoken_workers",
        "Workers of this server that have joined, by state (fresh, stale)",
        labels=["realm", "state"],
    )
    entries = GaugeMetricFamily(
        "clustertoken_view_entries",
        "Revocations of ids, labels and subjects that a worker remembers, at most",
        labels=["realm"],
    )
    for realm, processes in sorted(noted.items()):
        good = sum(one["lease_end"] > now for one in processes)
        staleness.add_metric([realm], max(now - one["confirmed_at"] for one in processes))
        fresh.add_metric([realm], float(good == len(processes)))
        workers.add_metric([realm, "fresh"], good)
        workers.add_metric([realm, "stale"], len(processes) - good)
        entries.add_metric([realm], max(one["view_entries"] for one in processes))
    yield from (staleness, fresh, workers, entries)
