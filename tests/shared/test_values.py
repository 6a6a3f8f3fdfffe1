"""Shared data: JSON values that all servers of a deployment see."""

from __future__ import annotations

from typing import Any

import pytest

from flask_clustertoken.errors import StoreUnavailable, ValueTooLarge
from flask_clustertoken.shared.values import LIMIT, PATIENCE
from tests.doubles import Cluster, store_of


def test_what_one_server_sets_another_gets(cluster: Cluster) -> None:
    """Set, get, delete, and a default where nothing is."""
    one, two = (cluster.node().shared("carts") for _ in range(2))
    one.set("a/b c", {"n": [1, None, "é"]})
    assert two.get("a/b c") == {"n": [1, None, "é"]}
    assert two.get("x", 5) == 5
    assert two.delete("a/b c")
    assert not two.delete("a/b c")
    assert one.get("a/b c") is None


def test_of_two_that_add_one_is_told_so(cluster: Cluster) -> None:
    """``add`` creates only where nothing lives; what ended does not live."""
    one, two = (cluster.node().shared("locks") for _ in range(2))
    assert one.add("job", 1, ttl=10)
    assert not two.add("job", 2)
    assert two.get("job") == 1
    cluster.clock.advance(10)
    assert two.get("job") is None
    assert two.add("job", 2)


def test_names_and_deployments_are_apart(cluster: Cluster) -> None:
    """Another name, or another deployment of the realm, has its own, however it is spelled."""
    node = cluster.node()
    node.shared("a").set("b/c", 1)
    node.shared("a/b").set("c", 2)
    cluster.node(DEPLOYMENT="qa").shared("a").set("b/c", 3)
    assert node.shared("a").get("b/c") == 1
    assert list(node.shared("a").keys()) == ["b/c"]
    assert list(node.shared("a/b").keys()) == ["c"]


def test_all_keys_are_met_once(cluster: Cluster) -> None:
    """Pages are read as needed, in a stable order."""
    data = cluster.node().shared("many")
    for number in range(2500):
        data.set(f"key-{number}", number)
    found = list(data.keys())
    assert len(found) == len(set(found)) == 2500


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"x"])
def test_only_json_is_kept(cluster: Cluster, value: Any) -> None:
    """What JSON cannot hold is an error at once, not at the reader."""
    with pytest.raises(TypeError, match="JSON"):
        cluster.node().shared("a").set("k", value)


def test_what_is_nested_deeper_than_json_goes_is_an_error_of_its_kind(cluster: Cluster) -> None:
    """As for everything that JSON cannot hold; nothing was written."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    node = cluster.node()
    with pytest.raises(TypeError, match="JSON"):
        node.shared("a").set("k", deep)
    with pytest.raises(TypeError, match="JSON"):
        node.issue_login("alice", {"deep": deep})
    assert node.shared("a").get("k") is None
    assert not list(node.tokens_of("alice"))


@pytest.mark.parametrize("key", ["", "x" * 513, "漢" * 171, 5])
def test_a_key_is_a_short_text(cluster: Cluster, key: Any) -> None:
    """Numbers and novels are no keys."""
    with pytest.raises((TypeError, ValueError), match="key"):
        cluster.node().shared("a").get(key)


def test_a_large_value_is_a_clear_error(cluster: Cluster) -> None:
    """64 KB as JSON pass; one byte more is an error with both numbers."""
    data = cluster.node().shared("a")
    data.set("k", "x" * (LIMIT - 2))
    with pytest.raises(ValueTooLarge, match=str(LIMIT)):
        data.set("k", "x" * (LIMIT - 1))


def test_trouble_is_not_absence(cluster: Cluster) -> None:
    """A store that cannot be asked raises; it never gives the default."""
    node = cluster.node()
    store_of(node).cut()
    with pytest.raises(StoreUnavailable):
        node.shared("a").get("k", "default")


def test_an_update_gives_what_it_made_of_the_value(cluster: Cluster) -> None:
    """Of the default where nothing is, which stays as it was; of the value otherwise."""
    one, two = (cluster.node().shared("lists") for _ in range(2))
    default: list[str] = []

    def add(name: str, found: Any) -> Any:
        found.append(name)
        return found

    assert one.update("k", lambda found: add("a", found), default) == ["a"]
    assert two.update("k", lambda found: add("b", found), default) == ["a", "b"]
    assert one.get("k") == ["a", "b"]
    assert default == []


@pytest.mark.parametrize("meanwhile", ["changed", "deleted", "ended", "created"])
def test_an_update_loses_nothing_of_what_happens_meanwhile(
    cluster: Cluster, meanwhile: str
) -> None:
    """Between its read and its write another server changes, deletes or creates the value, or
    its life ends: what is changed is what is there then."""
    one, two = (cluster.node().shared("lists") for _ in range(2))
    if meanwhile != "created":
        one.set("k", ["old"], ttl=10)
    happens = {
        "changed": lambda: two.set("k", ["new"]),
        "deleted": lambda: two.delete("k"),
        "ended": lambda: cluster.clock.advance(10),
        "created": lambda: two.set("k", ["new"]),
    }[meanwhile]
    seen = []

    def change(found: Any) -> Any:
        seen.append(list(found))
        if len(seen) == 1:
            happens()
        return [*found, "mine"]

    first = [] if meanwhile == "created" else ["old"]
    then = ["new"] if meanwhile in ("changed", "created") else []
    assert one.update("k", change, []) == [*then, "mine"]
    assert two.get("k") == [*then, "mine"]
    assert seen == [first, then]


def test_an_update_gives_the_new_value_its_life(cluster: Cluster) -> None:
    """``ttl`` counts from the update; without one the value has no end, as after a ``set``."""
    data = cluster.node().shared("lists")
    data.update("k", lambda _: 1, ttl=10)
    data.update("k", lambda found: found + 1, ttl=20)
    cluster.clock.advance(15)
    assert data.get("k") == 2
    data.update("k", lambda found: found + 1)
    cluster.clock.advance(10**9)
    assert data.get("k") == 3


def test_an_update_gives_up_while_others_are_faster(cluster: Cluster) -> None:
    """With an error that says so, and nothing of it written."""
    one, two = (cluster.node().shared("lists") for _ in range(2))
    one.set("k", 0)

    def change(found: int) -> int:
        two.set("k", found + 1)
        cluster.clock.advance(PATIENCE / 3)
        return -1

    with pytest.raises(StoreUnavailable, match="nothing was written"):
        one.update("k", change)
    assert one.get("k") == 3


def test_an_update_that_fails_changes_nothing(cluster: Cluster) -> None:
    """What *change* raises is the caller's; what it makes has to be JSON and small enough."""
    data = cluster.node().shared("lists")
    data.set("k", [1])
    with pytest.raises(ZeroDivisionError):
        data.update("k", lambda found: 1 / 0)
    with pytest.raises(TypeError, match="JSON"):
        data.update("k", lambda found: {*found})
    with pytest.raises(ValueTooLarge):
        data.update("k", lambda found: "x" * LIMIT)
    assert data.get("k") == [1]
