"""The sweeper: hidden first, deleted a day later, and only by a clock that agrees."""

from __future__ import annotations

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.cluster.sweeper import EVERY, QUIET, STEADY
from flask_clustertoken.errors import RevokedMeanwhile, StoreUnavailable
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.revocations.entry import BRIEF, SHORT_MEMORY
from flask_clustertoken.stores.base import NewEntry, Record
from tests.doubles import DAY, Cluster, WatchedStore, reason, store_of
from tests.revocations.histories import roll_back, run_ahead


def keep_house(cluster: Cluster, *nodes: TokenAuthority, rounds: int = 3) -> None:
    for _ in range(rounds):
        cluster.clock.advance(EVERY + 1)
        cluster.step(*nodes)


def kinds(cluster: Cluster) -> list[str]:
    return [FeedEntry.decode(one.body).kind for one in cluster.shelf.entries]


def steady(cluster: Cluster) -> None:
    cluster.step()
    cluster.clock.advance(STEADY)
    cluster.step()


def test_records_are_deleted_a_day_after_their_end(cluster: Cluster) -> None:
    """Over is hidden at once; gone it is a day later."""
    node = cluster.node()
    steady(cluster)
    store_of(node).put("data/x", b"1", cluster.clock.time() + 10)
    cluster.clock.advance(20)
    assert store_of(node).get("data/x") is None
    keep_house(cluster)
    assert "data/x" in cluster.shelf.records
    cluster.clock.advance(DAY)
    keep_house(cluster)
    assert "data/x" not in cluster.shelf.records


def test_a_new_node_deletes_nothing_yet(cluster: Cluster) -> None:
    """Its clock must have agreed with the store's for an hour."""
    node = cluster.node()
    store_of(node).put("data/x", b"1", cluster.clock.time() - 2 * DAY)
    cluster.step()
    keep_house(cluster, rounds=20)
    assert "data/x" in cluster.shelf.records
    cluster.clock.advance(STEADY)
    keep_house(cluster)
    assert "data/x" not in cluster.shelf.records


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_clock_that_wakes_a_month_ahead_deletes_nothing(cluster: Cluster, moment: str) -> None:
    """Not even when it is set between the contact and the broom."""
    own = ManualClock()
    node = cluster.node(own)
    store = store_of(node)
    node.follower()
    for _ in range(3):
        own.advance(STEADY)
        cluster.clock.advance(STEADY)
        node.follower().step()
    issued = node.issue_login("alice")
    node.revoke_labels(["x"])
    entries = len(cluster.shelf.entries)
    if moment == "before":
        own.set_wall(30 * DAY)
    else:
        # Set between the check of the clock and the chores of the same step.
        store.before["nodes"] = lambda: own.set_wall(30 * DAY)
    for _ in range(5):
        own.advance(EVERY + 1)
        cluster.clock.advance(EVERY + 1)
        node.follower().step()
    assert issued.token.record_key in cluster.shelf.records
    assert len(cluster.shelf.entries) >= entries
    assert "labels" in kinds(cluster)


def test_entries_are_trimmed_a_day_after_their_memory(cluster: Cluster) -> None:
    """Short ones early, long ones late; the floor says that something went."""
    node = cluster.node()
    steady(cluster)
    issued = node.issue_login("alice")
    node.revoke_ids([issued.token.id])
    node.revoke_labels(["x"])
    node.publisher.append(FeedEntry("barrier", cluster.clock.time()))
    cluster.clock.advance(SHORT_MEMORY + BRIEF)
    keep_house(cluster)
    assert {"ids", "labels", "barrier"} <= set(kinds(cluster))
    cluster.clock.advance(DAY)
    keep_house(cluster)
    assert "labels" in kinds(cluster)
    assert not {"ids", "barrier"} & set(kinds(cluster))
    assert cluster.shelf.floor > 0
    for _ in range(9):
        cluster.clock.advance(DAY)
        keep_house(cluster, rounds=1)
    assert "labels" not in kinds(cluster)


def test_an_entry_of_a_short_sighted_writer_stays(cluster: Cluster) -> None:
    """A mark is kept by the longest lifetime announced, though its writer did not know of it."""
    node, longer = cluster.node(), cluster.node(LIFETIME=30 * DAY)
    issued = longer.issue_login("alice")
    node.revoke_subject("alice")
    steady(cluster)
    for _ in range(10):
        cluster.clock.advance(DAY)
        keep_house(cluster, rounds=1)
    assert "subject" in kinds(cluster)
    late = cluster.node()
    assert reason(late.authenticate(issued.text)) == "revoked"


def test_marks_over_api_tokens_are_swept_and_then_said_to_be(cluster: Cluster) -> None:
    """Every record that such a mark covers is deleted; only then the mark gets an end."""
    node, other = cluster.node(), cluster.node()
    ended, kept = node.issue_api_token("alice", "a"), node.issue_api_token("bob", "b")
    node.revoke_subject("alice", ("login", "api"))
    later = node.issue_api_token("alice", "c")
    cluster.step()
    assert node.follower().view.unswept()
    keep_house(cluster, rounds=4)
    assert ended.token.record_key not in cluster.shelf.records
    for one in (kept, later):
        assert one.token.record_key in cluster.shelf.records
    assert "swept" in kinds(cluster)
    cluster.step()
    assert not other.follower().view.unswept()


