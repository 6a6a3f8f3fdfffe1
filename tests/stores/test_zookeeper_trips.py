"""How often whoever logs in or out waits for ZooKeeper: what can be asked together is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.errors import RevokedMeanwhile, StoreNotOpen
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.stores.zookeeper import feed
from flask_clustertoken.stores.zookeeper.connection import Op
from flask_clustertoken.stores.zookeeper.queue import Queue
from flask_clustertoken.tokens import Refusal, Token, copies_key, record_end, to_record
from tests.regressions.test_first_start import Realm, realm
from tests.stores.zk_tree import TreeLine

__all__ = ["realm"]


@pytest.fixture
def pair(realm: Realm) -> Iterator[tuple[TokenAuthority, TreeLine]]:
    """A node that has met the subject's shard before."""
    with realm.nodes(1) as ((node, line),):
        node.follower()
        node.issue_login("alice", since=node.begin())
        yield node, line


def cost(line: TreeLine, call: Callable[[], object]) -> tuple[int, int]:
    """The round trips that *call* waits for, and the writes among them."""
    line.trips = line.writes = 0
    call()
    return line.trips, line.writes


def test_a_login_waits_for_its_two_writes_alone(pair: tuple[TokenAuthority, TreeLine]) -> None:
    """The head is looked at along with the first; a record that is new is not looked for."""
    node, line = pair
    assert cost(line, lambda: node.issue_login("alice", since=node.begin())) == (2, 2)


def test_the_number_before_the_credentials_is_one_request(
    pair: tuple[TokenAuthority, TreeLine],
) -> None:
    """That the head still is the one that was seen is a condition of the write itself."""
    node, line = pair
    line.count = 0
    assert cost(line, node.begin) == (1, 1)
    assert line.count == 1


def test_an_api_token_waits_for_its_write_alone(pair: tuple[TokenAuthority, TreeLine]) -> None:
    """Its number is that of the step itself."""
    node, line = pair
    node.issue_api_token("alice", "first")
    assert cost(line, lambda: node.issue_api_token("alice", "ci")) == (1, 1)


def test_a_log_out_waits_for_its_write_alone(pair: tuple[TokenAuthority, TreeLine]) -> None:
    """It goes by the head that was seen last, and by the record's end that the token tells."""
    node, line = pair
    token = node.issue_login("alice", since=node.begin()).token
    assert cost(line, lambda: node.end(token)) == (1, 1)
    assert node.store.get(token.record_key) is None
    second = node.issue_login("alice", since=node.begin()).token
    assert cost(line, lambda: node.end(second)) == (1, 1), "its own entry moved the head"


def test_what_is_made_on_a_tokens_strength_waits_for_its_write_alone(
    pair: tuple[TokenAuthority, TreeLine],
) -> None:
    """That its record stands is a condition of the step, and not looked at before."""
    node, line = pair
    token = node.issue_login("alice", since=node.begin()).token
    node.issue_api_token("alice", "first")
    assert cost(line, lambda: node.issue_api_token("alice", "ci", on=token)) == (1, 1)
    node.store.delete(token.record_key)
    with pytest.raises(RevokedMeanwhile):
        node.issue_api_token("alice", "late", on=token)


# -- what is taken for granted may be wrong ---------------------------------------------------


def chain(node: TokenAuthority) -> list[str]:
    """The feed's ids in their order; each entry names its predecessor."""
    entries = node.store.read(0).entries
    assert [one.prev for one in entries] == [0, *(one.seq for one in entries[:-1])]
    return [one.id for one in entries]


def test_a_head_that_moved_unseen_is_looked_at(realm: Realm) -> None:
    """One write more, that was refused; nothing of the other's is lost, and nobody queues."""
    with realm.nodes(2) as ((node, line), (other, _)):
        token = node.issue_login("alice", since=node.begin()).token
        before = len(chain(node))
        node.begin()
        theirs = other.revoke_subject("bob").seq
        assert cost(line, lambda: node.end(token)) == (3, 2)
        assert len(chain(node)) == before + 2
        assert node.store.read(theirs).entries, "ours comes behind theirs"
        assert not [one for one in realm.tree.znodes if "/feed/queue/" in one]


