"""What another thread or node does between two steps of ours, forced to happen just there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.authority.verified_cache import Verified, VerifiedTokens
from flask_clustertoken.clock import SKEW
from flask_clustertoken.cluster import Node
from flask_clustertoken.cluster.joining import building
from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.events import NodeFresh, RevocationApplied
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import NewEntry, Put
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import RING_KEY, KeyFile, Token, fingerprint, new_id, ring_bytes
from tests.doubles import CALLS, DAY, Cluster, reason, store_of

FIRST, SECOND = "a" * 40, "b" * 40


def elsewhere(work: Callable[[], object]) -> None:
    """Do *work* in another thread, and wait for it."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits for us"


def two_keys(host: Cluster) -> tuple[TokenAuthority, TokenAuthority]:
    one, two = (host.node(SECRET=[FIRST, SECOND], TOKEN_STORE="cookie") for _ in range(2))
    host.step()
    return one, two


def drop_the_first(node: TokenAuthority) -> None:
    ring = ring_bytes({fingerprint(FIRST): "dropped", fingerprint(SECOND): "signing"})
    node.publisher.append(FeedEntry("keys", node.clock.time()), [Put(RING_KEY, ring, None)])


# -- the first round -------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda node: node.readiness(),
        lambda node: node.nodes(),
        lambda node: node.revoke_subject("alice"),
        lambda node: list(node.tokens_of("alice")),
    ],
    ids=["readiness", "nodes", "revoke", "list"],
)
def test_whoever_listens_to_the_first_round_may_ask(
    host: Cluster, ask: Callable[[TokenAuthority], object]
) -> None:
    """A listener that uses the authority does not wait for the round that it is part of."""
    host.node().revoke_subject("bob")
    node = host.node()
    heard: list[object] = []
    node.events.listen(NodeFresh, lambda event: heard.append(ask(node)))

    elsewhere(node.follower)

    assert len(heard) == 1
    assert node.readiness().fresh


@pytest.mark.parametrize("active", [True, False])
def test_no_lock_is_held_while_the_store_works(host: Cluster, active: bool) -> None:
    """One app whose store is slow to answer holds up no other app of the process."""
    node = host.node(active=active)
    held: list[str] = []

    def check(name: str) -> Callable[[], None]:
        return lambda: held.append(name) if building().locked() else None

    store_of(node).before.update({name: check(name) for name in CALLS})
    node.follower()
    assert held == []


def test_others_wait_for_the_first_round(host: Cluster) -> None:
    """The first requests of a process come in many threads: all get the truth."""
    text = host.node().issue_login("alice").text
    node = host.node()
    found: list[Any] = []
    others = [
        threading.Thread(target=lambda: found.append(node.authenticate(text))) for _ in range(8)
    ]

    def begin() -> None:
        for one in others:
            one.start()

    store_of(node).before["vouch"] = begin
    assert node.authenticate(text)
    for one in others:
        one.join(10)
    assert [bool(one) for one in found] == [True] * 8


def test_others_wait_for_a_step_that_makes_the_view_fresh(host: Cluster) -> None:
    """After a freeze many requests come at once: one renews the lease, nobody is sent away."""
    node = host.node()
    text = node.issue_login("alice").text
    assert node.authenticate(text)
    host.clock.advance(11)
    found: list[Any] = []
    other = threading.Thread(target=lambda: found.append(node.authenticate(text)))
    store = store_of(node)
    vouches = store.calls["vouch"]
    store.before["vouch"] = other.start
    assert node.authenticate(text)
    other.join(5)
    assert [bool(one) for one in found] == [True]
    assert store.calls["vouch"] == vouches + 1


def test_a_failed_step_is_not_repeated_by_each_request(host: Cluster) -> None:
    """A store in trouble is asked again ten times a second at most, however many ask."""
    node = host.node()
    text = node.issue_login("alice").text
    host.clock.advance(11)
    store = store_of(node)
    store.failing["vouch"] = StoreUnavailable("no")
    store.before["vouch"] = lambda: host.clock.advance(5)
    before = store.calls["vouch"]
    for _ in range(20):
        assert reason(node.authenticate(text)) == "stale"
    assert store.calls["vouch"] == before + 1


