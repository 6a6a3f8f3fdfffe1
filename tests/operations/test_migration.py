"""Moving house: everything comes along, nobody is logged out, and it may be cut off anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cli.waiting import drawn
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import StoreNotOpen
from flask_clustertoken.operations import migrate
from flask_clustertoken.operations.migration import (
    LEASE_FOR,
    MigrationIncomplete,
    MigrationRefused,
)
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.stores.base import PAGE, Add, Record, Require
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import RING_KEY
from tests.cli.parts import Line, MakeLine
from tests.operations.houses import (
    Builder,
    Cut,
    Inhabitants,
    both,
    directory_house,
    directory_houses,
    memory_houses,
    snapshot,
)


@both
def test_everything_comes_along(build: Builder, tmp_path: Path) -> None:
    """Logins, API tokens, marks, labels, data and the keys' states are in the target."""
    source, target = build(tmp_path, ManualClock())
    people = Inhabitants()
    people.move_in(source.authority())
    with source.open() as old, target.open() as new:
        epoch, before = old.root().epoch, snapshot(old)

        done = migrate(old, new)

        assert new.root().epoch == epoch
        assert new.root().state == "open"
        assert snapshot(new) == before
        assert new.head() >= old.head()
        # Those that a label or a mark ended have their records still.
        assert done.records["login"] == 5
        assert done.records["api"] == 3
        assert done.records["data"] == 1
    people.check(target)


@both
def test_what_servers_share_comes_along(build: Builder, tmp_path: Path) -> None:
    """Files are whole, slots stay taken, and a lease waits for its holder; fences go on."""
    source, target = build(tmp_path, ManualClock())
    content = bytes(range(256)) * 3000
    before = source.authority()
    before.files("fonts").put("f", content, ttl=3600)
    assert before.shared("tasks").once("backup", "1")
    lease = before.shared("tasks").lease("index", 30)
    assert lease.take()
    with source.open() as old, target.open() as new:
        migrate(old, new)
    after = target.authority()
    assert after.files("fonts").open("f").read() == content
    assert not after.shared("tasks").once("backup", "1")
    assert after.shared("tasks").once("backup", "2")
    assert not after.shared("tasks").lease("index", 30).take()
    assert isinstance(source.clock, ManualClock)
    source.clock.advance(30 + SKEW)
    next_one = after.shared("tasks").lease("index", 30)
    assert next_one.take()
    assert next_one.fence > lease.fence
    files = after.files("fonts")
    assert files.delete("f")
    source.clock.advance(10_000)
    assert sweep_files(after.store, after.clock) == 1
    assert after.store.scan("piece/") == []


@both
def test_a_sealed_source_takes_nothing_and_vouches_for_nothing(
    build: Builder, tmp_path: Path
) -> None:
    """After the move the source's nodes are stale, not fooled: every write of them refuses."""
    source, target = build(tmp_path, ManualClock())
    people = Inhabitants()
    node = source.authority(active=True)
    people.move_in(node)
    assert node.authenticate(people.alive[0].text)
    with source.open() as old, target.open() as new:
        migrate(old, new)
        assert old.root().state == "sealed"
        assert old.root().moved_to == new.url

    node.follower().step()

    refused = node.authenticate(people.alive[0].text)
    assert not refused
    assert refused.reason == "stale"
    store = node.store
    for write in (
        lambda: store.add("data/x/y/z", b"", None),
        lambda: store.put("data/x/y/z", b"", None),
        lambda: store.touch(people.alive[0].token.record_key, None),
        lambda: store.append([], [Add("data/x/y/z", b"", None)]),
        lambda: store.append([], [Require(RING_KEY)]),
        lambda: node.issue_login("late"),
        lambda: node.revoke_subject("late"),
    ):
        with pytest.raises(StoreNotOpen):
            write()
    node.close()


@both
def test_the_app_may_run_meanwhile(build: Builder, tmp_path: Path) -> None:
    """What is issued, ended, renewed and deleted while it copies is right in the target."""
    source, target = build(tmp_path, ManualClock())
    people = Inhabitants()
    node = source.authority(active=True)
    people.move_in(node)
    moments = []

    def live_on(what: str, *_: object) -> None:
        if what.startswith("copying"):
            moments.append(what)
            people.busy(node)

    with source.open() as old, target.open() as new:
        migrate(old, new, live_on)
        assert snapshot(new)[0] == snapshot(old)[0]
    node.close()

    assert len(moments) >= 2
    people.check(target)


