"""Moving house: everything comes along, nobody is logged out, and it may be cut off anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.cli.waiting import drawn
from flask_clustertoken.clock import SKEW, Clock, ManualClock, SystemClock
from flask_clustertoken.errors import Locked, RevokedMeanwhile, StoreNotOpen
from flask_clustertoken.operations import Migration, migrate
from flask_clustertoken.operations.migration import (
    LEASE,
    LEASE_FOR,
    MigrationIncomplete,
    MigrationRefused,
)
from flask_clustertoken.settings import Settings
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.stores.base import Add, ClusterStore, Require
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import RING_KEY, Token, ring_bytes
from tests.cli.parts import Line, MakeLine
from tests.doubles import SECRET as CORE_SECRET
from tests.doubles import Cluster, RemoteStore, store_of

SETTINGS = Settings(store="memory:", secret=("0123456789" * 4,))


@dataclass
class House:
    """A store that can be opened any number of times, and who lives in it."""

    open: Callable[[], ClusterStore]
    clock: Clock

    def authority(self, *, active: bool = False) -> TokenAuthority:
        return TokenAuthority(
            SETTINGS, store=self.open(), clock=self.clock, active=active, threaded=False
        )


@dataclass
class Inhabitants:
    """What a house holds: texts that must be accepted, and texts that must never be again."""

    alive: list[IssuedToken] = field(default_factory=list)
    ended: list[IssuedToken] = field(default_factory=list)

    def move_in(self, authority: TokenAuthority) -> None:
        for name in ("alice", "bob", "carol"):
            self.alive.append(authority.issue_login(name, {"of": name}, labels=[f"sso:{name}"]))
            self.alive.append(authority.issue_api_token(name, "robot"))
        for name in ("dave", "erin", "frank", "grace"):
            self.ended.append(authority.issue_login(name, labels=[f"sso:{name}"]))
        authority.revoke_ids([self.ended[0].token.id])
        authority.revoke_labels(["sso:erin"])
        authority.revoke_subject("frank")
        authority.store.delete(self.ended[3].token.record_key)
        authority.locking.lock(subject="judy", message="moved")
        authority.locking.lock(subject="kim")
        authority.locking.unlock(subject="kim")
        authority.shared("counters").set("visits", {"n": 7})
        states = ring_bytes({authority.keys.held[0]: "signing"})
        authority.store.put(RING_KEY, states, None)

    def busy(self, authority: TokenAuthority) -> None:
        """A moment of life: a login, a logout, a renewal, shared data."""
        self.alive.append(authority.issue_login("henry"))
        ended = authority.issue_login("iris")
        authority.revoke_ids([ended.token.id])
        self.ended.append(ended)  # not before: it may not have come to it
        shared = authority.shared("counters")
        shared.set("visits", {"n": 7})
        shared.set("gone", 1)
        shared.delete("gone")
        token = self.alive[0].token
        assert token.expires_at
        authority.store.touch(token.record_key, token.expires_at + 90_000)

    def check(self, house: House) -> None:
        """Everybody is where they were, and who was out is out."""
        authority = house.authority(active=True)
        try:
            self.check_texts(authority)
            shared = authority.shared("counters")
            assert shared.get("visits") == {"n": 7}
            with pytest.raises(Locked, match="moved"):
                authority.issue_login("judy")
            assert authority.issue_login("kim")
            assert [lock.name for lock in authority.locking.locks()] == ["judy"]
            assert list(shared.keys()) == ["visits"]
            assert authority.store.get(RING_KEY)
            assert authority.authenticate(authority.issue_login("zoe").text)
            with pytest.raises(RevokedMeanwhile):
                authority.issue_login("erin", labels=["sso:erin"])
        finally:
            authority.close()

    def check_texts(self, authority: TokenAuthority) -> None:
        for issued in self.alive:
            found = authority.authenticate(issued.text, issued.token.kind)
            assert isinstance(found, Token), found
            assert found.claims == issued.token.claims
        for issued in self.ended:
            refused = authority.authenticate(issued.text)
            assert not refused
            assert refused.reason == "revoked"


def memory_house(clock: Clock) -> House:
    shelf = Shelf()
    return House(lambda: MemoryStore(shelf, clock=clock), clock)


def directory_house(folder: Path, clock: Clock) -> House:
    return House(lambda: DirectoryStore(folder, clock=clock), clock)


def memory_houses(_: Path, clock: Clock) -> tuple[House, House]:
    return memory_house(clock), memory_house(clock)


def directory_houses(folder: Path, clock: Clock) -> tuple[House, House]:
    return directory_house(folder / "old", clock), directory_house(folder / "new", clock)


Builder = Callable[[Path, Clock], tuple[House, House]]
both = pytest.mark.parametrize("build", [memory_houses, directory_houses])


class Cut(BaseException):
    """The process was killed."""


class Killed:
    """*store*, until the common counter is used up: then nothing works any more."""

    def __init__(self, store: ClusterStore, calls: list[int]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls[0] -= 1
            if self._calls[0] < 0:
                raise Cut
            return found(*args, **kwargs)

        return call


def snapshot(store: ClusterStore) -> tuple[dict[str, Any], list[Any]]:
    return dict(store.scan("")), list(store.read(0).entries)


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


@pytest.mark.processes
@both
def test_cut_off_anywhere_it_is_repeated(build: Builder, tmp_path: Path) -> None:
    """Killed before its n-th call, for each n, and repeated: the outcome is always the same."""
    for calls in range(10_000):
        clock = ManualClock()
        folder = tmp_path / str(calls)
        folder.mkdir()
        source, target = build(folder, clock)
        people = Inhabitants()
        people.move_in(source.authority())
        left = [calls]
        with source.open() as old, target.open() as new:
            try:
                migrate(Killed(old, left), Killed(new, left), clock=clock)  # type: ignore[arg-type]
            except Cut:
                # Never may the target be in use before the source is out of it.
                assert (
                    new.root().state != "open"
                    or old.root().epoch != new.root().epoch
                    or (old.root().state == "sealed")
                )
            else:
                assert calls > 20
                return
            if old.root().state == "open":
                people.busy(source.authority())
            clock.advance(LEASE_FOR + 1)
            migrate(old, new)
            again = migrate(old, new)
            assert again == Migration(old.url, new.url, repeated=True)
        people.check(target)


def test_two_processes_and_a_live_writer(tmp_path: Path) -> None:
    """Over real files, while another thread logs in and out: nothing is lost, nothing revives."""
    source, target = directory_houses(tmp_path, SystemClock())
    people = Inhabitants()
    people.move_in(source.authority())
    writing, sealed = threading.Event(), threading.Event()

    def live() -> None:
        authority = source.authority()
        try:
            while True:
                people.busy(authority)
                writing.set()
        except StoreNotOpen:
            # What was under way when the store was sealed was handed to nobody.
            sealed.set()
        finally:
            authority.close()

    thread = threading.Thread(target=live)
    thread.start()
    assert writing.wait(30)
    with source.open() as old, target.open() as new:
        migrate(old, new)
    thread.join(30)

    assert sealed.is_set()
    with source.open() as old, target.open() as new:
        assert snapshot(new)[0] == snapshot(old)[0]
    # The last moment may have been cut in two, so only what had come to its end is looked at.
    moved = target.authority(active=True)
    people.check_texts(moved)
    moved.close()


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


def test_two_migrations_do_not_mix(tmp_path: Path) -> None:
    """While one fills the target, another one is sent away."""
    source, target = memory_houses(tmp_path, ManualClock())
    Inhabitants().move_in(source.authority())
    met: list[int] = []

    def second(*_: object) -> None:
        if not met:
            met.append(1)
            with (
                source.open() as old,
                target.open() as new,
                pytest.raises(MigrationIncomplete, match="another migration"),
            ):
                migrate(old, new)

    with source.open() as old, target.open() as new:
        migrate(old, new, second)
    assert met


def test_who_was_suspended_writes_nothing_more(tmp_path: Path) -> None:
    """A migration that lost its lease stops: the target may be in use by now."""
    clock = ManualClock()
    source, target = memory_houses(tmp_path, clock)
    Inhabitants().move_in(source.authority())

    def sleep(what: str, *_: object) -> None:
        if what == "copying: records":
            clock.advance(LEASE_FOR + 1)

    with source.open() as old, target.open() as new:
        with pytest.raises(MigrationIncomplete, match="too long"):
            migrate(old, new, sleep)
        assert new.root().state == "preparing"


class Suspended:
    """*store*, and a call of its :meth:`load` begins after *meanwhile*."""

    def __init__(self, store: ClusterStore, meanwhile: Callable[[], None]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def load(self, *args: Any, **kwargs: Any) -> None:
        self._meanwhile()
        self._store.load(*args, **kwargs)


@both
def test_who_was_suspended_before_its_write_writes_nothing(build: Builder, tmp_path: Path) -> None:
    """It had looked whether it may; while it slept another one has begun, and may know better."""
    clock = ManualClock()
    source, target = build(tmp_path, clock)
    Inhabitants().move_in(source.authority())
    with source.open() as old, target.open() as new, target.open() as other:

        def sleep() -> None:
            clock.advance(LEASE_FOR + 1)
            assert other.add(LEASE, b"somebody else", clock.time() + LEASE_FOR)

        with pytest.raises(MigrationIncomplete, match="too long"):
            migrate(old, Suspended(new, sleep))  # type: ignore[arg-type]
        assert new.root().state == "preparing"
        assert [key for key, _ in new.scan("")] == [LEASE]
        assert new.get(LEASE).value == b"somebody else"  # type: ignore[union-attr]


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


# -- who may still accept ----------------------------------------------------------------


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


def test_the_command_warns_of_who_accepts_when_stale(make_line: MakeLine, tmp_path: Path) -> None:
    """It names the node, and goes on where ``--yes`` says so."""
    accepting = make_line("accepting", WHEN_STALE="accept", STORE=f"directory://{tmp_path}/old")
    accepting.authority.issue_login("alice")

    said = accepting("migrate", f"directory://{tmp_path}/old", f"directory://{tmp_path}/n", "--yes")

    assert "WARNING" in said.stderr
    assert accepting.authority.store.root().state == "sealed"
