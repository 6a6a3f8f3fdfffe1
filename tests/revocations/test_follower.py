"""The follower: a lease from the start of the contact, or none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.cluster import Node
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.events import NodeFresh, NodeStale, RevocationApplied
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.revocations.entry import LIFETIME_ANNOUNCED
from flask_clustertoken.stores.base import NewEntry, Put, Root
from flask_clustertoken.tokens import RING_KEY, ring_bytes
from tests.doubles import Cluster, reason, store_of


def test_the_lease_runs_from_the_start_of_the_contact(cluster: Cluster) -> None:
    """What happened while the store answered is not covered: the lease counts from before."""
    node = cluster.node()
    follower = node.follower()
    cluster.clock.advance(20)
    store_of(node).before["vouch"] = lambda: cluster.clock.advance(3)
    store_of(node).after["vouch"] = lambda: cluster.clock.advance(2)
    start = cluster.clock.monotonic()
    follower.step()
    assert follower.lease_end == start + 10
    assert follower.staleness == 5


def test_without_an_entry_nobody_is_fresh(cluster: Cluster) -> None:
    """Where announcing fails there is no vouch and no lease."""
    node = cluster.node()
    store_of(node).failing["announce"] = StoreUnavailable("no")
    follower = node.follower()
    assert not follower.fresh
    assert store_of(node).calls["vouch"] == 0


def test_a_swept_entry_ends_the_lease_at_once(cluster: Cluster) -> None:
    """Whoever listed the nodes since did not see us: the lease is given up, then we join anew."""
    node = cluster.node()
    follower = node.follower()
    cluster.shelf.presence.clear()
    store_of(node).failing["announce"] = StoreUnavailable("no")
    cluster.clock.advance(5)
    assert follower.fresh
    assert follower.step() == 0.0
    assert not follower.fresh
    store_of(node).heal()
    follower.step()
    assert follower.fresh
    assert set(cluster.shelf.presence) == {follower.node_id}


def test_a_cut_node_is_fresh_until_its_lease_ends(cluster: Cluster) -> None:
    """Trouble takes nothing away before the bound, and everything at it."""
    node = cluster.node()
    follower = node.follower()
    store_of(node).cut()
    end = follower.lease_end
    while cluster.clock.monotonic() < end:
        assert follower.fresh
        cluster.clock.advance(0.5)
        follower.step()
    assert not follower.fresh


def test_a_gap_is_a_snapshot(cluster: Cluster) -> None:
    """What was trimmed while a node was away makes it read everything that stands."""
    node, other = cluster.node(), cluster.node()
    token = node.issue_login("alice").token
    cluster.step()
    other.revoke_labels(["trimmed"])
    gone = cluster.shelf.head
    other.revoke_subject("alice")
    store_of(other).trim([gone])
    node.follower().follow()
    assert node.follower().view.covers(token)
    assert node.follower().view.applied == cluster.shelf.head


def test_a_gap_forgets_remembered_answers(cluster: Cluster) -> None:
    """After a gap every record is asked for again: an entry of its end may have been trimmed."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    other.revoke_ids([issued.token.id])
    gone = cluster.shelf.head
    other.revoke_labels(["x"])
    store_of(other).trim([gone])
    node.follower().follow()
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_a_snapshot_takes_nothing_back(cluster: Cluster) -> None:
    """What a view has learnt stays, although the feed does not hold it any more."""
    node = cluster.node()
    token = node.issue_login("alice").token
    node.revoke_subject("alice")
    mark = cluster.shelf.head
    node.revoke_labels(["x"])
    store_of(node).trim([mark])
    node.follower().view.applied = 0
    node.follower().follow()
    assert node.follower().view.covers(token)


def test_an_own_revocation_never_moves_the_position(cluster: Cluster) -> None:
    """Who appended number three still reads one and two."""
    node, other = cluster.node(), cluster.node()
    token = node.issue_login("alice").token
    node.follower().follow()
    before = node.follower().view.applied
    other.revoke_subject("alice")
    node.revoke_labels(["own"])
    assert node.follower().view.applied == before
    assert not node.follower().view.covers(token)
    node.follower().follow()
    assert node.follower().view.covers(token)
    assert node.follower().view.applied == cluster.shelf.head


