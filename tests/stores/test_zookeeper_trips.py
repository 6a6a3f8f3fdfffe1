"""How often whoever logs in or out waits for ZooKeeper: what can be asked together is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.tokens import Token, record_end, to_record
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


def test_an_api_token_waits_for_its_write_alone(pair: tuple[TokenAuthority, TreeLine]) -> None:
    """Its number is that of the step itself."""
    node, line = pair
    node.issue_api_token("alice", "first")
    assert cost(line, lambda: node.issue_api_token("alice", "ci")) == (1, 1)


def test_a_log_out_waits_for_one_look_and_one_write(
    pair: tuple[TokenAuthority, TreeLine],
) -> None:
    """Head, line and record are asked for together."""
    node, line = pair
    token = node.issue_login("alice", since=node.begin()).token
    assert cost(line, lambda: node.end(token)) == (2, 1)


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
    node.remembered.clear()
    assert cost(line, lambda: node.authenticate(new)) == (1, 0)
