"""``doctor``: each thing that can be wrong is found, named, and has a remedy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.operations import Finding, diagnose, diagnosis, worst
from flask_clustertoken.operations.diagnosis.settings import look_at_settings
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import ClusterStore, NewEntry, Root
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import RING_KEY, fingerprint, new_secret, ring_bytes
from tests.cli.parts import FarStore, Line, MakeLine


def said(line: Line, level: str, code: int) -> str:
    """What ``doctor`` says at *level*, with the remedies."""
    found = line.json("doctor", code=code)["findings"]
    return "\n".join(
        f"{one['about']}: {one['what']} {one['remedy']}" for one in found if one["level"] == level
    )


def test_a_healthy_app_has_no_problem(line: Line) -> None:
    """A running app with its defaults: only good news, and 0."""
    told = line.json("doctor")

    assert told["level"] == "ok", told
    assert {one["about"] for one in told["findings"]} == {
        "settings",
        "keys",
        "store",
        "clock",
        "nodes",
    }
    assert "OK" in line("doctor").stdout


def test_files_are_said_where_there_are_some(make_line: MakeLine) -> None:
    """How much room they take; little left is a warning that names the setting."""
    line = make_line(FILES_TOTAL=1000)
    line.authority.follower()
    line.authority.files("a").put("k", b"x" * 700)
    assert "700 of 1,000 bytes" in said(line, "ok", 0)
    line.authority.files("a").put("l", b"x" * 100)
    assert "CLUSTERTOKEN_FILES_TOTAL" in said(line, "warning", 0)


def test_every_finding_that_is_not_ok_has_a_remedy(make_line: MakeLine, tmp_path: Path) -> None:
    """A problem without a way out is not worth saying."""
    line = make_line(
        TOKEN_STORE="cookie",
        COOKIE_SECURE=False,
        COOKIE_HTTPONLY=False,
        WHEN_STALE="accept",
        ABSOLUTE_LIFETIME=None,
        SECRET=["short-one"],
        EXPECTED_NODES=["web9"],
    )
    line.authority.follower()

    told = line.json("doctor", code=1)["findings"]

    assert len([one for one in told if one["level"] != "ok"]) >= 7
    assert all(one["remedy"] for one in told if one["level"] != "ok")


@pytest.mark.parametrize(
    ("given", "word", "level"),
    [
        ({"cookie_secure": False}, "COOKIE_SECURE", "warning"),
        ({"cookie_httponly": False}, "COOKIE_HTTPONLY", "warning"),
        ({"when_stale": "accept"}, "WHEN_STALE", "warning"),
        ({"token_store": "cookie"}, "not recorded", "warning"),
        ({"absolute_lifetime": None}, "ABSOLUTE_LIFETIME", "warning"),
        ({"store": "memory:"}, "memory:", "problem"),
    ],
)
def test_settings_that_should_be_known(given: dict[str, Any], word: str, level: str) -> None:
    """What is allowed and has a price is said, once."""
    (found,) = look_at_settings(Settings(**given))

    assert word in found.what
    assert found.level == level
    assert found.remedy


def test_memory_is_fine_in_tests() -> None:
    """In a debug or test run ``memory:`` is a warning."""
    (found,) = look_at_settings(Settings(store="memory:"), production=False)

    assert found.level == "warning"


def test_doctor_creates_nothing(make_line: MakeLine) -> None:
    """Before the first start ``doctor`` says so, and leaves the folder as it is."""
    line = make_line()

    assert "not there yet" in said(line, "warning", 0)
    assert os.listdir(line.app.instance_path) == []


@pytest.mark.parametrize(("mode", "level"), [(0o644, "problem"), (0o640, "warning")])
def test_a_key_file_that_others_can_read(line: Line, mode: int, level: str) -> None:
    """A key file open to all is a problem, one open to its group a warning; chmod is named."""
    line.key_file.chmod(mode)

    assert "chmod 600" in said(line, level, int(level == "problem"))


def test_a_short_key(make_line: MakeLine) -> None:
    """A key that could be guessed is a problem; it is named by its fingerprint alone."""
    line = make_line(SECRET=["guess-me-1"])

    told = said(line, "problem", 1)
    assert fingerprint("guess-me-1") in told
    assert "guess-me-1" not in told


def test_an_unreachable_store(make_line: MakeLine, tmp_path: Path) -> None:
    """A store that cannot be used is a problem with its cause."""
    line = make_line()
    line.authority.follower()
    folder = Path(line.app.instance_path) / "shared"
    (folder / "default.head").unlink()
    (folder / "default.head").mkdir()

    assert "is in trouble" in said(line, "problem", 1)


def test_an_entry_that_this_version_cannot_read(line: Line) -> None:
    """A node that meets it refuses every token: it is a problem, named by its number."""
    newer = NewEntry("from-tomorrow", b'{"format": 99, "kind": "ids"}', None)
    (number,) = line.authority.store.append([newer])

    told = said(line, "problem", 1)

    assert f"number {number}" in told
    assert "form 99" in told


def test_a_missing_key_on_an_embedded_store(make_line: MakeLine) -> None:
    """Before the first start that is as it should be; afterwards it logs everybody out."""
    line = make_line()
    assert "the first start makes one" in said(line, "ok", 0)

    line.authority.follower()
    line.key_file.unlink()

    assert "everyone would have to sign in again" in said(line, "problem", 1)


def test_one_host_is_not_several(line: Line) -> None:
    """What is counted is written as it is said."""
    assert "1 alive on 1 host\n" in line("doctor").stdout


def test_a_setting_that_only_the_store_can_judge(make_line: MakeLine) -> None:
    """A folder that is no good for a store is named with its setting, not as trouble."""
    line = make_line()
    line.authority.follower()
    line.authority.store.close()
    folder = Path(line.app.instance_path) / "shared"
    folder.chmod(0o777)

    assert "CLUSTERTOKEN_STORE: everybody may write" in said(line, "problem", 1)


def test_a_wrong_url() -> None:
    """A store that cannot even be opened is a problem that names the setting."""
    (problem,) = (one for one in diagnose(Settings(store="papyrus:")) if one.level == "problem")

    assert "CLUSTERTOKEN_STORE" in problem.what


def test_what_was_set_aside_is_shown(line: Line) -> None:
    """A damaged database that was set aside is not forgotten."""
    folder = Path(line.app.instance_path) / "shared"
    shutil.copy(folder / "default.sqlite3", folder / "default.sqlite3.damaged-20260101T000000Z")

    assert "set aside" in said(line, "warning", 0)


# -- a cluster, without a server -------------------------------------------------------


class World:
    """A store behind its own clock, and nodes."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.clock = ManualClock()
        self.secret = new_secret()

    def store(self, clock: ManualClock | None = None) -> FarStore:
        return FarStore(self.shelf, clock=clock or self.clock)

    def settings(self, **given: Any) -> Settings:
        return Settings(**{"store": "zookeeper://zk:2181/x", "secret": (self.secret,), **given})

    def node(self, **given: Any) -> TokenAuthority:
        node = TokenAuthority(
            self.settings(**given), store=self.store(), clock=self.clock, threaded=False
        )
        node.follower()
        return node

    def look(self, monkeypatch: pytest.MonkeyPatch, **given: Any) -> list[Finding]:
        def opened(*_: object, **__: object) -> ClusterStore:
            return self.store()

        monkeypatch.setattr(diagnosis, "open_store", opened)
        return list(diagnose(self.settings(**given), clock=self.clock))


