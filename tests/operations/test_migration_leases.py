"""Moving house while somebody may still accept: the target waits, and says for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreNotOpen
from flask_clustertoken.events import RevocationApplied
from flask_clustertoken.operations import migrate
from flask_clustertoken.operations.migration import (
    MigrationRefused,
)
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from tests.cli.parts import MakeLine
from tests.doubles import SECRET as CORE_SECRET
from tests.doubles import Cluster, RemoteStore, reason, store_of
from tests.operations.houses import (
    Cut,
    directory_houses,
    memory_houses,
)
from tests.revocations.histories import roll_back, run_ahead


@dataclass
class Watched:
    """A cluster whose source has a node that was cut off, and what a migration out of it did."""

    cluster: Cluster
    cut: TokenAuthority
    text: str
    new: Shelf = field(default_factory=Shelf)
    said: list[str] = field(default_factory=list)
    paused: float = 0.0

    def store(self, shelf: Shelf) -> RemoteStore:
        store = RemoteStore(shelf, clock=self.cluster.clock)
        store.server = self.cluster.clock
        return store

    def pause(self, seconds: float) -> None:
        self.paused += seconds
        self.cluster.clock.advance(seconds)

    def move(self, **more: Any) -> None:
        migrate(
            self.store(self.cluster.shelf),
            self.store(self.new),
            lambda what, *_: self.said.append(what),
            clock=self.cluster.clock,
            **{"wait": self.pause, **more},
        )

    def target_node(self) -> TokenAuthority:
        settings = Settings(store="memory:", secret=(CORE_SECRET,))
        return TokenAuthority(
            settings, clock=self.cluster.clock, store=self.store(self.new), threaded=False
        )


@pytest.fixture
def watched() -> Iterator[Watched]:
    cluster = Cluster()
    old, cut = cluster.node(), cluster.node()
    cluster.step()
    text = old.issue_login("alice").text
    cluster.step()
    assert cut.authenticate(text)
    yield Watched(cluster, cut, text)
    cluster.close()


def test_the_target_waits_for_the_leases_of_the_source(watched: Watched) -> None:
    """A node that was cut off before the seal accepts nothing that the target confirmed ended."""
    store_of(watched.cut).cut()

    watched.move()

    new = watched.target_node()
    new.follower().step()
    assert new.authenticate(watched.text)
    assert new.revoke_subject("alice").confirm(timeout=1).in_force
    assert not watched.cut.authenticate(watched.text)
    lease = watched.cut.settings.max_staleness
    assert lease - 1 < watched.paused <= lease * 1.01 + 0.2
    assert any("waiting until" in what for what in watched.said)
    new.close()


def test_nobody_is_waited_for_who_has_read_the_seal(watched: Watched) -> None:
    """A node that learns of the seal leaves the list, and the target opens at once."""

    def nodes_follow(seconds: float) -> None:
        watched.pause(seconds)
        watched.cluster.step()

    watched.move(wait=nodes_follow)

    assert watched.paused < 1
    assert not watched.cut.authenticate(watched.text)


def test_a_number_of_another_history_is_not_taken_for_the_seal(watched: Watched) -> None:
    """A node that read what a backup lost stands above the seal, and has not read it."""
    cluster, cut = watched.cluster, watched.cut
    run_ahead(cluster)
    kept = len(cluster.shelf.entries)
    # (Nobody else is to be waited for.)
    cluster.members.pop(0).close()
    shell = cluster.node(active=False)
    for _ in range(3):
        shell.revoke_labels(["lost"])
    cluster.members.pop()
    cluster.step(cut)
    cluster.clock.advance(4)
    cluster.step(cut)
    assert cut.authenticate(watched.text)
    store_of(cut).cut()
    roll_back(cluster, kept)

    watched.move()

    assert cut.follower().view.applied > cluster.shelf.head
    assert reason(cut.authenticate(watched.text)) == "stale"
    assert watched.paused > cut.settings.max_staleness - 1


def test_who_has_published_the_seal_has_no_lease_any_more(watched: Watched) -> None:
    """A listener may work for long: before anybody can see how far was read, the lease is gone."""
    node, follower = watched.cut, watched.cut.follower()
    other = watched.cluster.members[0]
    ended = other.issue_login("bob")
    seen: list[tuple[bool, bool]] = []
    node.events.listen(
        RevocationApplied,
        lambda _: seen.append(
            (follower.view.applied == watched.cluster.shelf.head, follower.fresh)
        ),
    )

    def wait(_: float) -> None:
        raise Cut

    other.revoke_ids([ended.token.id])
    with pytest.raises(Cut):
        watched.move(wait=wait)
    assert watched.store(watched.cluster.shelf).root().state == "sealed"
    assert follower.fresh

    follower.follow()

    assert seen == [(True, False)]


@pytest.mark.parametrize("remote", [True, False], ids=["a server", "embedded"])
def test_a_request_that_began_before_another_thread_read_the_seal_is_refused(remote: bool) -> None:
    """It took note of the lease first. By when it is over the target may have ended its login."""
    old, new = Cluster(remote=remote), Cluster(remote=remote)
    new.clock = old.clock
    node = old.node()
    login = node.issue_login("ann")
    old.step()

    def handle(cluster: Cluster) -> MemoryStore:
        if not remote:
            return MemoryStore(cluster.shelf, clock=old.clock)
        store = RemoteStore(cluster.shelf, clock=old.clock)
        store.server = old.clock
        return store

    def move() -> None:
        def wait(seconds: float) -> None:
            old.clock.advance(seconds)
            node.follower().step()

        migrate(handle(old), handle(new), clock=old.clock, wait=wait)
        assert new.node().revoke_subject("ann").confirm(0.0)

    if remote:
        # All of it happens while the request reads the login's record.
        node.remembered.doubt()
        store_of(node).after["get_many"] = move
    else:
        move()
        store_of(node).after["get_many"] = lambda: bool(node.follower().follow())
        node.remembered.doubt()
    assert reason(node.authenticate(login.text)) == "stale"
    old.close()
    new.close()


def test_a_repeated_move_waits_anew(watched: Watched) -> None:
    """Cut off after the seal and repeated, it counts from its own beginning."""
    store_of(watched.cut).cut()

    def killed(_: float) -> None:
        raise Cut

    with pytest.raises(Cut):
        watched.move(wait=killed)
    assert watched.new.root is not None
    assert watched.new.root.state == "preparing"

    watched.move()

    assert not watched.cut.authenticate(watched.text)


def test_who_accepts_when_stale_is_named_first(watched: Watched) -> None:
    """Such a node goes on whatever the seal says, so the operator has to want it."""
    watched.cluster.node(WHEN_STALE="accept")
    watched.cluster.step()

    with pytest.raises(MigrationRefused, match="WHEN_STALE"):
        watched.move()
    assert watched.store(watched.cluster.shelf).root().state == "open"
    watched.move(whatever_accepts=True, wait=lambda _: watched.cluster.step())


def test_an_embedded_source_is_not_waited_for(tmp_path: Path) -> None:
    """There every request reads the position first: the first one behind the seal is stale."""
    source, target = directory_houses(tmp_path, ManualClock())
    node = source.authority(active=True)
    text = node.issue_login("alice").text
    assert node.authenticate(text)
    with source.open() as old, target.open() as new:
        migrate(old, new, wait=lambda _: pytest.fail("waited"))

    refused = node.authenticate(text)

    assert not refused
    assert refused.reason == "stale"
    node.close()


def test_who_lost_the_race_ends_nothing_in_an_open_target() -> None:
    """The target was opened by another migration meanwhile: what its app did since stays."""
    clock = ManualClock()
    source, target = memory_houses(Path(), clock)
    node = source.authority(active=True)
    node.shared("counters").set("visits", 1)

    def another_one_finishes(what: str, *_: object) -> None:
        if what != "copying: feed" or new.root().state != "preparing":
            return
        root = new.root()
        new.change_root(root, type(root)(root.epoch))
        new.put("data/default:counters/visits", b"of the app", None)
        node.shared("counters").delete("visits")

    with source.open() as old, target.open() as new:
        key = next(key for key, _ in old.scan("data/"))
        assert key == "data/default:counters/visits"
        with pytest.raises(StoreNotOpen):
            migrate(old, new, another_one_finishes)
        assert new.get(key)
    node.close()


def test_the_seal_is_not_held_up_by_what_was_copied_before() -> None:
    """Behind the seal the source is walked, and what did not change is not asked for again."""
    source, target = memory_houses(Path(), ManualClock())
    people = source.authority()
    for number in range(50):
        people.issue_login(f"user-{number}")
    asked: list[int] = []

    class Counting(MemoryStore):
        def get_many(self, keys: Sequence[str]) -> Any:
            asked.append(len(keys))
            return super().get_many(keys)

    marks: list[int] = []
    with source.open() as old, target.open() as new:
        counting = Counting(new._shelf, clock=new.clock)  # type: ignore[attr-defined]
        migrate(
            old,
            counting,
            lambda what, *_: marks.append(len(asked)) if what == "sealing the source" else None,
        )
        # (The lease alone, one at a time.)
        assert all(count == 1 for count in asked[marks[0] :])


def test_the_command_warns_of_who_accepts_when_stale(make_line: MakeLine, tmp_path: Path) -> None:
    """It names the node, and goes on where ``--yes`` says so."""
    accepting = make_line("accepting", WHEN_STALE="accept", STORE=f"directory://{tmp_path}/old")
    accepting.authority.issue_login("alice")

    said = accepting("migrate", f"directory://{tmp_path}/old", f"directory://{tmp_path}/n", "--yes")

    assert "WARNING" in said.stderr
    assert accepting.authority.store.root().state == "sealed"
