"""A new history: what it lacks is put back under its old number, and everybody meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from hashlib import sha1
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store, tail
from flask_clustertoken.stores.base import Add, ClusterStore, Delete, NewEntry
from flask_clustertoken.stores.redis import scripts
from flask_clustertoken.stores.redis.codec import Kept
from flask_clustertoken.stores.redis.driver import Command, Contact, Deadline, Lost
from flask_clustertoken.stores.redis.realm import RedisRealm
from flask_clustertoken.stores.redis.store import RedisStore
from flask_clustertoken.testing.contract import feed_of
from tests.ensemble.put_back import more_than_anybody_can_mend
from tests.servers.redis import Server
from tests.waiting import came_true, wait_until

pytestmark = pytest.mark.redis

SECRET = "one key for every host of the test, long enough"

Opened = Callable[[], ClusterStore]


@pytest.fixture
def opened(own_server: Server) -> Iterator[Opened]:
    """Another handle on the store, as another node has it."""
    with ExitStack() as stack:
        url, clock = f"redis://127.0.0.1:{own_server.port}", ManualClock()
        yield lambda: stack.enter_context(
            open_store(url, clock=clock, timeout=5, options={"settle": 0})
        )


def put_back(server: Server, copy: bytes) -> None:
    """What a power cut or a fail-over does: the server is one of a moment ago."""
    server.kill()
    (server.folder / "dump.rdb").write_bytes(copy)
    server.start()
    wait_until(lambda: server.info("loading") == "0", 60)


def saved(server: Server) -> bytes:
    server.ask("SAVE")
    return (server.folder / "dump.rdb").read_bytes()


def test_a_start_is_a_new_history(own_server: Server) -> None:
    """The replication's id is another one, also where the data is the same."""
    before = own_server.info("master_replid")
    own_server.ask("SAVE")
    own_server.kill()
    own_server.start()
    assert own_server.info("master_replid") != before


def test_what_was_lost_is_put_back_where_it_was(own_server: Server, opened: Opened) -> None:
    """With number, id, body and end; what its step had deleted is deleted again."""
    store, other = opened(), opened()
    store.append([NewEntry("a", b"A", None)], [Add("record/1", b"", None)])
    copy = saved(own_server)
    store.append([NewEntry("b", b"B", 2e9), NewEntry("c", b"C", None)], [Delete("record/1")])
    before = feed_of(store)

    put_back(own_server, copy)
    assert [one.id for one in feed_of(other)] == ["a"]
    assert other.get("record/1") is not None
    assert feed_of(store) == before
    assert feed_of(other) == before
    assert other.get("record/1") is None


def test_whoever_read_an_entry_of_another_node_puts_it_back(
    own_server: Server, opened: Opened
) -> None:
    """With the deletions that belonged to it: its writer may be gone."""
    store, reader, late = opened(), opened(), opened()
    store.append([], [Add("record/1", b"", None)])
    copy = saved(own_server)
    store.append([NewEntry("a", b"A", None)], [Delete("record/1")])
    feed_of(reader)
    store.close()
    put_back(own_server, copy)
    reader.head()
    assert [one.id for one in feed_of(late)] == ["a"]
    assert late.get("record/1") is None


def test_a_reader_that_went_on_meanwhile_begins_anew(own_server: Server, opened: Opened) -> None:
    """The floor lies above its position: it has missed something, and meets it from 0."""
    store, other = opened(), opened()
    (first,) = store.append([NewEntry("a", b"", None)])
    copy = saved(own_server)
    (lost,) = store.append([NewEntry("lost", b"", None)])
    put_back(own_server, copy)
    (new,) = other.append([NewEntry("new", b"", None)], above=lost)
    position = other.read(0).seq
    assert position == new

    store.head()
    page = other.read(position)
    assert page.floor > position
    assert [(one.id, one.seq) for one in feed_of(other)] == [
        ("a", first),
        ("lost", lost),
        ("new", new),
    ]
    prevs = [one.prev for one in feed_of(other)]
    seqs = [one.seq for one in feed_of(other)]
    assert prevs == [0, *seqs[:-1]]
    (after,) = other.append([NewEntry("after", b"", None)])
    assert after > page.floor
    assert other.read(page.seq).entries[0].prev == page.seq