def problems(found: list[Finding]) -> str:
    return "\n".join(one.what for one in found if one.level == "problem")


@pytest.fixture
def world() -> World:
    return World()


def test_a_healthy_cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that agree are good news, and ``doctor`` leaves no entry of its own behind."""
    world.node(), world.node()

    assert worst(world.look(monkeypatch)) == "ok"
    assert len(world.store().nodes()) == 2


def test_other_keys_than_the_nodes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose keys no node has is told to copy them."""
    world.node()

    assert "none of this host's keys" in problems(world.look(monkeypatch, secret=(new_secret(),)))


def test_a_missing_key_in_a_cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster store without a key here is a problem, whatever else can be said."""
    found = world.look(monkeypatch, secret=(), secret_file="/nowhere/token_secret")

    assert "/nowhere/token_secret does not exist" in problems(found)


def test_nodes_that_differ(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting in which nodes differ is a problem, with the nodes' names."""
    world.node()
    world.node(cookie_name="another")

    assert "COOKIE_NAME" in problems(world.look(monkeypatch))


def test_a_host_that_is_expected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expected host without a node is a problem."""
    world.node()

    assert "web9" in problems(world.look(monkeypatch, expected_nodes=("web9",)))


def test_a_silent_node(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that went quiet is a warning with its name, and none is left alive."""
    world.node()
    world.clock.advance(60)

    found = world.look(monkeypatch)
    said = "\n".join(one.what for one in found if one.level == "warning")
    assert "silent for 60 s" in said
    assert "no node is running" in said