@both
def test_a_renewal_while_it_copies_is_kept(build: Builder, tmp_path: Path) -> None:
    """A record's longer life, given after it was copied, is the target's too."""
    clock = ManualClock()
    source, target = build(tmp_path, clock)
    node = source.authority(active=True)
    issued = node.issue_login("alice")
    ends = (issued.token.expires_at or 0) + 500_000.0

    with source.open() as old, target.open() as new:
        migrate(
            old,
            new,
            lambda what, *_: (
                node.store.touch(issued.token.record_key, ends) if what == "copying: feed" else None
            ),
        )
        found = new.get(issued.token.record_key)
    node.close()

    assert found
    assert found.expires_at == ends


def test_only_an_empty_target_is_filled(tmp_path: Path) -> None:
    """A target with a record, a revocation or a node of its own is refused and left alone."""
    spoils: list[Callable[[TokenAuthority], object]] = [
        lambda authority: authority.shared("x").set("y", 1),
        lambda authority: authority.revoke_subject("somebody"),
        lambda authority: authority.store.announce("f" * 32, b"{}"),
    ]
    for spoil in spoils:
        source, target = memory_houses(tmp_path, ManualClock())
        spoil(target.authority())
        with source.open() as old, target.open() as new:
            before = new.root(), snapshot(new)
            with pytest.raises(MigrationRefused):
                migrate(old, new)
            assert (new.root(), snapshot(new)) == before
            assert old.root().state == "open"


def test_a_store_is_not_moved_into_itself(tmp_path: Path) -> None:
    """Source and target are told apart by what is in them, not by their URLs."""
    source, _ = memory_houses(tmp_path, ManualClock())
    with source.open() as old, source.open() as same:
        with pytest.raises(MigrationRefused, match="same store"):
            migrate(old, same)
        assert old.root().state == "open"


def test_a_source_is_moved_once(tmp_path: Path) -> None:
    """A sealed source cannot be moved elsewhere; the target can be moved on."""
    clock = ManualClock()
    source, target = memory_houses(tmp_path, clock)
    people = Inhabitants()
    people.move_in(source.authority())
    _, third = memory_houses(tmp_path, clock)
    with source.open() as a, target.open() as b, third.open() as c:
        migrate(a, b)
        with pytest.raises(MigrationRefused, match="was moved to"):
            migrate(a, c)
        migrate(b, c)
    people.check(third)


def test_a_target_that_was_begun_before_another_one_is_not_opened_as_well(tmp_path: Path) -> None:
    """Cut off and moved elsewhere: the first command once more is refused, by the seal's place."""
    clock = ManualClock()
    source, first = directory_houses(tmp_path, clock)
    second = directory_house(tmp_path / "second", clock)
    people = Inhabitants()
    people.move_in(source.authority())

    def killed(*_: object) -> None:
        raise Cut

    with source.open() as a, first.open() as b, second.open() as c:
        with pytest.raises(Cut):
            migrate(a, b, killed)
        migrate(a, c)
        clock.advance(LEASE_FOR + 1)

        with pytest.raises(MigrationRefused, match=f"was moved to {c.url} already"):
            migrate(a, b)

        assert b.root().state == "preparing"
        assert migrate(a, c).repeated
        # It is good for the one that the realm lives in now.
        migrate(c, b)
        assert migrate(a, b).repeated
    people.check(first)


@pytest.mark.parametrize("when", ["counting", "copying: feed", "sealing the source"])
def test_of_two_targets_at_once_one_is_opened(tmp_path: Path, when: str) -> None:
    """Another migration, into another place, seals the source while this one is at work."""
    clock = ManualClock()
    source, first = directory_houses(tmp_path, clock)
    second = directory_house(tmp_path / "second", clock)
    Inhabitants().move_in(source.authority())

    def another(what: str, *_: object) -> None:
        if what == when and a.root().state == "open":
            migrate(a, c)

    with source.open() as a, first.open() as b, second.open() as c:
        with pytest.raises((MigrationRefused, MigrationIncomplete)) as refused:
            migrate(a, b, another)
        assert b.root().state == "preparing"
        assert c.root().state == "open"
        # Whoever came between our look at the root and the seal is seen at the next attempt.
        if when == "sealing the source":
            with pytest.raises(MigrationRefused) as refused:
                migrate(a, b)
        assert f"was moved to {c.url} already" in str(refused.value)


def test_the_command(line: Line, make_line: MakeLine, tmp_path: Path) -> None:
    """``migrate`` moves the app's store; the app set to the new one knows every login."""
    text = line.authority.issue_login("alice").text
    url, new_url = line.authority.store.url, f"directory://{tmp_path}/new"
    assert "--yes" in line("migrate", url, new_url, code=2).stderr

    said = line("migrate", "directory:", new_url, "--yes")

    assert new_url in said.stdout
    assert "sealing" in said.stderr
    assert line.json("migrate", url, new_url, "--yes")["repeated"]
    assert "moved to" in line("list", code=3).stderr
    assert "sealed" in line("doctor", code=1).stdout
    moved = make_line(STORE=new_url)
    assert moved.authority.authenticate(text)
    assert len(moved.json("list")["tokens"]) == 1