# -- keys that are dropped -------------------------------------------------------------


def test_a_dropped_key_verifies_for_no_other_thread_either(host: Cluster) -> None:
    """Another thread that finds nothing left to read must not go by the states of before."""
    one, two = two_keys(host)
    text = two.issue_login("alice").text
    assert two.authenticate(text)
    drop_the_first(one)
    found: list[Any] = []
    store_of(two).before["get_many"] = lambda: elsewhere(
        lambda: found.append(two.authenticate(text))
    )
    assert reason(two.authenticate(text)) == "invalid"
    assert [reason(one) for one in found] == ["invalid"]


def test_a_key_that_is_dropped_while_it_signs_leaves_nothing_behind(host: Cluster) -> None:
    """What was signed with it is not remembered as verified with the keys of afterwards."""
    one, two = two_keys(host)

    def drop(_: object) -> None:
        drop_the_first(one)
        two.follower().follow()
        two.authenticate("another request")

    issued = two.issue_login("alice", check=drop)
    assert reason(one.authenticate(issued.text)) == "invalid"
    assert reason(two.authenticate(issued.text)) == "invalid"


def remembered(keys_generation: int = 1) -> Verified:
    token = Token(new_id("a"), "a", "login", 1, 1, 2)
    return Verified(token, recorded=True, ends_at=2.0, keys_generation=keys_generation)


def test_a_doubt_reaches_what_is_just_being_moved() -> None:
    """An entry on its way from the old generation to the young one is doubted like the rest."""
    made, one = VerifiedTokens(), remembered()
    one.known_until, one.doubts = 1e9, made.doubts

    class Moving(dict[str, Verified]):
        def pop(self, *key: Any) -> Any:
            found = super().pop(*key)
            made.doubt()
            return found

    made._old = Moving(text=one)
    assert made.get("text", 1) is one
    assert one.doubts != made.doubts


def test_an_answer_from_before_a_doubt_is_used_once(cluster: Cluster) -> None:
    """A gap between the read of a record and here: the next request asks again."""
    node, other = cluster.node(), cluster.node()
    text = node.issue_login("alice").text
    cluster.step()
    store_of(other).after["get_many"] = other.authentication.doubt
    assert other.authenticate(text)
    asked = store_of(other).calls["get_many"]
    assert other.authenticate(text)
    assert store_of(other).calls["get_many"] == asked + 1
    assert other.authenticate(text)
    assert store_of(other).calls["get_many"] == asked + 1


# -- who hears of a revocation ---------------------------------------------------------


def test_a_revocation_is_told_once_whoever_reads_it(host: Cluster) -> None:
    """Two threads read the same page at the same time: the listeners hear of it once."""
    one, two = host.node(), host.node()
    host.step()
    text = two.issue_login("alice").text
    told: list[int] = []
    two.events.listen(RevocationApplied, lambda event: told.append(event.seq))
    one.revoke_subject("alice")
    store_of(two).after["read"] = lambda: elsewhere(lambda: two.authenticate(text))
    two.authenticate(text)
    assert len(told) == 1


def test_a_listener_may_judge_tokens(host: Cluster) -> None:
    """Whoever walks its open connections and judges each is not told again by doing so."""
    one, two = host.node(), host.node()
    host.step()
    text, other = two.issue_login("alice").text, two.issue_login("bob").text
    told: list[int] = []

    def listen(event: RevocationApplied) -> None:
        told.append(event.seq)
        assert two.authenticate(other)

    two.events.listen(RevocationApplied, listen)
    one.revoke_subject("alice")
    two.authenticate(text)
    assert len(told) == 1


def test_what_was_told_is_not_told_again(cluster: Cluster) -> None:
    """Neither after an own revocation was read in its place, nor after the view was rebuilt."""
    one, two = cluster.node(), cluster.node()
    cluster.step()
    told: list[int] = []
    two.events.listen(RevocationApplied, lambda event: told.append(event.seq))
    first = one.revoke_subject("alice").seq
    own = two.revoke_subject("bob").seq
    cluster.step()
    assert sorted(told) == [first, own]
    cluster.clock.set_wall(2 * SKEW)
    cluster.step()
    cluster.clock.set_wall(-2 * SKEW)
    cluster.step()
    cluster.step()
    assert sorted(told) == [first, own]
    third = one.revoke_subject("carol").seq
    cluster.clock.advance(4)
    cluster.step()
    assert sorted(told) == [first, own, third]