def test_a_signing_key_that_is_not_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring's states are compared with the keys of this host."""
    mine = fingerprint(world.secret)
    states = ring_bytes({"a" * 12: "signing", "b" * 12: "staged", mine: "dropped"})
    world.store().put(RING_KEY, states, None)

    found = world.look(monkeypatch)
    warned = "\n".join(one.what for one in found if one.level == "warning")
    assert f"signing key {'a' * 12} is not on this host" in problems(found)
    assert "staged" in warned
    assert f"{mine} was dropped" in warned


def test_a_store_that_was_rolled_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has seen more than the store holds: a backup came back."""
    node = world.node()
    node.follower().met(10**18)
    world.clock.advance(5)
    node.follower().step()

    found = world.look(monkeypatch)
    assert "rolled back" in problems(found)
    assert any("flask tokens restored" in one.remedy for one in found)


def test_a_store_that_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealed store names where its contents are; one that is being filled says so."""
    store = world.store()
    root = store.root()
    store.change_root(root, Root(root.epoch, "sealed", "directory:///new"))
    assert "directory:///new" in problems(world.look(monkeypatch))

    store.change_root(store.root(), Root(root.epoch, "preparing"))
    assert "migration" in problems(world.look(monkeypatch))

    store.change_root(store.root(), Root(root.epoch, format=99))
    assert "form 99" in problems(world.look(monkeypatch))


@pytest.mark.parametrize(("seconds", "level"), [(0.5, "ok"), (10, "warning"), (-90, "problem")])
def test_a_clock_that_differs(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, level: str
) -> None:
    """The clock here is compared with the store's, which leaves nothing behind."""
    elsewhere = ManualClock(world.clock.time() + seconds)
    store = world.store(elsewhere)

    assert store.time() - world.clock.time() == seconds
    assert store.nodes() == []

    monkeypatch.setattr(diagnosis, "open_store", lambda *_, **__: world.store(elsewhere))
    found = diagnose(world.settings(), clock=world.clock)
    assert [one.level for one in found if one.about == "clock"] == [level]


def test_a_slow_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers late is a warning with the milliseconds."""

    class Slow(FarStore):
        def head(self) -> int:
            world.clock.advance(0.8)
            return super().head()

    monkeypatch.setattr(
        diagnosis, "open_store", lambda *_, **__: Slow(world.shelf, clock=world.clock)
    )
    (found,) = (
        one
        for one in diagnose(world.settings(), clock=world.clock)
        if one.about == "store" and one.level == "warning"
    )

    assert "800.0 ms" in found.what


def test_a_store_that_is_open_already_is_looked_at_and_left_open(line: Line) -> None:
    """The same findings, by the app's own handle."""
    authority = line.authority
    authority.follower()
    found = list(
        diagnose(authority.settings, clock=authority.clock, opened=authority.store, production=True)
    )
    assert {one.about for one in found} >= {"store", "nodes"}
    assert authority.store.head() >= 0
