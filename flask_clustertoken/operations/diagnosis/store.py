"""The store: whether it answers, is the one that was meant and whole, and agrees on the time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...clock import SKEW, Clock
from ...cluster import present
from ...errors import ClusterTokenError, ConfigurationError
from ...revocations import FeedEntry
from ...settings import PREFIX, Settings
from ...stores.base import FORMAT, ClusterStore
from .files import look_at_files
from .findings import Finding, Level
from .keys import look_at_ring, look_for_lost_keys
from .nodes import look_at_nodes
from .sources import look_at_sources

#: Seconds for one call to the store beyond which it is called slow.
SLOW = 0.5


def look_at_store(
    store: ClusterStore, settings: Settings, clock: Clock, held: list[str], read: int = 0
) -> Iterator[Finding]:
    """The store, and what is known through it; *held*: the fingerprints of this host's keys.

    *read*: up to which number the feed is known to be readable.
    """
    folder = store.host_folder
    if folder and not os.path.isdir(folder):
        yield Finding("warning", "store", f"{folder} is not there yet: the first start makes it")
        return
    if not store.shared:
        return
    try:
        for remark in store.remarks():
            level: Level = "warning" if remark.severity == "warning" else "ok"
            yield Finding(level, "store", remark.said, remark.remedy)
        if store.begun():
            yield from _look_into(store, settings, clock, held, read)
            return
        yield Finding(
            "warning",
            "store",
            f"{store.url} can be reached and holds nothing of realm {settings.realm}",
            "The first start makes it. If there was one, look at STORE and REALM, and whether "
            "somebody deleted it, before you start the app.",
        )
    except ConfigurationError as error:
        error = error.with_prefix(PREFIX)
        yield Finding("problem", "store", f"{error.setting}: {error.problem}", error.remedy)
    except ClusterTokenError as error:
        cause = error.__cause__
        why = f" ({type(cause).__name__})" if cause is not None else ""
        yield Finding(
            "problem",
            "store",
            f"{store.url} is in trouble: {error}{why}",
            "Is it running, and can this host and user reach it? Until it answers, nodes refuse "
            f"tokens {settings.max_staleness:g} s after their last contact.",
        )


def _look_into(
    store: ClusterStore, settings: Settings, clock: Clock, held: list[str], read: int
) -> Iterator[Finding]:
    """What a store that is begun shows. Raises what its calls raise."""
    start = clock.monotonic()
    root = store.root()
    # The position first: an entry that comes in between must not look like a loss.
    position = store.position() if store.embedded else 0
    head = store.head()
    took = clock.monotonic() - start
    if root.format > FORMAT:
        yield Finding(
            "problem",
            "store",
            f"it has form {root.format}, this version reads up to {FORMAT}",
            "Install the newer version here too.",
        )
        return
    yield Finding(
        "warning" if took > SLOW else "ok",
        "store",
        f"{store.url} answers in {took * 1000:.1f} ms, epoch {root.epoch}, number {head}",
        "It is slow: look at its load, disk and network." if took > SLOW else "",
    )
    yield from _state(root.state, root.moved_to)
    yield from _clocks(store, clock)
    yield from look_at_ring(store, held)
    yield from _feed(store, read)
    yield from look_at_files(store, settings, clock)
    yield from look_at_sources(store, clock)
    found = present(store)
    live = [one.node for one in found if not one.silent]
    yield from _rolled_back(max([position, *(one.seen for one in live)]), head)
    if live:
        yield from look_for_lost_keys(store, held, live)
    yield from look_at_nodes(found, settings, held)


def _state(state: str, moved_to: str) -> Iterator[Finding]:
    if state == "sealed":
        yield Finding(
            "problem",
            "store",
            f"it was sealed: its contents were moved to {moved_to}",
            f"Set {PREFIX}STORE to that on every host, and restart.",
        )
    elif state != "open":
        yield Finding(
            "problem", "store", "a migration into it was not finished", "Repeat 'migrate'."
        )


def _rolled_back(known: int, head: int) -> Iterator[Finding]:
    """*known*: the highest number that a node, or the counter beside the database, has met."""
    if known > head:
        yield Finding(
            "problem",
            "store",
            f"it was rolled back: number {known} was there once, the store ends at {head}",
            "If a backup was restored on purpose, run: flask tokens restored",
        )


def _clocks(store: ClusterStore, clock: Clock) -> Iterator[Finding]:
    apart = 0.0 if store.embedded else store.time() - clock.time()
    if abs(apart) > SKEW:
        yield Finding(
            "problem",
            "clock",
            f"this host's clock differs from the store's by {abs(apart):.0f} s; nodes with such a "
            "clock refuse every token",
            "Let NTP set the clocks of all hosts.",
        )
    elif abs(apart) > 2:
        yield Finding(
            "warning",
            "clock",
            f"this host's clock differs from the store's by {abs(apart):.1f} s "
            f"(up to {SKEW:.0f} s is tolerated)",
            "Let NTP set the clocks of all hosts.",
        )
    else:
        yield Finding("ok", "clock", "it agrees with the store's")


def _feed(store: ClusterStore, read: int) -> Iterator[Finding]:
    """Can this version read every entry? A node that cannot is stale for as long as it stands."""
    after, more, first, count = read, True, "", 0
    while more:
        batch = store.read(after)
        after, more = batch.seq, batch.more
        for entry in batch.entries:
            try:
                FeedEntry.decode(entry.body)
            except ValueError as error:
                first = first or f"number {entry.seq} ({error})"
                count += 1
    if count:
        others = f", and {count - 1} more" if count > 1 else ""
        yield Finding(
            "problem",
            "feed",
            f"this version cannot read entry {first}{others}: its nodes refuse every token",
            "Install the newer version here too. If there is none, others write into the store.",
        )