def test_a_node_that_starts_tells_nothing_of_the_past(cluster: Cluster) -> None:
    """It has no connection that it could close; of what comes, it tells."""
    one = cluster.node()
    one.revoke_subject("alice")
    two = cluster.node()
    told: list[int] = []
    two.events.listen(RevocationApplied, lambda event: told.append(event.seq))
    cluster.step()
    assert told == []
    seq = one.revoke_subject("bob").seq
    cluster.clock.advance(4)
    cluster.step()
    assert told == [seq]


def test_a_page_that_broke_off_is_told_when_it_was_read(cluster: Cluster) -> None:
    """What stands before an entry that cannot be read is told once, when the rest can."""
    one, two = cluster.node(), cluster.node()
    cluster.step()
    told: list[int] = []
    two.events.listen(RevocationApplied, lambda event: told.append(event.seq))
    seq = one.revoke_subject("alice").seq
    store_of(one).append([NewEntry("odd", b"?", None)])
    cluster.step(two)
    odd = cluster.shelf.entries.pop()
    cluster.shelf.head = cluster.shelf.entries[-1].seq
    cluster.shelf.known.pop(odd.id, None)
    cluster.step(two)
    cluster.step(two)
    assert told == [seq]


# -- another store in its place --------------------------------------------------------


def test_a_thread_that_is_late_does_not_doubt_the_new_store(host: Cluster) -> None:
    """It asks the new store for a number of the old one: that store was not rolled back."""
    node = host.node()
    node.revoke_subject("alice")
    host.step()
    follower, store = node.follower(), store_of(node)

    def swap() -> None:
        store._shelf = Shelf()
        host.clock.set_wall(-30)
        store.root()
        follower._check_root()

    store.before["head"] = swap
    follower.reach(store.position() + 1)
    for _ in range(3):
        host.clock.advance(4)
        follower.step()
    assert follower.fresh, follower.trouble