def test_an_entry_whose_number_was_given_again_gets_a_later_one(
    own_server: Server, opened: Opened
) -> None:
    """Never an earlier one: a mark may cover more than it did, and not less."""
    store, other = opened(), opened()
    store.append([NewEntry("a", b"", None)])
    copy = saved(own_server)
    (lost,) = store.append([NewEntry("lost", b"L", None)])
    put_back(own_server, copy)
    (new,) = other.append([NewEntry("new", b"N", None)])
    assert new == lost
    store.head()
    assert [(one.id, one.seq) for one in feed_of(other)][1:] == [("new", new), ("lost", new + 1)]


def test_a_transaction_whose_answer_was_lost_is_made_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again, and known again, also where it has no entry whose id would tell."""
    store, other = opened(), opened()
    assert store.add("b", b"", None)
    ask = Contact.ask

    def deaf(contact: Contact, deadline: Deadline, *commands: Command) -> list[Any]:
        monkeypatch.setattr(Contact, "ask", ask)
        ask(contact, deadline, *commands)
        assert other.delete("a")
        raise lost

    lost = Lost("the connection ended")
    lost.broken = True
    monkeypatch.setattr(Contact, "ask", deaf)
    assert store.add("a", b"", None)
    assert other.get("a") is None


def test_what_was_trimmed_does_not_come_again(own_server: Server, opened: Opened) -> None:
    """An entry that is over and swept is no loss."""
    store, other = opened(), opened()
    seqs = store.append([NewEntry("a", b"", 1.0), NewEntry("b", b"", None)])
    feed_of(other)
    store.trim(seqs[:1])
    put_back(own_server, saved(own_server))
    other.head()
    assert [one.id for one in feed_of(other)] == ["b"]


def test_a_loss_that_cannot_be_bridged_is_not_papered_over(
    own_server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more is gone than is known here, nothing is put back: the nodes find out and refuse."""
    monkeypatch.setattr(tail, "ENTRIES", 8)
    store = opened()
    store.append([NewEntry("a", b"", None)])
    copy = saved(own_server)
    for number in range(20):
        store.append([NewEntry(f"e{number}", b"", None)])
    put_back(own_server, copy)
    assert [one.id for one in feed_of(store)] == ["a"]