def test_an_own_revocation_is_announced_once(cluster: Cluster) -> None:
    """Learnt before its place and again in its place, it is one event."""
    node = cluster.node()
    heard: list[Any] = []
    node.events.listen(RevocationApplied, heard.append)
    revocation = node.revoke_subject("alice")
    node.follower().follow()
    assert [one.seq for one in heard] == [revocation.seq]


def test_an_own_entry_is_in_the_view_before_it_may_be_passed_over(cluster: Cluster) -> None:
    """A reader who meets our entry on its way never moves on without it being learnt."""
    node = cluster.node()
    follower = node.follower()
    token = node.issue_login("alice").token
    learn = follower.view.learn
    seen: list[bool] = []

    def learning(entry: Any, feed_entry: Any) -> None:
        # Whoever reads the feed at this very moment:
        follower.view.learn = learn  # type: ignore[method-assign]
        follower.follow()
        seen.append(follower.view.applied < entry.seq or follower.view.covers(token))
        learn(entry, feed_entry)

    follower.view.learn = learning  # type: ignore[method-assign]
    node.revoke_subject("alice")
    assert seen == [True]


def test_a_longer_lifetime_before_an_own_mark_counts(cluster: Cluster) -> None:
    """A mark that was learnt early is remembered for what was announced before it, too."""
    node = cluster.node()
    node.follower()
    other = cluster.node(LIFETIME=30 * 86_400)
    issued = other.issue_login("alice")
    node.revoke_subject("alice")
    cluster.step()
    for _ in range(64):
        node.follower().view.expire(cluster.clock.time() + 29 * 86_400)
    assert node.follower().view.covers(issued.token)


def test_an_unreadable_entry_makes_stale_and_is_not_skipped(cluster: Cluster) -> None:
    """What this version does not understand may be a revocation: no lease, no moving on."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    position = node.follower().view.applied
    store_of(other).append([NewEntry("newer", b'{"format":9,"kind":"ids"}', None)])
    store_of(other).append([NewEntry("after", FeedEntry("labels", 1.0, (5,)).encode(), None)])
    for _ in range(3):
        node.follower().step()
        cluster.clock.advance(1)
        assert reason(node.authenticate(issued.text)) == "stale"
        assert node.follower().view.applied == position
    assert "newer" in node.follower().trouble or "cannot be read" in node.follower().trouble


def test_a_sealed_store_makes_stale_for_good(cluster: Cluster) -> None:
    """From the seal on every node refuses and says where the contents went."""
    node = cluster.node()
    issued = node.issue_login("alice")
    root = store_of(node).root()
    seal = FeedEntry("sealed", cluster.clock.time(), extra={"moved_to": "zookeeper://z"})
    store_of(node).change_root(root, Root(root.epoch, "sealed", "zookeeper://z"), seal.entry(0.0))
    node.follower().step()
    assert reason(node.authenticate(issued.text)) == "stale"
    assert "zookeeper://z" in node.follower().trouble


def test_a_seal_that_is_read_behind_a_gap_ends_the_lease(cluster: Cluster) -> None:
    """Whatever way the seal was read, nobody vouches for this node: its position says it has."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    other.revoke_labels(["trimmed"])
    gone = cluster.shelf.head
    root = store_of(other).root()
    seal = FeedEntry("sealed", cluster.clock.time(), extra={"moved_to": "zookeeper://z"})
    store_of(other).change_root(root, Root(root.epoch, "sealed", "zookeeper://z"), seal.entry(0.0))
    store_of(other).trim([gone])
    assert node.follower().fresh
    node.follower().follow()
    assert node.follower().view.applied == cluster.shelf.head
    assert not node.follower().fresh


@pytest.mark.parametrize(
    "root", [Root("e", "preparing"), Root("e", "sealed"), Root("e", format=99)]
)
def test_a_store_that_is_not_open_makes_nobody_fresh(cluster: Cluster, root: Root) -> None:
    """Being filled, moved away or of a newer form: no lease."""
    cluster.shelf.root = root
    assert not cluster.node().follower().fresh