def test_a_mark_of_a_time_to_come_is_swept_when_that_has_passed(cluster: Cluster) -> None:
    """Until then it covers what is issued from here on: a node that starts has to know it."""
    node = cluster.node()
    steady(cluster)
    node.not_before(cluster.clock.time() + 20 * DAY, ("login", "api"), ahead=True)
    for _ in range(19):
        cluster.clock.advance(DAY)
        keep_house(cluster, node)
        late = cluster.node()
        late.follower().step()
        for one in (node, late):
            with pytest.raises(RevokedMeanwhile):
                one.issue_login("alice")
        late.close()
        cluster.members.remove(late)
    for _ in range(10):
        cluster.clock.advance(DAY)
        keep_house(cluster, node)
    assert node.authenticate(node.issue_login("alice").text)
    assert not node.follower().view.unswept()
    assert "not_before" not in kinds(cluster)


def test_a_sweep_that_was_cut_off_is_not_complete(cluster: Cluster) -> None:
    """Trouble in the middle: nothing is said, and the sweep is done later."""
    node = cluster.node()
    ended = node.issue_api_token("alice", "a")
    node.revoke_all(("login", "api"))
    store_of(node).failing["append"] = StoreUnavailable("no")
    keep_house(cluster, rounds=4)
    assert ended.token.record_key in cluster.shelf.records
    assert "swept" not in kinds(cluster)
    store_of(node).heal()
    keep_house(cluster, rounds=4)
    assert "swept" in kinds(cluster)
    assert ended.token.record_key not in cluster.shelf.records


def test_a_sweep_that_met_a_newer_record_is_not_complete(cluster: Cluster) -> None:
    """A record that this version cannot read may be covered: a newer node has to finish."""
    node = cluster.node()
    newer = node.issue_api_token("alice", "a").token.record_key
    record = cluster.shelf.records[newer]
    value = record.value.replace(b'"format":1', b'"format":2')
    cluster.shelf.records[newer] = Record(value, None)
    node.revoke_all(("login", "api"))
    keep_house(cluster, rounds=4)
    assert "swept" not in kinds(cluster)
    cluster.shelf.records[newer] = record
    keep_house(cluster, rounds=4)
    assert "swept" in kinds(cluster)
    assert newer not in cluster.shelf.records


def test_silent_nodes_are_swept_by_our_own_clock(cluster: Cluster) -> None:
    """After their own lease and a good while; who accepts when stale stays a day."""
    node, gone, accepts = cluster.node(), cluster.node(), cluster.node(WHEN_STALE="accept")
    cluster.step()
    ids = [one.follower().node_id for one in (gone, accepts)]
    keep_house(cluster, node, rounds=2)
    assert set(ids) < set(cluster.shelf.presence)
    keep_house(cluster, node, rounds=int((10 + QUIET) / EVERY) + 2)
    assert ids[0] not in cluster.shelf.presence
    assert ids[1] in cluster.shelf.presence
    keep_house(cluster, node, rounds=int(DAY / EVERY) + 5)
    assert set(cluster.shelf.presence) == {node.follower().node_id}


def test_one_node_at_a_time_keeps_house(cluster: Cluster) -> None:
    """The others leave it alone while the elected one is at it, and take over when it died."""
    node, other = cluster.node(), cluster.node()
    steady(cluster)
    purges = store_of(other).calls["purge"]
    keep_house(cluster, node, other, rounds=10)
    assert store_of(node).calls["purge"] > 5
    assert store_of(other).calls["purge"] == purges
    keep_house(cluster, other, rounds=10)
    assert store_of(other).calls["purge"] > purges


def test_a_stale_node_keeps_no_house(cluster: Cluster) -> None:
    """Whoever cannot vouch for what it knows deletes nothing."""
    node = cluster.node()
    steady(cluster)
    purges = store_of(node).calls["purge"]
    store_of(node).failing["vouch"] = StoreUnavailable("no")
    keep_house(cluster, rounds=5)
    assert store_of(node).calls["purge"] == purges