def test_the_command_says_why_it_cannot(line: Line, tmp_path: Path) -> None:
    """A target that cannot be is one sentence and a code."""
    url = line.authority.store.url

    assert "same store" in line("migrate", url, url, "--yes", code=1).stderr
    assert "the store TO: 'nonsense'" in line("migrate", url, "nonsense", "--yes", code=4).stderr
    (tmp_path / "file").write_text("")
    line("migrate", url, f"directory://{tmp_path}/file/x", "--yes", code=4)


def test_the_command_moves_nothing_into_or_out_of_the_memory_of_one_process(
    line: Line, tmp_path: Path
) -> None:
    """``memory:`` would end with the command, and the realm with it; neither store is touched."""
    text = line.authority.issue_login("alice").text
    url, new = line.authority.store.url, tmp_path / "new"

    told = line("migrate", url, "memory:", "--yes", code=4).stderr
    assert "the store TO" in told
    assert "Use directory:" in told
    # Before anything is asked: there is no terminal that could answer.
    line("migrate", url, "memory:", code=4)
    assert "the store FROM" in line("migrate", "memory:", f"directory://{new}", code=4).stderr

    assert line.authority.store.root().state == "open"
    assert line.authority.authenticate(text)
    assert not new.exists()


def test_nothing_is_written_while_a_target_is_filled(make_line: MakeLine, tmp_path: Path) -> None:
    """A command on a store that is being filled is refused: it would be lost or in the way."""
    line = make_line()
    line.authority.follower()
    store = line.authority.store
    root = store.root()
    store.change_root(root, type(root)(root.epoch, "preparing"))

    assert "migrate" in line("revoke-all", "--yes", code=3).stderr


@both
def test_what_is_deleted_while_it_copies_stays_deleted(build: Builder, tmp_path: Path) -> None:
    """A record that ended after it was copied is not in the target."""
    source, target = build(tmp_path, ManualClock())
    node = source.authority(active=True)
    issued = node.issue_login("alice")

    def end(what: str, *_: object) -> None:
        if what == "copying: feed":
            node.store.delete(issued.token.record_key)

    with source.open() as old, target.open() as new:
        migrate(old, new, end)
        assert new.get(issued.token.record_key) is None
    node.close()


def test_what_ends_by_itself_meanwhile_holds_nothing_up() -> None:
    """Logins expire during each walk, also behind the seal: stores that hold the same are alike."""
    clock = ManualClock()
    shelf, other = Shelf(), Shelf()

    class Slow(MemoryStore):
        """A page takes a second, in which one of the records ends."""

        def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
            self.clock.advance(1)
            return super().scan(prefix, after, limit)

    with Slow(shelf, clock=clock) as old, MemoryStore(other, clock=clock) as new:
        for number in range(1000):
            old.add(f"token/000/{number:040x}", b"x", clock.time() + 0.5 + number)

        done = migrate(old, new)

        assert new.root().state == "open"
        left = old.scan("token/")
        assert new.scan("token/") == left
        assert 0 < len(left) < done.records["token"] < 1000


@both
def test_what_is_deleted_last_is_ended_among_what_ends_by_itself(
    build: Builder, tmp_path: Path
) -> None:
    """A logout is told from an expiry: it is brought into the target, whatever ends with it."""
    clock = ManualClock()
    source, target = build(tmp_path, clock)
    keys = [f"token/000/{number:040x}" for number in range(3)]

    def end(what: str, *_: object) -> None:
        if what == "sealing the source":
            clock.advance(40)
            old.delete(keys[1])

    with source.open() as old, target.open() as new:
        for key, ends in zip(keys, (30, 3600, 3600), strict=True):
            old.add(key, b"x", clock.time() + ends)

        migrate(old, new, end)

        assert set(new.get_many(keys)) == {keys[2]}


def test_progress_has_a_total() -> None:
    """Each walk says of how many; a bar shows it."""
    source, target = memory_houses(Path(), ManualClock())
    Inhabitants().move_in(source.authority())
    said: list[tuple[str, int, int | None]] = []
    with source.open() as old, target.open() as new:
        migrate(old, new, lambda *one: said.append(one))

    copied = [one for one in said if one[0] == "copying: records"]
    assert copied[-1][1] == copied[-1][2] == 11
    assert drawn("copying", 5, 10) == "copying: [##########..........] 50%, 5 of 10"
    assert drawn("counting", 5, None) == "counting: 5"
