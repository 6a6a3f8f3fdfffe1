"""Facts: what only the store knows of the cluster, asked for now and then, never by a scrape."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..authority import TokenAuthority
from ..cluster import present
from ..errors import ClusterTokenError
from ..tokens import RING_KEY, ring_since

if TYPE_CHECKING:
    from prometheus_client import Metric

logger = logging.getLogger("flask_clustertoken")

#: Seconds for which an answer of the store is good enough.
GOOD_FOR = 10.0

#: After so many seconds without a newer one it is not told any more: a gap is seen, and an
#: old number is taken for today's.
TOLD_FOR = 120.0


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the store said at *at*, by this process's monotonic clock."""

    at: float
    present: int
    silent: int
    #: How many keys are in which state, as far as the store says.
    keys: dict[str, int]
    #: Seconds since the signing key became that; ``None`` where it always was.
    signing_for: float | None


class Facts:
    """What is told of nodes and keys, read in the follower's step that comes after a scrape."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority
        self._known: ClusterFacts | None = None
        self._asked = False

    def told(self) -> Iterator[Metric]:
        """The families for a scrape; and let the next one be told what is newer."""
        authority = self._authority
        now = authority.clock.monotonic()
        known = self._known
        if known is None or now - known.at >= GOOD_FOR:
            if authority.store.embedded and authority.following is not None:
                self._ask()  # a file of this host: it answers at once
                known = self._known
            elif not self._asked and authority.following is not None:
                self._asked = True
                authority.following.soon(self._ask)
        if known is not None and now - known.at < TOLD_FOR:
            yield from self._families(known)

    def _ask(self) -> None:
        authority = self._authority
        self._asked = False
        try:
            nodes = present(authority.store)
            record = authority.store.peek(RING_KEY)
        except ClusterTokenError:
            logger.debug("the store was not asked for what metrics tell of it", exc_info=True)
            return
        keys = authority.keys
        states = keys.states
        since = ring_since(record.value if record else None)
        signing = next((one for one, state in states.items() if state == "signing"), "")
        self._known = ClusterFacts(
            authority.clock.monotonic(),
            present=sum(not one.silent for one in nodes),
            silent=sum(one.silent for one in nodes),
            # (A key of which the store says nothing is one that was there from the start.)
            keys=dict(Counter([states.get(one, "unmarked") for one in {*states, *keys.held}])),
            signing_for=authority.clock.time() - since[signing] if signing in since else None,
        )

    def _families(self, known: ClusterFacts) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        realm = self._authority.settings.realm
        nodes = GaugeMetricFamily(
            "clustertoken_nodes",
            "Nodes in the store's list, by state (present, silent); the same on every host",
            labels=["realm", "state"],
        )
        nodes.add_metric([realm, "present"], known.present)
        nodes.add_metric([realm, "silent"], known.silent)
        keys = GaugeMetricFamily(
            "clustertoken_keys",
            "Keys, by state (staged, signing, verifying, api, dropped; unmarked: never rotated)",
            labels=["realm", "state"],
        )
        for state, count in sorted(known.keys.items()):
            keys.add_metric([realm, state], count)
        yield from (nodes, keys)
        if known.signing_for is not None:
            age = GaugeMetricFamily(
                "clustertoken_signing_key_age_seconds",
                "Seconds since the key that signs began to; not there before the first rotation",
                labels=["realm"],
            )
            age.add_metric([realm], known.signing_for)
            yield age
