"""Description: what this node says of itself, and where it differs from the others."""

from __future__ import annotations

import logging

from ..clock import Clock
from ..errors import ClusterTokenError
from ..revocations import Follower, entry
from ..settings import Settings
from ..stores.base import ClusterStore
from ..tokens import VERSION, KeyRing
from . import nodes
from .sightings import Sightings

logger = logging.getLogger("flask_clustertoken")

#: Nodes with which one that starts compares its settings.
COMPARED = 16


class Description:
    """What one follower publishes with each contact. Made with it: another one began later."""

    def __init__(
        self, settings: Settings, keys: KeyRing, store: ClusterStore, clock: Clock
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._store = store
        self._started_at = clock.time()
        self._compared = False
        #: Notes in the store which keys this node has.
        self.sightings = Sightings(store, clock)

    def __call__(self, follower: Follower) -> bytes:
        return self.node(follower).encode()

    def node(self, follower: Follower) -> nodes.Node:
        """This node as it is at the moment.

        Its keys are noted in the store first: raises
        :class:`~flask_clustertoken.errors.StoreError`, and then nothing may be published.
        """
        keys, settings = self._keys, self._settings
        keys.reread()
        try:
            signing = keys.signing()[0]
        except ClusterTokenError:
            signing = ""
        held = keys.held
        self.sightings.note(held)
        place = follower.reader.place()
        return nodes.Node(
            id=follower.node_id,
            host=nodes.this_host(),
            pid=nodes.this_process(),
            version=nodes.library_version(),
            started_at=self._started_at,
            applied=place.seq,
            applied_entry=place.entry,
            seen=follower.seen,
            max_staleness=settings.max_staleness,
            accepts_when_stale=settings.when_stale == "accept",
            deployment=settings.deployment,
            keys=tuple(held),
            signing=signing,
            realm_settings=settings.to_agree_in_realm(),
            settings=settings.to_agree_in_deployment(),
            reads=entry.FORMAT,
            reads_tokens=VERSION,
        )

    def name_drift(self, follower: Follower) -> None:
        """Once, at the start: say loudly where this node and the others differ.

        Compared with a few of them, so that a start costs the same in a large cluster; the
        list of nodes and ``doctor`` compare all.
        """
        if self._compared:
            return
        others = nodes.listed(self._store.peek_nodes(COMPARED), follower.store_time())
        others = [one for one in others if not one.silent and one.node.id != follower.node_id]
        for one in nodes.drift([self.node(follower), *(other.node for other in others)]):
            logger.warning("nodes of one realm must agree, but %s. %s", one, one.remedy)
        self._compared = True
