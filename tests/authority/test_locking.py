"""Locks: who may not come back in. With the promises of a revocation, and no hole in a login."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from types import FrameType

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.authority.locking import MESSAGE_LIMIT
from flask_clustertoken.cluster import Node
from flask_clustertoken.cluster.sweeper import DAY, EVERY
from flask_clustertoken.errors import Locked, NodesTooOld
from flask_clustertoken.events import RevocationApplied
from flask_clustertoken.revocations import FeedEntry, entry
from flask_clustertoken.stores.base import Entry
from flask_clustertoken.tokens import UNNUMBERED, Refusal, Token, digest
from tests.doubles import Cluster, reason, store_of
from tests.rounds import rounds


@pytest.fixture(params=["session", "cookie"])
def token_store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def two(cluster: Cluster, **settings: object) -> tuple[TokenAuthority, TokenAuthority]:
    nodes = cluster.node(**settings), cluster.node(**settings)
    cluster.step()
    return nodes


def test_a_lock_ends_what_is_there_and_refuses_what_is_new(
    cluster: Cluster, token_store: str
) -> None:
    """On every node: the login of before, the next one, a renewal, API tokens of any age."""
    one, other = two(cluster, TOKEN_STORE=token_store)
    login, api = one.issue_login("alice"), one.issue_api_token("alice", "backup")
    bob = one.issue_login("bob")
    other.locking.lock(subject="alice", message="Please see the office.")
    cluster.step()

    for node in (one, other):
        found = node.authenticate(login.text)
        assert isinstance(found, Refusal)
        assert (found.reason, found.message) == ("locked", "Please see the office.")
        assert found.locked_until is None
        assert reason(node.authenticate(api.text, "api")) == "locked"
        assert node.renew(login.text, login.token) is None
        with pytest.raises(Locked, match="office") as told:
            node.issue_login("alice")
        assert told.value.message == "Please see the office."
        with pytest.raises(Locked):
            node.issue_api_token("alice", "another")
        assert node.authenticate(bob.text)

    other.locking.unlock(subject="alice")
    cluster.step()
    for node in (one, other):
        assert reason(node.authenticate(login.text)) == "revoked"
        assert node.authenticate(api.text, "api")
        assert node.authenticate(node.issue_login("alice").text)


def test_a_lock_that_arrives_during_a_login_wins(cluster: Cluster, token_store: str) -> None:
    """Also between the look at the view and the step that issues; nothing is left behind."""
    one, other = two(cluster, TOKEN_STORE=token_store)
    since = one.begin()
    other.locking.lock(subject="alice")
    with pytest.raises(Locked):
        one.issue_login("alice", since=since)

    other.locking.unlock(subject="alice")
    armed = [True]

    def lock_now() -> None:
        if armed and armed.pop():
            other.locking.lock(subject="alice")

    store_of(one).before["append"] = lock_now
    if token_store == "session":
        with pytest.raises(Locked):
            one.issue_login("alice")
        assert not armed
        assert list(one.tokens_of("alice")) == []


def test_what_is_asked_for_with_a_locked_login_is_refused(cluster: Cluster) -> None:
    """The login that asked was judged before the lock; what it asks for comes after."""
    one, other = two(cluster)
    asking = one.issue_login("alice").token
    other.locking.lock(subject="alice")
    with pytest.raises(Locked):
        one.issue_api_token("robot", "on her strength", on=asking)


def test_a_bearer_token_of_another_issuer_is_refused_while_the_lock_stands(
    cluster: Cluster,
) -> None:
    """It carries no number of the feed, so it is good again afterwards."""
    one, other = two(cluster)
    foreign = Token(
        id="from-elsewhere",
        subject="alice",
        kind="api",
        issued_at=0,
        authenticated_at=0,
        expires_at=None,
        labels=("provider:session",),
        since=UNNUMBERED,
    )
    for where in ({"subject": "alice"}, {"label": "provider:session"}, {"everyone": True}):
        other.locking.lock(**where)  # type: ignore[arg-type]
        cluster.step()
        assert reason(one.judge_foreign(foreign)) == "locked"
        assert one.judge_foreign(replace(foreign, kind="login", labels=("x",), subject="b")) or (
            "everyone" in where
        )
        other.locking.unlock(**where)  # type: ignore[arg-type]
        cluster.step()
        assert one.judge_foreign(foreign)


def test_a_lock_has_a_time(cluster: Cluster) -> None:
    """It ends by itself on every node, to within what clocks may differ by."""
    one, other = two(cluster)
    until = cluster.clock.time() + 60
    other.locking.lock(subject="alice", until=until, message="later")
    cluster.step()
    with pytest.raises(Locked) as told:
        one.issue_login("alice")
    assert told.value.until == until
    cluster.clock.advance(4)
    cluster.step()
    assert [lock.until for lock in one.locking.locks()] == [until]
    for _ in range(15):
        cluster.clock.advance(4)
        cluster.step()
    assert one.authenticate(one.issue_login("alice").text)
    assert one.locking.locks() == []


def test_a_token_that_was_seen_costs_nothing_because_of_locks(cluster: Cluster) -> None:
    """It is asked about once behind each lock, and never at the store."""
    one, other = two(cluster)
    text = one.issue_login("bob").text
    assert one.authenticate(text)
    for number in range(20):
        other.locking.lock(subject=f"user-{number}")
    cluster.step()
    view = one.follower().view
    asked: list[object] = []
    look = type(view).lock_on
    calls = dict(store_of(one).calls)
    try:
        type(view).lock_on = lambda *a: asked.append(a) or look(*a)  # type: ignore[method-assign,func-returns-value]
        assert all(one.authenticate(text) for _ in range(10))
    finally:
        type(view).lock_on = look  # type: ignore[method-assign]
    assert len(asked) == 1
    assert dict(store_of(one).calls) == calls


def test_however_many_locks_cost_a_seen_token_no_call(cluster: Cluster) -> None:
    """What its check calls is what it calls without any lock, function by function."""
    node = cluster.node()
    text = node.issue_login("bob").text
    cluster.step()

    def calls() -> list[str]:
        assert node.authenticate(text)  # (Once behind what was learnt; from here on it is seen.)
        found: list[str] = []

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                found.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

        sys.setprofile(note)
        try:
            accepted = node.authenticate(text)
        finally:
            sys.setprofile(None)
        assert accepted
        return found

    without = calls()
    asked = dict(store_of(node).calls)
    view = node.follower().view
    first = view.applied + 1
    count = rounds(5_000, 100_000)
    for number in range(count):
        name = f"user-{number}"
        marks = (digest("subject:login", name), digest("subject:api", name))
        notice = FeedEntry("lock", cluster.clock.time(), marks, ("login", "api"))
        view.learn(Entry(first + number, 0, str(number), b"", None), notice)
    assert len(view.locks) == count

    assert calls() == without
    assert dict(store_of(node).calls) == asked
    with pytest.raises(Locked):
        node.issue_login("user-4777")


def test_maintenance_spares_administrators(cluster: Cluster) -> None:
    """Everyone but whose login has a label."""
    one, other = two(cluster)
    admin = one.issue_login("root", labels=["role:admin"])
    guest = one.issue_login("alice")
    other.locking.lock(everyone=True, except_labels=["role:admin"], message="Back at six.")
    cluster.step()
    assert one.authenticate(admin.text)
    assert reason(one.authenticate(guest.text)) == "locked"
    assert one.authenticate(one.issue_login("root", labels=["role:admin"]).text)
    with pytest.raises(Locked):
        one.issue_login("root")


def test_locks_are_listed_with_their_names(cluster: Cluster) -> None:
    """What is in force, by any node; a second lock takes the place of the first."""
    one, other = two(cluster)
    other.locking.lock(subject="alice", message="first")
    other.locking.lock(label="oidc:s1", except_labels=["staff"])
    other.locking.lock(kind="api")
    last = other.locking.lock(subject="alice", message="second")
    found = one.locking.locks()
    assert [(lock.what, lock.name, lock.message) for lock in found] == [
        ("label", "oidc:s1", ""),
        ("kind", "api", ""),
        ("subject", "alice", "second"),
    ]
    assert found[-1].seq == last.seq
    assert found[0].except_labels == ("staff",)
    one.locking.unlock(kind="api")
    assert [lock.what for lock in other.locking.locks()] == ["label", "subject"]


def test_a_lock_can_be_confirmed_and_is_told(cluster: Cluster) -> None:
    """The receipt is that of a revocation, and listeners hear what it covers."""
    one, other = two(cluster)
    token = one.issue_login("alice").token
    heard: list[RevocationApplied] = []
    one.events.listen(RevocationApplied, heard.append)
    receipt = other.locking.lock(subject="alice")
    cluster.step()
    assert [(event.seq, event.covers(token)) for event in heard] == [(receipt.seq, True)]
    assert not heard[0].covers(replace(token, subject="bob"))
    other.locking.unlock(subject="alice")
    cluster.step()
    assert len(heard) == 1


def test_an_embedded_lock_is_in_force_when_it_returns(host: Cluster) -> None:
    """As a revocation: no step of the other process is needed, and it confirms at once."""
    one, other = host.node(), host.node()
    text = one.issue_login("alice").text
    assert other.locking.lock(everyone=True).confirm()
    assert reason(one.authenticate(text)) == "locked"
    other.locking.unlock(everyone=True)
    assert one.issue_login("alice")


def test_a_restarted_node_knows_the_locks(cluster: Cluster) -> None:
    """They are in the snapshot."""
    _, other = two(cluster)
    other.locking.lock(subject="alice")
    late = cluster.node()
    late.follower().step()
    with pytest.raises(Locked):
        late.issue_login("alice")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({}, TypeError),
        ({"subject": "a", "everyone": True}, TypeError),
        ({"subject": ""}, ValueError),
        ({"subject": 7}, TypeError),
        ({"kind": "cookie"}, ValueError),
        ({"subject": "a", "until": 5.0}, ValueError),
        ({"subject": "a", "until": datetime(2099, 1, 1)}, ValueError),
        ({"subject": "a", "message": "x" * (MESSAGE_LIMIT + 1)}, ValueError),
        ({"subject": "a", "message": 7}, TypeError),
        ({"subject": "a", "except_labels": "staff"}, TypeError),
    ],
)
def test_a_lock_that_cannot_be_meant_writes_nothing(
    cluster: Cluster, call: dict[str, object], error: type[Exception]
) -> None:
    """A mistake is told to whoever made it, before anything reaches the store."""
    node = cluster.node()
    cluster.step()
    before = len(cluster.shelf.entries)
    with pytest.raises(error):
        node.locking.lock(**call)  # type: ignore[arg-type]
    assert len(cluster.shelf.entries) == before


def test_a_lock_until_milliseconds_since_1970_is_refused(cluster: Cluster) -> None:
    """It would stand for ever; the error names the mistake."""
    node = cluster.node()
    cluster.step()
    before = len(cluster.shelf.entries)
    with pytest.raises(ValueError, match="in seconds since 1970, and not in milliseconds"):
        node.locking.lock(subject="a", until=cluster.clock.time() * 1000)
    assert len(cluster.shelf.entries) == before


def test_nothing_is_written_that_a_live_node_does_not_read(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the node to upgrade; revocations go on meanwhile, in the old form."""
    new, old = two(cluster)
    monkeypatch.setattr(entry, "FORMAT", 1)
    old.follower().step()
    cluster.clock.advance(4)
    old.follower().step()
    monkeypatch.setattr(entry, "FORMAT", 2)
    new.follower().step()
    reads = {Node.decode(one).reads for one in new.store.nodes()}
    assert reads == {1, 2}

    before = len(cluster.shelf.entries)
    with pytest.raises(NodesTooOld, match="Upgrade them") as told:
        new.locking.lock(subject="alice")
    assert len(told.value.nodes) == 1
    assert new.locking.locks() == []
    assert len(cluster.shelf.entries) == before
    new.revoke_subject("alice")
    assert FeedEntry.decode(cluster.shelf.entries[-1].body).format == 1

    old.close()
    new.locking.lock(subject="alice")
    assert FeedEntry.decode(cluster.shelf.entries[-1].body).format == 2