@pytest.mark.parametrize("by", [-30 * 86_400.0, -3600.0, 3600.0, 30 * 86_400.0])
def test_a_clock_that_jumps_makes_stale_until_it_agrees(cluster: Cluster, by: float) -> None:
    """At once, before the next step; then the view is rebuilt, and nothing was forgotten."""
    own = ManualClock()
    node, other = cluster.node(own), cluster.node()
    issued = node.issue_login("alice")
    revoked = node.issue_login("bob")
    other.revoke_subject("bob")
    node.follower().step()
    assert node.authenticate(issued.text)
    own.set_wall(by)
    assert reason(node.authenticate(issued.text)) == "stale"
    with pytest.raises(StoreUnavailable):
        node.issue_login("alice")
    for _ in range(70):
        node.follower().step()
        own.advance(0.5)
        cluster.clock.advance(0.5)
    assert reason(node.authenticate(issued.text)) == "stale"
    own.set_wall(-by)
    node.follower().step()
    assert node.authenticate(issued.text)
    assert reason(node.authenticate(revoked.text)) == "revoked"


def test_an_embedded_node_asks_again_at_once(host: Cluster) -> None:
    """On one host the clock of the store is ours: a jump costs a look, not an outage."""
    node = host.node()
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    for seconds in (-3600.0, 7200.0):
        host.clock.set_wall(seconds)
        host.clock.advance(1)
        assert node.authenticate(issued.text)


def test_threads_that_come_first_share_one_follower(cluster: Cluster) -> None:
    """Many first requests at once make one node, not several."""
    for _ in range(20):
        node = cluster.node()
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _, one=node: one.follower(), range(8)))
        assert len({one.node_id for one in made}) == 1
    assert len(cluster.shelf.presence) == 20


@pytest.mark.parametrize("skew", [-SKEW + 1, SKEW - 1])
def test_a_small_skew_is_tolerated(cluster: Cluster, skew: float) -> None:
    """Clocks that differ by less than the bound are a normal cluster."""
    node = cluster.node(ManualClock(1_800_000_000.0 + skew))
    assert node.authenticate(node.issue_login("alice").text)


def test_a_node_whose_clock_differs_from_the_stores_is_stale(cluster: Cluster) -> None:
    """From its start on: it never jumped, it was always wrong."""
    node = cluster.node(ManualClock(1_800_000_000.0 + SKEW + 5))
    assert not node.follower().fresh
    assert "clock differs" in node.follower().trouble


def test_a_wrong_clock_shortens_no_memory(cluster: Cluster) -> None:
    """A revocation written by a node an hour slow is remembered as long as any other."""
    own = ManualClock()
    slow, node = cluster.node(own), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    own.set_wall(-30 * 86_400.0)
    slow.revoke_subject("alice")
    node.follower().follow()
    for _ in range(64):
        node.follower().view.expire(cluster.clock.time() + 7 * 86_400)
    assert node.follower().view.covers(issued.token)


def test_the_lifetime_is_announced_before_a_token_is_made_with_it(cluster: Cluster) -> None:
    """A node whose announcement the store did not take makes no token."""
    node = cluster.node()
    store_of(node).failing["append"] = StoreUnavailable("disk full")
    assert node.follower().fresh
    with pytest.raises(StoreUnavailable):
        node.issue_login("alice")
    store_of(node).heal()
    assert node.issue_login("alice")
    announced = [FeedEntry.decode(one.body) for one in cluster.shelf.entries]
    assert [one.value for one in announced if one.kind == "lifetime"] == [7 * 86_400.0]


def test_the_lifetime_is_announced_again_in_time(cluster: Cluster) -> None:
    """Once in half a day, whoever asks, and by all nodes together."""
    node, other = cluster.node(), cluster.node()
    for _ in range(10):
        cluster.step(node, other)
        assert node.follower().lifetime_announced()
        cluster.clock.advance(LIFETIME_ANNOUNCED / 4)
    kinds = [FeedEntry.decode(one.body).kind for one in cluster.shelf.entries]
    assert 5 <= kinds.count("lifetime") <= 6


