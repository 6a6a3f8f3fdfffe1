"""Sources: whether those that tell of ended logins from outside are still heard."""

from __future__ import annotations

from collections.abc import Iterator

from ...clock import Clock
from ...cluster import sources
from ...stores.base import ClusterStore
from .findings import Finding


def look_at_sources(store: ClusterStore, clock: Clock) -> Iterator[Finding]:
    """Nothing is said where nobody listens to any."""
    now = clock.time()
    for one in sources(store):
        named = f"{one.name} ({one.url}, by {one.by})"
        if one.is_silent(now):
            yield Finding(
                "problem",
                "signals",
                f"{named} has been silent for {_span(one.silent_for(now))}: log-outs there may "
                "not arrive here" + (f"; {one.trouble}" if one.trouble else ""),
                "See there whether the stream is enabled and can reach this app (push), and in the "
                "log of the nodes what it answers (poll). Where no app listens to it any more, "
                "this ends by itself two days after the last node that did.",
            )
        elif one.trouble:
            yield Finding("warning", "signals", f"{named}: {one.trouble}", "See the nodes' log.")
        elif not one.silent_after:
            yield Finding(
                "warning",
                "signals",
                f"{named} is not asked whether it is alive: its silence cannot be told from peace",
                "Give SharedSignals credentials for the transmitter's management API, or "
                "silent_after, if it verifies the stream by itself.",
            )
        else:
            yield Finding("ok", "signals", f"{named} was heard {_span(one.silent_for(now))} ago")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