def test_a_node_that_does_not_know_locks_is_stale_never_open(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an older version that came in between the look and the entry."""
    node, old = two(cluster)
    text = node.issue_login("bob").text
    assert old.authenticate(text)
    node.locking.lock(subject="alice")
    monkeypatch.setattr(entry, "FORMAT", 1)
    old.follower().step()
    assert reason(old.authenticate(text)) == "stale"
    assert "cannot be read by this version" in old.follower().trouble


def test_a_lock_and_its_unlock_are_swept_when_they_are_over(cluster: Cluster) -> None:
    """The lock first; whoever joins at any moment lets in whom it may."""
    one, other = two(cluster)
    other.locking.lock(subject="alice")
    other.locking.unlock(subject="alice")
    cluster.step()

    def kinds() -> list[str]:
        said = [FeedEntry.decode(found.body).kind for found in cluster.shelf.entries]
        return [kind for kind in said if kind in ("lock", "unlock")]

    sweeper = one.runtime.sweeper
    assert sweeper is not None
    sweeper.over()
    assert sweeper.sweep_locks() == 0
    assert kinds() == ["lock", "unlock"]
    for left in (["unlock"], []):
        for _ in range(20):
            cluster.clock.advance(DAY / 2)
            cluster.step()
            sweeper.over()
        assert sweeper.sweep_locks() in (0, 1)
        cluster.step()
        assert set(kinds()) <= set(left) | {"unlock"}
        late = cluster.node()
        late.follower().step()
        assert late.authenticate(late.issue_login("alice").text)
        late.close()
    assert kinds() == []
    assert len(one.follower().view.locks) == 0


def pass_days(cluster: Cluster, days: float, *nodes: TokenAuthority) -> None:
    """With a look of each of *nodes* every quarter of a day, as often as house is kept."""
    for _ in range(int(days * 4)):
        cluster.clock.advance(DAY / 4)
        for _ in range(3):
            cluster.clock.advance(EVERY + 1)
            cluster.step(*nodes)


@pytest.mark.parametrize("first", [None, 30 * DAY])
def test_the_lock_that_a_second_one_replaced_stays_away(
    cluster: Cluster, first: float | None
) -> None:
    """Not even for whoever joins when the second one is over and has been swept."""
    (node,) = (cluster.node(),)
    cluster.step()
    now = cluster.clock.time()
    node.locking.lock(subject="alice", until=None if first is None else now + first)
    node.locking.lock(subject="alice", until=now + 3600)
    with pytest.raises(Locked):
        node.issue_login("alice")
    for _ in range(8):
        pass_days(cluster, 5, node)
        late = cluster.node()
        late.follower().step()
        for one in (node, late):
            assert one.authenticate(one.issue_login("alice").text)
        late.close()
        cluster.members.remove(late)
    said = [FeedEntry.decode(found.body).kind for found in cluster.shelf.entries]
    assert "lock" not in said
    assert len(node.follower().view.locks) == 0


def test_a_node_that_was_away_while_a_lock_was_lifted_and_swept_lets_in(cluster: Cluster) -> None:
    """Nothing in the feed tells it of either any more, but that there is a gap."""
    node, away = two(cluster, LIFETIME=3600, RENEW_AFTER=600)
    node.locking.lock(subject="alice")
    cluster.step(away)
    node.locking.unlock(subject="alice")
    pass_days(cluster, 6, node)
    assert "unlock" not in [FeedEntry.decode(one.body).kind for one in cluster.shelf.entries]
    for _ in range(3):  # (it was swept from the list of nodes, and joins again)
        cluster.clock.advance(5)
        cluster.step()
    assert away.authenticate(node.issue_login("alice").text)
    assert len(away.follower().view.locks) == 0
