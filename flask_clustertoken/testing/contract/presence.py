"""The contract of who is there."""

from __future__ import annotations

import pytest

from ...clock import ManualClock
from ...errors import NotAnnounced
from ...stores.base import ClusterStore
from .fixtures import StoreFixtures, entry


class PresenceContract(StoreFixtures):
    """Who is there, and the proof of freshness."""

    def test_an_announced_node_is_listed(
        self, store: ClusterStore, other: ClusterStore, clock: ManualClock
    ) -> None:
        """With its own words, on every handle."""
        assert store.nodes() == []
        store.announce("n1", b"\x00words")
        other.announce("n2", b"")
        found = {node.node_id: node.info for node in store.nodes()}
        assert found == {"n1": b"\x00words", "n2": b""}
        assert all(isinstance(node.changed_at, float) for node in store.nodes())

    def test_a_node_is_announced_again(self, store: ClusterStore) -> None:
        """The entry is taken up, not doubled."""
        store.announce("n1", b"old")
        store.announce("n1", b"new")
        assert [(node.node_id, node.info) for node in store.nodes()] == [("n1", b"new")]

    def test_a_vouch_rewrites_the_entry(self, store: ClusterStore, other: ClusterStore) -> None:
        """Its words are the new ones and its version changes each time."""
        store.announce("n1", b"old")
        versions = [other.nodes()[0].version]
        for number in range(3):
            store.vouch("n1", b"%d" % number)
            (node,) = other.nodes()
            assert node.info == b"%d" % number
            versions.append(node.version)
        assert len(set(versions)) == 4

    def test_a_vouch_proves_the_head(self, store: ClusterStore, other: ClusterStore) -> None:
        """It knows of whatever was acknowledged, on any handle, before it began."""
        store.announce("n1", b"")
        assert store.vouch("n1", b"").seq == 0
        for number in range(10):
            (seq,) = other.append([entry(f"e{number}")])
            vouched = store.vouch("n1", b"")
            assert vouched.seq == seq
            assert vouched.time > 0

    def test_who_is_not_announced_cannot_vouch(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """:class:`NotAnnounced`, and no entry is made: also after another withdrew it."""
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        assert store.nodes() == []
        store.announce("n1", b"")
        other.withdraw("n1")
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        assert other.nodes() == []

    def test_a_node_is_withdrawn(self, store: ClusterStore, other: ClusterStore) -> None:
        """Only its entry goes; withdrawing nobody is fine, and said."""
        store.announce("n1", b"")
        store.announce("n2", b"")
        assert other.withdraw("n1")
        assert not other.withdraw("n1")
        assert not other.withdraw("never")
        assert [node.node_id for node in store.nodes()] == ["n2"]

    def test_a_node_that_came_back_is_not_withdrawn(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Whoever thought it gone names the entry that it saw; the node may have renewed it."""
        store.announce("n1", b"")
        (seen,) = other.nodes()
        store.vouch("n1", b"")
        assert not other.withdraw("n1", seen)
        store.vouch("n1", b"")
        (seen,) = other.nodes()
        assert other.withdraw("n1", seen)
        with pytest.raises(NotAnnounced):
            store.vouch("n1", b"")
        store.announce("n1", b"")
        assert not other.withdraw("n1", seen)
        assert [node.node_id for node in store.nodes()] == ["n1"]

    def test_an_entry_that_was_made_again_is_another_one(
        self, store: ClusterStore, other: ClusterStore
    ) -> None:
        """Also where it was renewed as often as the one that was seen, and says the same."""
        for rounds in range(3):
            store.announce("n1", b"")
            for _ in range(rounds):
                store.vouch("n1", b"")
            (seen,) = other.nodes()
            assert store.withdraw("n1")
            store.announce("n1", b"")
            for _ in range(rounds):
                store.vouch("n1", b"")
            assert not other.withdraw("n1", seen)
            assert [node.node_id for node in store.nodes()] == ["n1"]
            store.withdraw("n1")

    def test_the_store_has_a_clock(self, store: ClusterStore, other: ClusterStore) -> None:
        """The one by which it says when a node's entry changed."""
        before = other.time()
        store.announce("n1", b"")
        (entry,) = store.nodes()
        assert before <= entry.changed_at <= other.time()