def test_where_nobody_tells_of_the_head_it_is_believed_for_a_moment_only(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node without a watch would be refused each time that others were busy meanwhile."""
    with realm.nodes(1) as ((node, line),):
        for watching, trips in ((False, 2), (True, 1)):
            token = node.issue_login("alice", since=node.begin()).token
            if watching:
                node.store.watch(lambda: None)
            with monkeypatch.context() as patch:
                later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
                patch.setattr(feed, "time", later)
                assert cost(line, lambda token=token: node.end(token)) == (trips, 1)  # type: ignore[misc]


def test_nobody_in_line_is_overtaken_twice(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who appends without a look at the line sees it then, and stands in it the next time."""
    stood: list[Queue] = []
    monkeypatch.setattr(Queue, "stand", lambda self, _: stood.append(self))
    with realm.nodes(1) as ((node, line),):
        tokens = [node.issue_login("alice", since=node.begin()).token for _ in range(4)]
        node.end(tokens[0])
        before = len(chain(node))
        queue = next(one for one in realm.tree.znodes if one.endswith("/feed/queue"))
        ticket = f"{queue}/somebody-0000000001"
        realm.tree.commit([Op("create", ticket)])
        assert cost(line, lambda: node.end(tokens[1])) == (1, 1)
        assert not stood
        node.end(tokens[2])
        assert len(stood) == 1
        realm.tree.commit([Op("delete", ticket)])
        node.end(tokens[3])
        assert len(stood) == 1
        assert len(set(chain(node))) == before + 3


def test_a_record_that_is_gone_is_not_taken_for_deleted_here(realm: Realm) -> None:
    """Its id is remembered for as long as a copy may live: nothing says that it was deleted."""
    with realm.nodes(2) as ((node, _), (other, _)):
        token = node.issue_login("alice", since=node.begin()).token
        assert other.store.delete(token.record_key)
        node.end(token)
        entry = node.store.read(0).entries[-1]
        assert not FeedEntry.decode(entry.body).recorded
        # So is one whose end has come while its znode is still there.
        late = node.issue_login("alice", since=node.begin()).token
        record = node.store.get(late.record_key)
        assert record is not None
        assert record.expires_at is not None
        realm.clock.advance(record.expires_at - realm.clock.time())
        node.follower().step()
        assert [one for one in realm.tree.znodes if one.endswith(late.record_key.split("/")[2])]
        node.end(late)
        entry = node.store.read(entry.seq).entries[-1]
        assert not FeedEntry.decode(entry.body).recorded


def test_a_number_is_that_of_the_head_when_it_was_written_behind(realm: Realm) -> None:
    """Of a head that moved unseen the servers tell, in one write that they refuse and one look."""
    with realm.nodes(2) as ((node, line), (other, _)):
        for one in (node, other):
            one.follower()
        node.begin()
        theirs = other.revoke_subject("bob").seq
        numbers: list[int] = []
        assert cost(line, lambda: numbers.append(node.begin())) == (2, 1)
        assert numbers == [theirs]
        assert cost(line, node.begin) == (1, 1), "it was seen now"


def test_a_login_that_finds_the_head_moved_goes_on_in_its_next_step(realm: Realm) -> None:
    """One write is refused; what moved it is read, and the second one holds."""
    with realm.nodes(2) as ((node, line), (other, _)):
        for one in (node, other):
            one.follower()
            one.issue_login("alice", since=one.begin())
        since = node.begin()
        other.revoke_subject("bob")
        assert cost(line, lambda: node.issue_login("alice", since=since)) == (5, 3)


@pytest.mark.parametrize("unseen", [False, True], ids=["head known", "head moved unseen"])
def test_whatever_comes_between_two_requests_of_a_login(realm: Realm, unseen: bool) -> None:
    """A log-out everywhere before the number was asked for leaves the login alone, one after it
    wins, and none that came before the record is outrun."""
    refused = handed_out = 0
    for moment in count(1):
        realm.tree.__init__(time=realm.clock.time)  # type: ignore[misc]
        with realm.nodes(3) as ((node, line), (other, _), (third, _)):
            for one in (node, other, third):
                one.follower()
            node.issue_login("bob", since=node.begin())
            if unseen:
                other.revoke_subject("bob")
            line.count = 0
            came: list[tuple[int, int]] = []  # its number, and the records that there were

            def between(
                line: TreeLine = line,
                moment: int = moment,
                came: list[tuple[int, int]] = came,
                other: TokenAuthority = other,
            ) -> None:
                if line.count == moment and not came:
                    there = len(other.store.scan("token/"))
                    came.append((other.revoke_subject("alice").seq, there))

            line.between = between
            since = node.begin()
            try:
                issued = node.issue_login("alice", since=since)
            except RevokedMeanwhile:
                line.between = None
                assert came
                assert came[0][0] > since, "it was over before the login began"
                refused += 1
            else:
                line.between = None
                third.follower().step()
                found = third.authenticate(issued.text)
                if came and since < came[0][0]:
                    assert came[0][1] == 2, "it was acknowledged before the record was written"
                    assert isinstance(found, Refusal)
                else:
                    assert isinstance(found, Token)
                    handed_out += 1
            if not came:
                break
            assert moment > 1 or since >= came[0][0], "the number is of after the log-out"
    assert refused >= 1
    assert handed_out >= 2


Others = Callable[[Realm, TokenAuthority, Token], object]


def _sealed(_: Realm, other: TokenAuthority, __: Token) -> object:
    root = other.store.root()
    sealed = replace(root, state="sealed", moved_to="elsewhere")
    return other.store.change_root(root, sealed)


@pytest.mark.parametrize(
    "others",
    [
        lambda _, other, token: other.end(token),
        lambda _, other, __: other.revoke_subject("bob"),
        lambda _, other, token: other.revoke_subject(token.subject),
        lambda _, other, token: other.store.delete(token.record_key),
        lambda _, other, __: other.issue_login("carol", since=other.begin()),
        _sealed,
    ],
    ids=["ends it", "revokes", "revokes all of hers", "deletes it", "logs in", "seals"],
)
def test_whatever_comes_between_two_requests_of_a_log_out(realm: Realm, others: Others) -> None:
    """It is ended once acknowledged, on every node; no entry is lost, none stands in another's
    place; and a store that is sealed takes nothing."""
    for moment in count(1):
        realm.tree.__init__(time=realm.clock.time)  # type: ignore[misc]
        with realm.nodes(3) as ((node, line), (other, _), (third, _)):
            for one in (node, other, third):
                one.follower()
            issued = node.issue_login("alice", since=node.begin())
            assert third.authenticate(issued.text)
            line.count = 0
            came: list[object] = []  # whether its record was there still, when others came

            def between(
                line: TreeLine = line,
                moment: int = moment,
                came: list[object] = came,
                other: TokenAuthority = other,
                token: Token = issued.token,
            ) -> None:
                if line.count == moment and not came:
                    came.append(other.store.get(token.record_key) is not None)
                    others(realm, other, token)

            line.between = between
            try:
                node.end(issued.token)
                ended = True
            except StoreNotOpen:
                ended = False
            line.between = None
            ids = chain(third)
            assert len(ids) == len(set(ids))
            if others is _sealed and came:
                assert ended is not came[0]
                assert (node.store.get(issued.token.record_key) is None) is ended
            else:
                assert ended
                third.follower().step()
                found = third.authenticate(issued.text)
                assert isinstance(found, Refusal)
                assert found.reason == "revoked"
            if not came:
                break
    assert moment >= 2


def test_whatever_comes_between_two_requests_of_what_is_made_on_a_tokens_strength(
    realm: Realm,
) -> None:
    """It is made before a revocation of that token was acknowledged, or not at all."""
    refused = 0
    for moment in count(1):
        realm.tree.__init__(time=realm.clock.time)  # type: ignore[misc]
        with realm.nodes(2) as ((node, line), (other, _)):
            login = node.issue_login("alice", since=node.begin()).token
            node.issue_api_token("alice", "first", on=login)
            other.follower()
            line.count = 0
            made: list[int] = []  # how many there were when the revocation came

            def between(
                line: TreeLine = line,
                moment: int = moment,
                made: list[int] = made,
                other: TokenAuthority = other,
            ) -> None:
                if line.count == moment and not made:
                    made.append(len(other.store.scan("token/")))
                    other.revoke_subject("alice")

            line.between = between
            try:
                node.issue_api_token("alice", "second", on=login)
            except RevokedMeanwhile:
                refused += 1
                assert made == [2]
            else:
                assert made in ([3], [])
            line.between = None
            if not made:
                break
    assert refused >= 1


def test_the_shards_are_listed_once_and_what_others_made_since_is_found(realm: Realm) -> None:
    """A node's first login in a shard waits no longer than its second, but where another node
    has made that shard meanwhile."""
    subjects = [f"user{number}" for number in range(40)]
    with realm.nodes(3) as ((first, line), (second, other), (third, _)):
        for node in (first, second, third):
            node.follower()
        third.issue_login("zoe", since=third.begin())

        def login(node: TokenAuthority, line: TreeLine, subject: str) -> tuple[int, int]:
            return cost(line, lambda: node.issue_login(subject, since=node.begin()))

        assert login(first, line, subjects[0]) == (3, 2), "the shards are listed"
        assert {login(first, line, one) for one in subjects[1:]} == {(2, 2)}
        assert login(second, other, subjects[0]) == (3, 2)
        assert {login(second, other, one) for one in subjects[1:]} == {(2, 2)}
        first.issue_login("made first by another", since=first.begin())
        late = login(second, other, "made first by another")
        assert late == (3, 3), "its transaction is refused, and then it knows"
        assert login(second, other, "made first by another") == (2, 2)
        assert login(second, other, "somebody new") == (3, 2), "the shards are listed anew"
        assert login(second, other, "somebody else") == (2, 2)


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of the version before"])
def test_what_is_noted_of_copies_is_waited_for_by_nobody(
    pair: tuple[TokenAuthority, TreeLine], noted: bool
) -> None:
    """A renewal, the new copy's first use, and its first sight: as where nothing is noted."""
    node, line = pair
    token = node.issue_login("alice", since=node.begin()).token
    then = int(node.clock.time()) - 2 * 86_400
    token = replace(
        token,
        issued_at=then,
        expires_at=then + node.settings.lifetime,
        generation=86_400 if noted else None,
    )
    # (Its record is as old.)
    node.store.delete(token.record_key)
    node.store.add(token.record_key, to_record(token, 0.0), record_end(token, 0.0))
    text, renewed = node.wire.write(token), list[IssuedToken | None]()
    assert cost(line, lambda: node.authenticate(text)) == (1, 0)
    assert cost(line, lambda: renewed.append(node.renew(text, token))) == (2, 1)
    (issued,) = renewed
    assert issued is not None
    new = issued.text
    if not noted:
        new = node.wire.write(replace(issued.token, generation=None))
        assert isinstance(node.authenticate(new), Token)
    assert cost(line, lambda: node.authenticate(new)) == (0, 0)
    node.follower().step()
    note = node.store.get(copies_key(token.record_key))
    assert (note is not None) == noted
    node.remembered.clear()
    assert cost(line, lambda: node.authenticate(new)) == (1, 0)
