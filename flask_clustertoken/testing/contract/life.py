"""The contract of a handle's life."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ...errors import ClusterTokenError
from ...stores.base import ClusterStore, Put, Record
from .fixtures import MakeStore, StoreFixtures, entry, feed_of, in_a_child


class LifeContract(StoreFixtures):
    """Opening, forking, closing."""

    def test_constructing_opens_nothing(self, store: ClusterStore) -> None:
        """A handle that was never used is closed without having been opened."""
        store.close()

    def test_it_says_what_it_is(self, store: ClusterStore) -> None:
        """Its URL begins with its scheme, and each call has a deadline."""
        assert store.url.startswith(store.scheme + ":")
        assert 0 < store.timeout < 3600
        assert store.look_every is None or store.look_every > 0

    def test_closing_twice_is_fine(self, store: ClusterStore) -> None:
        """The second does nothing."""
        store.head()
        store.close()
        store.close()

    def test_a_closed_handle_is_not_used(self, store: ClusterStore, other: ClusterStore) -> None:
        """Every other call raises, and another handle goes on."""
        store.put("key", b"", None)
        store.announce("n1", b"")
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.get("key"),
            lambda: store.add("key", b"", None),
            lambda: store.put("key", b"", None),
            lambda: store.touch("key", None),
            lambda: store.delete("key"),
            lambda: store.scan(""),
            lambda: store.purge(0),
            lambda: store.append([entry("a")]),
            lambda: store.read(0),
            lambda: store.head(),
            lambda: store.watch(lambda: None),
            lambda: store.ended(0),
            lambda: store.trim([1]),
            lambda: store.announce("n1", b""),
            lambda: store.vouch("n1", b""),
            lambda: store.withdraw("n1"),
            lambda: store.nodes(),
            lambda: store.root(),
        ]
        for call in calls:
            with pytest.raises(ClusterTokenError):
                call()
        assert other.get("key") is not None

    def test_a_with_statement_closes(self, store: ClusterStore) -> None:
        """The handle is closed at the end of the block."""
        with store as inside:
            inside.head()
        with pytest.raises(ClusterTokenError):
            store.head()

    def test_handles_share_what_outlives_them(self, make_store: MakeStore) -> None:
        """What one handle wrote is there for one that is made after it was closed."""
        first = make_store()
        root = first.root()
        (seq,) = first.append([entry("a")], [Put("key", b"value", None)])
        first.close()
        second = make_store()
        assert second.root() == root
        assert second.head() == seq
        assert second.get("key") == Record(b"value", None)

    @pytest.mark.processes
    def test_a_forked_child_uses_the_store(self, store: ClusterStore, other: ClusterStore) -> None:
        """It opens the store anew; what either writes the other sees; both go on afterwards.

        A store that is not shared starts empty in the child.
        """
        (first,) = store.append([entry("parent")], [Put("parent", b"", None)])

        def child() -> bool:
            seen = store.get("parent") is not None
            (seq,) = store.append([entry("child")], [Put("child", b"", None)])
            store.close()
            return seen is store.shared and (seq > first or not store.shared)

        assert in_a_child(child)
        assert (store.get("child") is not None) is store.shared
        (last,) = store.append([entry("after")])
        assert other.head() == last
        names = ["parent", "child", "after"] if store.shared else ["parent", "after"]
        assert [one.id for one in feed_of(other)] == names