def test_a_withdrawn_node_is_never_fresh_again(cluster: Cluster) -> None:
    """The lease is given up first and for good, also under a contact that is going on."""
    node = cluster.node()
    follower = node.follower()
    cluster.clock.advance(LIFETIME_ANNOUNCED)
    # Its last call before the lease is set:
    store_of(node).after["append"] = follower.withdraw
    follower.step()
    assert not follower.fresh
    assert follower.node_id not in cluster.shelf.presence
    follower.step()
    assert not follower.fresh


def test_coming_and_going_is_said_once(cluster: Cluster) -> None:
    """One event at each change, with the reason."""
    node = cluster.node()
    heard: list[Any] = []
    for one in (NodeFresh, NodeStale):
        node.events.listen(one, heard.append)
    node.follower()
    cluster.step()
    store_of(node).cut()
    cluster.clock.advance(11)
    cluster.step()
    cluster.step()
    store_of(node).heal()
    cluster.step()
    assert [type(one) for one in heard] == [NodeFresh, NodeStale, NodeFresh]
    assert heard[1].reason == "the line is cut"


def test_what_a_node_publishes_is_what_it_has_applied(cluster: Cluster) -> None:
    """The number in its entry was in its view when it was written."""
    node, other = cluster.node(), cluster.node()
    other.revoke_labels(["x"])
    cluster.step(node)
    cluster.clock.advance(5)
    cluster.step(node)
    (entry,) = [one for one in store_of(node).nodes() if one.node_id == node.follower().node_id]
    assert Node.decode(entry).applied == node.follower().view.applied == cluster.shelf.head


def test_a_change_of_the_keys_is_read_although_the_store_failed_once(cluster: Cluster) -> None:
    """A key that was dropped goes on verifying for no longer than the lease, then never again."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    assert other.authenticate(issued.text)
    (key,) = node.keys.held
    ring = ring_bytes({key: "dropped", "a" * 12: "signing"})
    node.publisher.append(FeedEntry("keys", cluster.clock.time()), [Put(RING_KEY, ring, None)])
    store_of(other).failing["get_many"] = StoreUnavailable("a moment")
    other.follower().step()
    cluster.clock.advance(11)
    other.follower().step()
    assert reason(other.authenticate(issued.text)) == "stale"
    store_of(other).heal()
    other.follower().step()
    assert other.keys.states[key] == "dropped"
    assert reason(other.authenticate(issued.text)) == "invalid"


def test_what_can_wait_does_not_cost_the_lease(cluster: Cluster) -> None:
    """With a store that takes a quarter of a second a call, many notes are made in many steps."""
    maker, node = cluster.node(), cluster.node()
    issued = [maker.issue_api_token("alice", f"robot {number}") for number in range(40)]
    cluster.step()
    for one in issued:
        assert node.authenticate(one.text, "api")
    store = store_of(node)
    for name in ("get_many", "put", "read", "head", "vouch", "root"):
        slow_down(store, name, 0.25, cluster)
    for _ in range(60):
        node.follower().step()
        assert node.follower().fresh
    assert all(maker.last_used(one.token.id) is not None for one in issued)


def slow_down(store: Any, name: str, seconds: float, cluster: Cluster) -> None:
    call = getattr(store, name)

    def slow(*args: Any, **kwargs: Any) -> Any:
        cluster.clock.advance(seconds)
        return call(*args, **kwargs)

    setattr(store, name, slow)


def test_drift_is_named_although_the_store_failed_once(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The comparison at the start is made when it can be made."""
    cluster.node()
    cluster.step()
    odd = cluster.node(LIFETIME=7200, RENEW_AFTER=60)
    store_of(odd).failing["nodes"] = StoreUnavailable("a moment")
    odd.follower().step()
    store_of(odd).heal()
    assert "must agree" not in caplog.text
    cluster.clock.advance(4)
    cluster.step()
    assert "must agree" in caplog.text
