"""Series: what is counted, under which name. The names are for dashboards: they do not change.

After Prometheus's conventions: ``clustertoken_`` in front, base units, ``_total`` behind what only
grows. Each carries the ``realm``, since a process may serve several.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Seconds of a call to a store: from a read on this host to a call's time-out.
CALL_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

#: Seconds until a revocation is known: from a file on this host to ``MAX_STALENESS`` and beyond.
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: In front of what a process notes for whoever is scraped: it is not shown as it is.
RAW = "clustertoken_raw_"


#: What only grows: its name, what it says, and its labels besides the realm.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "authentications": (
        "Texts that requests presented, by kind (login, api) and result (accepted, refused)",
        ("kind", "result"),
    ),
    "refusals": ("Texts that were refused, by reason", ("reason",)),
    "tokens_issued": ("Logins and API tokens that were handed out, by kind", ("kind",)),
    "renewals": ("Login tokens that got a later expiry", ()),
    "revocations": ("Revocations that this server asked for, by kind", ("kind",)),
    "revocations_applied": (
        "Revocations that the workers of this server have learnt, by kind; once a worker",
        ("kind",),
    ),
    "freshness_changes": (
        "How often a worker became fresh or stale, by what it became",
        ("state",),
    ),
    "swept": ("What house-keeping took out of the store, by what it was", ("what",)),
}

#: What is told as nought before it happens: those of which all labels are known.
FROM_THE_START: list[tuple[str, tuple[str, ...]]] = [
    ("renewals", ()),
    *(("tokens_issued", (kind,)) for kind in ("login", "api")),
    *(("freshness_changes", (state,)) for state in ("fresh", "stale")),
    *(("revocations", (kind,)) for kind in ("ids", "labels", "subject", "realm")),
    *(("refusals", (reason,)) for reason in ("invalid", "expired", "revoked", "stale")),
]

#: What a worker notes of itself: times are by the monotonic clock, which a host's processes share.
NOTED = ("confirmed_at", "lease_end", "view_entries")


class Series:
    """Every series of this process. Made once a process: its files take each name once."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.counters = {
            name: Counter(f"clustertoken_{name}", says, ("realm", *labels), registry=registry)
            for name, (says, labels) in COUNTERS.items()
        }
        self.noted = {
            name: Gauge(RAW + name, "-", ("realm",), registry=registry, multiprocess_mode="liveall")
            for name in NOTED
        }
        self.calls = Histogram(
            "clustertoken_store_call_seconds",
            "Calls to the cluster store, by call and outcome (ok, conflict, error)",
            ("realm", "call", "outcome"),
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        self.lag = Histogram(
            "clustertoken_revocation_lag_seconds",
            "Until a revocation was known, by how it was measured: clock (of one host, an embedded "
            "store) or barrier (the way of a confirmation to all nodes and back)",
            ("realm", "measured"),
            registry=registry,
            buckets=LAG_BUCKETS,
        )

    def begin(self, realm: str) -> None:
        """What *realm* will count is there from now on, at nought."""
        for name, labels in FROM_THE_START:
            self.count(name, realm, *labels, more=0)

    def count(self, name: str, *labels: str, more: float = 1) -> None:
        """Count *more* of *name*; *labels* begin with the realm."""
        self.counters[name].labels(*labels).inc(more)


@cache
def own_registry() -> CollectorRegistry:
    """Where the series of this process are, if it counts for itself: no other one's are there."""
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


@cache
def series_of(registry: CollectorRegistry | None) -> Series:
    """This process's series in *registry*; ``None``: in the files that its processes share."""
    return Series(registry)
