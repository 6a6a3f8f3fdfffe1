"""The contract of an upgrade: an old node beside a new one, on one store."""

from __future__ import annotations

import json

import pytest

from ...cluster import require_readers
from ...errors import NodesTooOld
from ...revocations import FeedEntry, entry
from ...stores.base import ClusterStore, NewEntry
from .fixtures import StoreFixtures, feed_of

#: What a node says of itself that was written before entries had a second form.
BEFORE = {"host": "old", "pid": 7, "version": "0.1.0", "max_staleness": 10.0, "reads": 1}


class UpgradeContract(StoreFixtures):
    """Versions that read different forms of entries, and know different words of a node."""

    def test_an_old_node_is_seen_by_whoever_would_write_what_it_does_not_read(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """On every handle, for as long as it is listed; what it reads may be written meanwhile."""
        lock, revocation = FeedEntry("lock", 0.0), FeedEntry("realm", 0.0)
        require_readers(other, lock)
        store.announce("n1", json.dumps({**BEFORE, "reads": entry.FORMAT}).encode())
        store.announce("n2", json.dumps(BEFORE).encode())
        for handle in (store, other):
            require_readers(handle, revocation)
            with pytest.raises(NodesTooOld) as told:
                require_readers(handle, lock)
            assert told.value.nodes == ("old:7 (0.1.0)",)
        other.vouch("n2", json.dumps({**BEFORE, "reads": entry.FORMAT}).encode())
        require_readers(store, lock)

    def test_a_node_that_does_not_say_what_it_reads_is_an_old_one(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Nor does one whose words nobody understands: it is no reason to write more."""
        for words in (b'{"host": "older", "pid": 1}', b"\x00not ours"):
            store.announce("n1", words)
            with pytest.raises(NodesTooOld):
                require_readers(other, FeedEntry("unlock", 0.0))
            store.withdraw("n1")

    def test_the_store_reads_no_forms(self, store: ClusterStore, other: ClusterStore) -> None:
        """Entries of any form, also of one that is not made yet, come back as they were, and in
        order; so does what a node says with words of another version."""
        bodies = [
            FeedEntry("realm", 1.0, kinds=("login",)).encode(),
            FeedEntry("lock", 1.0, (1, 2), ("login", "api"), extra={"message": "…"}).encode(),
            FeedEntry("realm", 1.0, kinds=("login",), stands_for=5).encode(),
            b'{"format":99,"kind":"what comes next","wide":[1]}',
        ]
        for number, body in enumerate(bodies):
            writer = (store, other)[number % 2]
            writer.append([NewEntry(f"e{number}", body, None)])
        for handle in (store, other):
            assert [one.body for one in feed_of(handle)] == bodies
        words = json.dumps({**BEFORE, "reads": 99, "what comes next": [1]}).encode()
        store.announce("n1", words)
        (node,) = other.nodes()
        assert node.info == words