def test_what_is_learnt_of_a_history_that_is_over_is_put_back_too(
    own_server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread's answer was on its way while another one met the new history."""
    store, other = opened(), opened()
    assert isinstance(store, RedisStore)
    store.append([NewEntry("a", b"", None)])
    copy = saved(own_server)
    keep = RedisRealm._keep

    def late(realm: RedisRealm, entries: Iterable[Kept], history: str) -> None:
        monkeypatch.setattr(RedisRealm, "_keep", keep)
        put_back(own_server, copy)
        store.head()
        realm._keep(entries, history)

    monkeypatch.setattr(RedisRealm, "_keep", late)
    (lost,) = store.append([NewEntry("lost", b"", None)])
    assert [one.id for one in feed_of(other)] == ["a"]
    store.head()
    assert [(one.id, one.seq) for one in feed_of(other)][1:] == [("lost", lost)]


def test_after_a_loss_that_nobody_can_mend_restored_ends_what_was_before(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old dump under a server that had gone on for longer than any node remembers."""

    def take() -> Callable[[], None]:
        copy = saved(own_server)
        return lambda: put_back(own_server, copy)

    more_than_anybody_can_mend(f"redis://127.0.0.1:{own_server.port}", monkeypatch, take)


def test_nobody_vouches_before_the_others_had_time(own_server: Server) -> None:
    """For the seconds of ``settle`` after a restart; then everybody does."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with open_store(url, options={"settle": 1.5}) as store:
        store.announce("n1", b"")
        assert store.vouch("n1", b"").seq == 0
        put_back(own_server, saved(own_server))
        with pytest.raises(StoreUnavailable, match="restarted"):
            store.vouch("n1", b"")

        def vouches() -> bool:
            try:
                store.vouch("n1", b"")
            except StoreUnavailable:
                return False
            return True

        wait_until(vouches, 60)


def newcomer_accepts(server: Server, within: float) -> bool:
    """Whether a node that starts after a loss accepts what another node had revoked before.

    *within*: seconds for which it is asked.
    """
    settings = Settings(
        store=f"redis://127.0.0.1:{server.port}",
        store_options={"settle": 1.0},
        secret=(SECRET,),
        max_staleness=2,
        token_store="cookie",
    )
    knowing, newcomer = TokenAuthority(settings), TokenAuthority(settings)
    try:
        issued = knowing.issue_login("alice")
        copy = saved(server)
        knowing.revoke_subject("alice")
        put_back(server, copy)
        wait_until(lambda: newcomer.readiness().fresh, 60)
        return came_true(lambda: bool(newcomer.authenticate(issued.text)), within)
    finally:
        knowing.close()
        newcomer.close()


def test_a_newcomer_learns_what_the_server_had_lost(own_server: Server) -> None:
    """From the nodes that knew it, before it is fresh for the first time."""
    assert not newcomer_accepts(own_server, 1.0)


def never_mended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RedisRealm, "_mend", lambda self, deadline, history: None)


def never_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Every history is taken for the one that is known."""

    def careless(name: str) -> scripts.Script:
        text = scripts.script(name).text.replace("history(id) ~= KNOWN", "false")
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        return scripts.Script(name, text, digest)

    patch.setattr("flask_clustertoken.stores.redis.realm.script", careless)


def never_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tail.Tail, "add", lambda self, entries, epoch: False)


@pytest.mark.parametrize("break_it", [never_mended, never_looked_at, never_remembered])
def test_the_test_before_notices(
    break_it: Callable[[pytest.MonkeyPatch], None],
    own_server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part that is left out lets a revoked token in."""
    break_it(monkeypatch)
    assert newcomer_accepts(own_server, 60.0)


def test_what_a_step_answers_counts_only_when_replicas_have_it(own_server: Server) -> None:
    """With a replica asked for and none there, nothing is written and nothing is proved."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with open_store(url, options={"settle": 0}) as store:
        store.announce("n1", b"")
    with open_store(url, options={"replicas": 1}, timeout=2) as strict:
        for call in (
            lambda: strict.append([NewEntry("a", b"", None)]),
            lambda: strict.vouch("n1", b""),
            lambda: strict.announce("n2", b""),
            lambda: strict.head(),
        ):
            with pytest.raises(StoreUnavailable, match="replicas"):
                call()
    with open_store(url) as store:
        assert feed_of(store) == []


def test_very_many_ended_entries_are_walked_in_order(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are too many to be sorted at once, the feed itself is walked."""
    monkeypatch.setattr("flask_clustertoken.stores.redis.feed._SORTED", 10)
    store = opened()
    assert isinstance(store, RedisStore)
    seqs: list[int] = []
    for part in range(9):
        ends = [None if n % 3 else 100.0 - part for n in range(500)]
        new = [NewEntry(f"e{part}-{n}", b"", end) for n, end in enumerate(ends)]
        numbers = store.append(new)
        seqs += [seq for seq, end in zip(numbers, ends, strict=True) if end is not None]
    met: list[int] = []
    while page := store.ended(200.0, met[-1] if met else 0, limit=400):
        met += [one.seq for one in page]
    assert met == seqs


def test_an_answer_of_a_store_that_is_gone_is_not_put_into_the_next_one(
    own_server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was emptied while it was on its way, and another thread had met the new store."""
    store, other = opened(), opened()
    store.append([NewEntry("before", b"x", None)], [Delete("record/1")])
    keep = RedisRealm._keep

    def late(realm: RedisRealm, entries: Iterable[Kept], history: str) -> None:
        monkeypatch.setattr(RedisRealm, "_keep", keep)
        own_server.ask("FLUSHALL")
        other.append([], [Add("record/1", b"of the new one", None)])
        store.head()
        keep(realm, entries, history)

    monkeypatch.setattr(RedisRealm, "_keep", late)
    store.read(0)
    store.head()
    assert feed_of(other) == []
    assert other.get("record/1") is not None
