"""Many nodes start at once on a ZooKeeper realm that is empty: nobody does much, all come through.

Once every node made all of the realm's place by itself, some 270 writes one by one, within a
deadline that the sum of them made too short; each then began again from the first. A hundred nodes
made fifty thousand writes in 42 seconds, and none was fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from flask_clustertoken.stores.zookeeper import realm as _zk_realm
from tests.stores.zk_tree import Tree, TreeLine

#: Writes that the start of a node may cost, its session aside.
WRITES = 6


class Realm:
    """Nodes on one tree, each with a connection of its own."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tree = Tree(time=self.clock.time)
        self.lines: list[TreeLine] = []

    def line(self, *_: object) -> TreeLine:
        self.lines.append(TreeLine(self.tree))
        return self.lines[-1]

    def node(self) -> tuple[TokenAuthority, TreeLine]:
        store = open_store("zookeeper://none:1/app/ours", clock=self.clock)
        assert isinstance(store, ZooKeeperStore)
        settings = Settings.from_mapping({"CLUSTERTOKEN_SECRET": "k" * 40})
        node = TokenAuthority(settings, clock=self.clock, store=store, threaded=False)
        line = store._open().line
        assert isinstance(line, TreeLine)
        return node, line

    @contextmanager
    def nodes(self, number: int) -> Iterator[list[tuple[TokenAuthority, TreeLine]]]:
        with ExitStack() as stack:
            made = [self.node() for _ in range(number)]
            for node, _ in made:
                stack.callback(node.close)
            yield made


@pytest.fixture
def realm(monkeypatch: pytest.MonkeyPatch) -> Realm:
    found = Realm()
    monkeypatch.setattr(_zk_realm, "Line", found.line)
    return found


def meet_at_each_request(
    nodes: list[tuple[TokenAuthority, TreeLine]], moment: int, depth: int
) -> None:
    """The next node starts in the middle of this one's start, behind its *moment*-th request."""
    (node, line), rest = nodes[0], nodes[1:]
    line.count = line.writes = 0

    def between() -> None:
        if line.count == moment and rest:
            line.between = None
            meet_at_each_request(rest, moment, depth + 1)

    line.between = between
    node.follower()
    line.between = None


def test_a_start_costs_six_writes_at_most_on_an_empty_realm(realm: Realm) -> None:
    """Of nodes that start one inside the other, wherever one is interrupted by the next."""
    for moment in count(1):
        realm.tree.__init__(time=realm.clock.time)  # type: ignore[misc]
        with realm.nodes(5) as nodes:
            meet_at_each_request(nodes, moment, 0)
            started = [(node, line) for node, line in nodes if line.count]
            assert all(node.follower().fresh for node, _ in started)
            assert max(line.writes for _, line in started) <= WRITES, f"behind request {moment}"
        if len(started) == 1:
            break
    assert moment > 10


def test_a_start_costs_the_same_however_many_nodes_there_are(realm: Realm) -> None:
    """Writes and reads of the hundredth node are those of the twentieth."""
    with realm.nodes(100) as nodes:
        for node, _ in nodes:
            node.follower()
        costs = [(line.writes, line.count) for _, line in nodes]
        assert all(node.follower().fresh for node, _ in nodes)
    assert max(writes for writes, _ in costs) <= WRITES
    assert costs[99] == costs[20]


def test_whoever_is_killed_on_the_way_is_followed_by_another(realm: Realm) -> None:
    """Whichever request was its last, the next node makes the rest, and all of it is there."""
    for moment in count(1):
        realm.tree.__init__(time=realm.clock.time)  # type: ignore[misc]
        with realm.nodes(2) as ((killed, line), (other, _)):

            def die(line: TreeLine = line, moment: int = moment) -> None:
                if line.count >= moment:
                    raise StoreUnavailable("killed")

            line.between = die
            killed.follower()
            died = not killed.follower().fresh
            other.follower()
            assert other.follower().fresh, f"the first was killed at request {moment}"
            assert other.revoke_all(), "the feed is there"
            line.between = None
        if not died:
            break
    assert moment > 5


def test_the_place_is_made_in_one_step(realm: Realm) -> None:
    """Where nothing of it is there: nobody meets a part of it."""
    parts: set[int] = set()
    make = realm.tree.commit

    def seen(ops: object) -> object:
        answers = make(ops)  # type: ignore[arg-type]
        parts.add(sum(path.startswith("/app/ours/default/") for path in realm.tree.znodes))
        return answers

    realm.tree.commit = seen  # type: ignore[method-assign,assignment]
    store = realm.node()[0].store
    store.root()
    assert min(parts) > 260


def test_a_start_where_the_realm_stands_costs_four_writes_at_most(realm: Realm) -> None:
    """One to be sure of the root, one for the entry, one to vouch; one to answer a barrier."""
    with realm.nodes(3) as ((first, _), (second, line), (third, later)):
        first.follower()
        second.follower()
        assert line.writes <= 3
        assert first.revoke_all(kinds=("login",)).seq
        third.follower()
        assert later.writes <= 4


def test_a_log_out_costs_each_node_two_requests_at_most(realm: Realm) -> None:
    """Its watch and its read; and once woken it knows."""
    with realm.nodes(5) as nodes:
        woken: list[int] = []
        for number, (node, line) in enumerate(nodes):
            follower = node.follower()
            node.store.watch(lambda number=number: woken.append(number))  # type: ignore[misc]
            follower.step()
            line.count = line.writes = 0
        issued = nodes[0][0].issue_login("alice")
        woken.clear()
        asked = sum(line.count for _, line in nodes[1:])
        for _ in range(3):
            seq = nodes[0][0].revoke_ids([issued.token.id]).seq
            assert set(range(1, 5)) <= set(woken), "each is woken, each time anew"
            woken.clear()
            for node, line in nodes[1:]:
                node.follower().step()
                assert node.follower().view.applied >= seq
                assert line.writes == 0
        caused = sum(line.count for _, line in nodes[1:]) - asked
        assert 0 < caused <= 2 * 3 * len(nodes[1:])
