"""What a process can put back: of the store that it talks to, and of no other."""

from __future__ import annotations

from flask_clustertoken.stores.answers import Entry
from flask_clustertoken.stores.tail import Kept, Tail


def kept(seq: int) -> Kept:
    return Kept(Entry(seq, seq - 1, f"e{seq}", b"{}", None))


def test_what_another_store_told_late_is_not_kept() -> None:
    """Its entries, and its deletions, would be put into the one that took its place."""
    tail = Tail()
    tail.of("one")
    assert tail.add([kept(1)], "one")
    tail.of("two")
    assert not tail.add([kept(2)], "one")
    assert tail.entries() == []
    assert tail.last == 0
    assert tail.add([kept(3)], "two")
    tail.of("two")
    assert [one.entry.seq for one in tail.entries()] == [3]