def test_a_clock_a_month_ahead_for_an_afternoon_deletes_nothing(host: Cluster) -> None:
    """On one host the store has no other clock; what is swept moves on as time itself does."""
    node = host.node(TOKEN_STORE="cookie")
    issued = node.issue_login("alice")
    node.revoke_subject("alice")
    steady(host)
    host.clock.set_wall(30 * DAY)
    for _ in range(5):
        host.clock.advance(3600)
        keep_house(host, rounds=1)
    host.clock.set_wall(-30 * DAY)
    for _ in range(3):
        host.clock.advance(1)
        node.follower().step()
    for one in (node, host.node(TOKEN_STORE="cookie")):
        assert reason(one.authenticate(issued.text)) == "revoked"


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_what_is_not_over_holds_up_nothing_behind_it(cluster: Cluster, seconds: float) -> None:
    """Marks whose writers did not know of the longest lifetime may be many; the rest is swept,
    also where a round ends before they are all looked at."""
    longer = cluster.node(LIFETIME=300 * DAY, ABSOLUTE_LIFETIME=None)
    cluster.step()
    store = store_of(longer)
    now = cluster.clock.time()
    for number in range(1200):
        mark = FeedEntry("labels", now, (number,))
        store.append([NewEntry(f"mark-{number}", mark.encode(), now + 60)])
    store.append([NewEntry("id", FeedEntry("ids", now, (5,), recorded=True).encode(), now + 7200)])
    steady(cluster)
    cluster.clock.advance(2 * DAY)
    slow_down(cluster, store, "ended", seconds)
    keep_house(cluster, rounds=2 if seconds == 0 else 12)
    assert "ids" not in kinds(cluster)
    assert kinds(cluster).count("labels") == 1200


def slow_down(cluster: Cluster, store: WatchedStore, name: str, seconds: float) -> None:
    """Let *seconds* pass at each such call."""
    call = getattr(store, name)

    def slow(*args: object, **kwargs: object) -> object:
        cluster.clock.advance(seconds)
        return call(*args, **kwargs)

    setattr(store, name, slow)


def test_no_chore_takes_all_the_time_from_the_others(cluster: Cluster) -> None:
    """Where one of them needs more than there is, the others have their turns all the same."""
    node = cluster.node()
    steady(cluster)
    store = store_of(node)
    before = store.calls.copy()
    for name in ("purge", "ended", "nodes"):
        slow_down(cluster, store, name, 1.5)
    for _ in range(4):
        cluster.clock.advance(EVERY + 1)
        cluster.step()
        assert node.follower().fresh
        assert node.follower().staleness < 2
    assert all(store.calls[name] > before[name] for name in ("purge", "ended", "nodes"))


def test_a_frozen_node_that_is_back_is_not_swept(cluster: Cluster) -> None:
    """It renews its entry between the look of whoever sweeps and the removal."""
    node, frozen = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    name = frozen.follower().node_id

    def thaw() -> None:
        frozen.follower().step()
        frozen.follower().step()

    for _ in range(60):
        cluster.clock.advance(EVERY + 1)
        store_of(node).before["withdraw"] = thaw
        node.follower().step()
        assert name in cluster.shelf.presence
    frozen.follower().step()
    assert frozen.authenticate(issued.text)


def test_a_sweep_leaves_time_for_the_lease(cluster: Cluster) -> None:
    """With a store that takes its time the sweep of a mark goes on in the next step."""
    node = cluster.node()
    for number in range(900):
        node.issue_api_token("alice", f"robot {number}")
    steady(cluster)
    node.revoke_subject("alice", ["login", "api"])
    store = store_of(node)
    slow_down(cluster, store, "append", 1.5)
    # (Nine deletions, each when it is its turn among the chores: by chance it may take 130 steps.)
    for _ in range(400):
        cluster.clock.advance(1)
        node.follower().step()
        assert node.follower().fresh
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]


def test_a_sweep_that_another_one_finished_is_over(cluster: Cluster) -> None:
    """Whoever was in the middle of it goes back to one round in half a minute."""
    node, other = cluster.node(), cluster.node()
    for number in range(300):
        node.issue_api_token("alice", f"robot {number}")
    steady(cluster)
    node.revoke_subject("alice", ["login", "api"])
    slow_down(cluster, store_of(node), "append", 1.5)
    while len([key for key in cluster.shelf.records if key.startswith("token/")]) == 300:
        node.follower().step()
        cluster.clock.advance(1)
    (seq,) = node.follower().view.unswept()
    done = FeedEntry("swept", cluster.clock.time(), value=float(seq))
    store_of(other).append([done.entry(0.0, f"swept-{seq}")])
    node.follower().step()
    before = store_of(node).calls["nodes"]

    for _ in range(60):
        cluster.clock.advance(1)
        node.follower().step()

    assert store_of(node).calls["nodes"] - before <= 3


def test_a_mark_under_a_number_that_came_again_is_swept_from_the_start(cluster: Cluster) -> None:
    """A backup lost the mark that was being swept, and another one has its number now."""
    node, other = cluster.node(), cluster.node()
    run_ahead(cluster)
    for number in range(300):
        node.issue_api_token("alice", f"robot {number}")
    steady(cluster)
    kept = len(cluster.shelf.entries)
    lost = other.revoke_subject("bob", ["login", "api"])
    slow_down(cluster, store_of(node), "scan", 1.5)
    scanned = store_of(node).calls["scan"]
    while store_of(node).calls["scan"] == scanned:
        cluster.clock.advance(1)
        node.follower().step()
    roll_back(cluster, kept)
    assert other.revoke_subject("alice", ["login", "api"]).seq == lost.seq
    other.restored()
    for _ in range(120):
        cluster.clock.advance(1)
        node.follower().step()
    assert "swept" in kinds(cluster)
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]
