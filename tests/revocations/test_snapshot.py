"""A snapshot that was broken off goes on where it stopped, in the history that it was read from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import Locked, StoreUnavailable
from flask_clustertoken.settings.limits import DAY
from flask_clustertoken.stores.base import Batch
from tests.doubles import Cluster, store_of

#: Entries of a page.
PAGE = 4


class Pages:
    """What a node reads of its feed, in small pages; some reads fail."""

    def __init__(self, node: TokenAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = store_of(node).read
        self.asked: list[int] = []
        self.answered = 0
        self.fails: Callable[[int], bool] = lambda _: False
        monkeypatch.setattr(store_of(node), "read", self)

    def __call__(self, after: int, limit: int = PAGE) -> Batch:
        self.asked.append(after)
        if self.fails(len(self.asked)):
            raise StoreUnavailable("too slow")
        self.answered += 1
        return self.read(after, min(limit, PAGE))


@pytest.fixture
def node(cluster: Cluster) -> TokenAuthority:
    """A node that has revoked some dozens of labels; a clock had run ahead before."""
    clock = ManualClock()
    clock.set_wall(30 * DAY)
    cluster.node(clock, active=False).revoke_labels(["ahead"])
    cluster.members.pop()
    node = cluster.node()
    for number in range(10 * PAGE):
        node.revoke_labels([f"label {number}"])
    return node


def broken_off(node: TokenAuthority, pages: Pages, count: int) -> None:
    """The node reads everything anew, as after a gap, and comes *count* pages far."""
    node.follower().reader.begin_anew()
    pages.fails = lambda asked: asked > count
    with pytest.raises(StoreUnavailable):
        node.follower().follow()
    pages.fails = lambda asked: False


def test_pages_that_were_read_are_not_read_again(
    cluster: Cluster, node: TokenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other read fails: all is known after as many answers as there are pages."""
    pages, follower = Pages(node, monkeypatch), node.follower()
    follower.reader.begin_anew()
    pages.fails = lambda asked: asked % 2 == 0
    failures = 0
    for _ in range(len(cluster.shelf.entries)):
        try:
            follower.follow()
            break
        except StoreUnavailable:
            failures += 1
    assert follower.view.applied == cluster.shelf.head
    assert failures > 5
    # (One entry of each page that goes on is the one read last.)
    assert pages.answered <= -(-len(cluster.shelf.entries) // (PAGE - 1)) + 1


def test_it_goes_on_only_where_its_entry_still_stands(
    cluster: Cluster, node: TokenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that went back meanwhile, and came to the number again, is read from its start."""
    login = node.issue_login("alice", labels=["hers"]).token
    pages = Pages(node, monkeypatch)
    broken_off(node, pages, 9)
    assert not node.follower().view.covers(login)
    shelf, length = cluster.shelf, len(cluster.shelf.entries)
    shelf.entries = shelf.entries[: 5 * PAGE]
    shelf.head = shelf.entries[-1].seq
    shelf.known = {one.id: one.seq for one in shelf.entries}
    writer = cluster.node(active=False)
    writer.revoke_labels(["hers"])
    while len(shelf.entries) <= length:
        writer.revoke_labels(["newer"])
    cluster.members.pop()
    begun = len(pages.asked)
    node.follower().follow()
    assert pages.asked[begun + 1] == 0
    assert node.follower().view.covers(login)


@pytest.mark.parametrize("doubted", ["the position", "the locks"])
def test_what_was_doubted_meanwhile_is_read_from_its_start(
    node: TokenAuthority, monkeypatch: pytest.MonkeyPatch, doubted: str
) -> None:
    """Pages of before the doubt are no part of what is known after it."""
    pages = Pages(node, monkeypatch)
    broken_off(node, pages, 9)
    if doubted == "the position":
        node.follower().reader.begin_anew()
    else:
        node.follower().view.locks.begin_anew()
    begun = len(pages.asked)
    node.follower().follow()
    assert pages.asked[begun] == 0


def test_a_lock_of_a_page_that_was_read_before_stands(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on does not take it for one that the feed lacks."""
    node = cluster.node()
    node.locking.lock(subject="alice")
    for number in range(3 * PAGE):
        node.revoke_labels([f"label {number}"])
    pages = Pages(node, monkeypatch)
    broken_off(node, pages, 2)
    node.follower().follow()
    with pytest.raises(Locked):
        node.issue_login("alice")