def test_a_reading_that_is_late_does_not_undo_a_fresh_start(cluster: Cluster) -> None:
    """While a page is on its way the position is given up: the view is still read from 0."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    other.revoke_subject("alice")
    follower = node.follower()
    store_of(node).after["read"] = lambda: follower._distrust("its clock jumped")
    follower.follow()
    assert follower.view.applied == 0
    cluster.step()
    assert follower.view.applied == cluster.shelf.head


# -- clocks ----------------------------------------------------------------------------


def test_a_view_is_rebuilt_once_the_clock_is_right_again(host: Cluster) -> None:
    """For half an hour a month ahead a node forgets what is over by then, and learns it anew."""
    node = host.node(TOKEN_STORE="cookie")
    text = node.issue_login("alice").text
    node.revoke_subject("alice")
    host.clock.set_wall(30 * DAY)
    for _ in range(600):
        host.clock.advance(3)
        node.follower().step()
    host.clock.set_wall(-30 * DAY)
    for _ in range(3):
        host.clock.advance(1)
        node.follower().step()
    assert reason(node.authenticate(text)) == "revoked"


def test_nothing_that_ends_is_made_by_a_clock_that_jumped(host: Cluster) -> None:
    """Its expiry would lie a month too late."""
    node = host.node()
    host.step()
    host.clock.set_wall(30 * DAY)
    with pytest.raises(StoreUnavailable):
        node.issue_api_token("alice", "ci", lifetime=60)


def test_nothing_is_renewed_by_a_clock_that_jumped(cluster: Cluster) -> None:
    """Not even where the text itself is still good by that clock."""
    node = cluster.node(TOKEN_STORE="cookie", ALWAYS_RENEW=True)
    issued = node.issue_login("alice")
    found = node.authenticate(issued.text)
    assert isinstance(found, Token)
    cluster.clock.advance(2)
    node.clock.set_wall(2 * SKEW)  # type: ignore[attr-defined]
    assert node.renew(issued.text, found) is None


# -- files and notes -------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "link", "open"])
def test_a_key_that_cannot_be_written_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A full disk or a folder of somebody else's: an error with a remedy, and no draft of a key."""

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    file = KeyFile(tmp_path / "token_secret")
    monkeypatch.setattr(f"flask_clustertoken.tokens.keyfile.os.{call}", full)
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="SECRET_FILE") as caught:
            file.create()
        assert caught.value.remedy
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_a_process_is_not_ready_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance folder that the app may not write to is no exception in /readyz."""

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flask_clustertoken.tokens.keyfile.os.link", forbidden)
    settings = Settings.from_mapping({"CLUSTERTOKEN_STORE": f"directory://{tmp_path}/shared"})
    node = TokenAuthority(settings, instance_path=str(tmp_path / "instance"), threaded=False)
    try:
        told = node.readiness()
        assert not told.fresh
        assert "SECRET_FILE" in told.trouble
    finally:
        node.close()


def test_a_damaged_note_of_last_use_harms_nobody(host: Cluster) -> None:
    """It is not known, until it is written anew."""
    node = host.node()
    issued = node.issue_api_token("alice", "ci")
    key = "used/" + issued.token.record_key.removeprefix("token/")
    node.store.put(key, b"garbage", None)
    assert node.last_used(issued.token.id) is None
    assert node.authenticate(issued.text, "api")
    node.follower().step()
    assert node.last_used(issued.token.id) is not None


# -- how long things are remembered ----------------------------------------------------


def kept(cluster: Cluster, kind: str) -> float:
    """The end of the newest entry of *kind*, as its writer knew it."""
    found = [one for one in cluster.shelf.entries if FeedEntry.decode(one.body).kind == kind]
    assert found[-1].keep_until is not None
    return found[-1].keep_until


def test_an_id_is_kept_for_long_where_no_record_was_deleted(cluster: Cluster) -> None:
    """In the token store ``cookie`` only the entry itself refuses the copies that are out."""
    node = cluster.node(TOKEN_STORE="cookie", LIFETIME=30 * DAY, ABSOLUTE_LIFETIME=None)
    issued = node.issue_login("alice")
    node.revoke_ids([issued.token.id])
    assert kept(cluster, "ids") > cluster.clock.time() + 30 * DAY


def test_a_writer_counts_its_own_lifetime_before_it_is_announced(cluster: Cluster) -> None:
    """A mark that is appended at once must outlive what this very node may issue."""
    node = cluster.node(LIFETIME=30 * DAY, ABSOLUTE_LIFETIME=None)
    store_of(node).failing["append"] = StoreUnavailable("no")
    node.follower()
    store_of(node).heal()
    node.revoke_subject("alice")
    assert kept(cluster, "subject") > cluster.clock.time() + 30 * DAY


def test_restored_stands_above_every_number_that_any_node_has_seen(cluster: Cluster) -> None:
    """Also above one that lies ahead of every clock, and that the restored store never had."""
    node = cluster.node()
    cluster.step()
    ahead = int((cluster.clock.time() + DAY) * 1e6)
    node.follower().met(ahead)
    cluster.clock.advance(4)
    node.follower().step()
    (entry,) = store_of(node).nodes()
    assert Node.decode(entry).seen == ahead
    assert node.restored().seq > ahead


def test_a_login_whose_number_the_store_never_gave_is_not_made(cluster: Cluster) -> None:
    """No mark could ever cover it."""
    node = cluster.node()
    with pytest.raises(ValueError, match="login_begins"):
        node.issue_login("alice", since=int((cluster.clock.time() + DAY) * 1e6))
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]


def test_a_list_shows_nothing_of_another_store(cluster: Cluster) -> None:
    """A record that came from somewhere else is no token here."""
    node = cluster.node()
    issued = node.issue_login("alice")
    assert [one.id for one in node.tokens_of("alice")] == [issued.token.id]
    node.runtime.epoch = "another"
    assert list(node.tokens_of("alice")) == []
