"""Confirmation: "in force everywhere" is said when it is true, and never else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flask_clustertoken.cluster.confirmation as confirmation
from flask_clustertoken.cluster import Confirmation
from flask_clustertoken.cluster.nodes import this_host
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.stores.base import Presence
from tests.doubles import Cluster, reason, store_of
from tests.revocations.histories import roll_back, run_ahead


class Waiting:
    """Stands in for the waiting between two looks: time passes, and what a test wants happens."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.meanwhile: Callable[[], Any] = lambda: None

    def Event(self) -> Waiting:
        return self

    def wait(self, seconds: float) -> None:
        self.cluster.clock.advance(seconds)
        self.meanwhile()


@pytest.fixture
def waiting(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    made = Waiting(cluster)
    monkeypatch.setattr(confirmation, "threading", made)
    return made


def test_it_is_in_force_when_all_have_answered(cluster: Cluster, waiting: Waiting) -> None:
    """Each node names itself, once it had applied what stands before the barrier."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    waiting.meanwhile = lambda: other.follower().step()
    done = node.revoke_subject("alice").confirm()
    assert done
    assert done.in_force
    assert {one.node.id for one in done.answered} == {
        node.follower().node_id,
        other.follower().node_id,
    }
    assert not any(one.by_silence for one in done.answered)
    assert done.certain_in == 0.0
    assert done.elapsed < 1


def test_a_silent_node_is_named_with_when_it_is_certain(cluster: Cluster, waiting: Waiting) -> None:
    """Not in force, and from when on it must be: the silent node's own lease and a margin."""
    node, other = cluster.node(), cluster.node(MAX_STALENESS=20)
    cluster.step()
    done = node.revoke_subject("alice").confirm(timeout=3)
    assert not done
    assert [one.node.id for one in done.silent] == [other.follower().node_id]
    assert done.certain_in is not None
    assert 17 <= done.certain_in <= 18
    assert cluster.clock.monotonic() + done.certain_in >= other.follower().lease_end


def test_a_dead_node_is_certain_when_its_lease_ran_out(cluster: Cluster, waiting: Waiting) -> None:
    """By its own published bound, not by ours, and it cannot accept any more by then."""
    node, other = cluster.node(MAX_STALENESS=4), cluster.node(MAX_STALENESS=20)
    issued = node.issue_login("alice")
    assert other.authenticate(issued.text)
    cluster.step()
    waiting.meanwhile = lambda: node.follower().step()
    done = node.revoke_subject("alice").confirm(timeout=60)
    assert done.in_force
    assert done.elapsed > 20
    assert [one.by_silence for one in done.answered] == [False, True]
    assert reason(other.authenticate(issued.text)) == "stale"


def test_who_accepts_when_stale_is_never_certain(cluster: Cluster, waiting: Waiting) -> None:
    """No time is named, and no waiting makes it so."""
    node, other = cluster.node(), cluster.node(WHEN_STALE="accept")
    cluster.step()
    done = node.revoke_subject("alice").confirm(timeout=100)
    assert not done.in_force
    assert done.certain_in is None
    waiting.meanwhile = lambda: other.follower().step()
    assert node.revoke_subject("alice").confirm().in_force


def test_a_withdrawn_node_counts_as_answered(cluster: Cluster, waiting: Waiting) -> None:
    """It gave its lease up before its entry went."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    assert other.authenticate(issued.text)
    cluster.step()
    waiting.meanwhile = other.close
    done = node.revoke_subject("alice").confirm()
    assert done.in_force
    assert done.answered[-1].by_silence
    assert reason(other.authenticate(issued.text)) == "stale"


def test_hosts_that_should_be_there_are_named(cluster: Cluster, waiting: Waiting) -> None:
    """An expected host without any node is missing; it has no node that could accept."""
    node = cluster.node(EXPECTED_NODES=[this_host(), "web-9"])
    assert node.revoke_all().confirm().missing == ("web-9",)


def test_a_node_that_joins_meanwhile_knows_the_revocation(
    cluster: Cluster, waiting: Waiting
) -> None:
    """It stands in no list of then, and needs not: it begins behind the barrier."""
    node = cluster.node()
    issued = node.issue_login("alice")
    late = cluster.node()
    store_of(node).after["nodes"] = lambda: late.follower() and None
    assert node.revoke_subject("alice").confirm().in_force
    assert reason(late.authenticate(issued.text)) == "revoked"


@pytest.mark.parametrize(
    "info", [b"", b"\xff", b"[]", b'{"format":2}', b'{"keys":5}', b'{"max_staleness":null}']
)
def test_an_entry_that_is_not_understood_is_waited_for(
    cluster: Cluster, waiting: Waiting, info: bytes
) -> None:
    """A node of a newer form may accept for as long as any may: no false "in force"."""
    node = cluster.node()
    cluster.step()
    cluster.shelf.presence["newer"] = Presence("newer", info, 1, cluster.clock.time())
    done = node.revoke_all().confirm(timeout=30)
    assert not done.in_force
    assert done.certain_in is None or done.certain_in > 200


def test_an_old_number_is_no_answer(cluster: Cluster, waiting: Waiting) -> None:
    """Rewriting an entry without having applied the barrier says nothing."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    entry = cluster.shelf.presence[other.follower().node_id]
    info = json.dumps(json.loads(entry.info)).encode()
    waiting.meanwhile = lambda: store_of(other).vouch(other.follower().node_id, info)
    assert not node.revoke_all().confirm(timeout=2).in_force


@pytest.mark.parametrize("call", ["append", "nodes"])
def test_trouble_while_confirming_is_an_error(
    cluster: Cluster, waiting: Waiting, call: str
) -> None:
    """A store that cannot be asked confirms nothing."""
    node = cluster.node()
    revocation = node.revoke_all()
    store_of(node).failing[call] = StoreUnavailable("no")
    with pytest.raises(StoreUnavailable):
        revocation.confirm()


def test_progress_shows_each_state(cluster: Cluster, waiting: Waiting) -> None:
    """Who waits at a terminal sees who is still silent."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    seen: list[Confirmation] = []
    waiting.meanwhile = lambda: other.follower().step()
    node.revoke_all().confirm(progress=seen.append)
    assert [len(one.silent) for one in seen] == [1, 0]


def test_an_embedded_store_confirms_at_once(host: Cluster) -> None:
    """There it was in force when the revocation returned: no barrier, no waiting."""
    node, _ = host.node(), host.node()
    revocation = node.revoke_all()
    appends = store_of(node).calls["append"]
    assert revocation.confirm().in_force
    assert store_of(node).calls["append"] == appends


def test_a_command_line_can_confirm(cluster: Cluster, waiting: Waiting) -> None:
    """It waits for the nodes and is none itself."""
    node, shell = cluster.node(), cluster.node(active=False)
    cluster.step(node)
    waiting.meanwhile = lambda: node.follower().step()
    done = shell.revoke_all().confirm()
    assert [one.node.id for one in done.answered] == [node.follower().node_id]


def test_a_number_of_another_history_is_no_answer(cluster: Cluster, waiting: Waiting) -> None:
    """A node that read what a backup lost stands above the barrier, and has not read it."""
    node, other = cluster.node(), cluster.node(WHEN_STALE="accept")
    cluster.step()
    run_ahead(cluster)
    issued = node.issue_login("alice")
    cluster.step()
    kept = len(cluster.shelf.entries)
    shell = cluster.node(active=False)
    for _ in range(5):
        shell.revoke_labels(["lost"])
    cluster.members.pop()
    assert other.authenticate(issued.text)
    cluster.step(other)
    cluster.clock.advance(4)
    cluster.step(other)
    store_of(other).cut()
    roll_back(cluster, kept)
    done = node.revoke_subject("alice").confirm(timeout=60)
    assert [one.node.id for one in done.silent] == [other.follower().node_id]
    assert other.authenticate(issued.text)
    store_of(other).heal()
    node.restored()
    cluster.clock.advance(4)
    waiting.meanwhile = lambda: other.follower().step()
    assert node.revoke_subject("alice").confirm()


def test_who_has_read_further_than_the_barrier_has_answered(
    cluster: Cluster, waiting: Waiting
) -> None:
    """What others append meanwhile is looked up, or nobody would be confirmed in a busy cluster."""
    node, other = cluster.node(), cluster.node()
    cluster.step()

    def busy() -> None:
        for _ in range(3):
            other.revoke_labels(["x"])
        cluster.clock.advance(4)
        cluster.step(other)

    waiting.meanwhile = busy
    done = node.revoke_subject("alice").confirm(timeout=3)
    assert done
    assert not any(one.by_silence for one in done.answered)
