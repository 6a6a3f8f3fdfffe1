"""What the PostgreSQL store does beyond the contract: locks, lines, poolers, lost ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from flask_clustertoken.errors import Conflict, HeadMoved, StoreNotOpen, StoreUnavailable
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import (
    Add,
    Change,
    Delete,
    Entry,
    HeadIs,
    NewEntry,
    Put,
    Record,
    Require,
)
from flask_clustertoken.stores.deadline import Deadline
from flask_clustertoken.stores.postgresql.driver import Ask, LineCut, Row, Session
from flask_clustertoken.stores.postgresql.realm import PostgreSQLRealm
from flask_clustertoken.stores.postgresql.store import PostgreSQLStore
from flask_clustertoken.testing.contract import at_once
from tests.servers.pgbouncer import PgBouncer
from tests.servers.ports import spare_ports
from tests.servers.postgresql import APP, Server
from tests.waiting import wait_until

pytestmark = pytest.mark.postgresql

PASSWORD = "never-to-be-shown"

Open = Callable[..., PostgreSQLStore]


@pytest.fixture
def opened(url: str, realm: str) -> Iterator[Open]:
    """Handles on one realm, by default on the server that no test harms."""
    made: list[PostgreSQLStore] = []

    def make(at: str = url, *, timeout: float = 15, **options: Any) -> PostgreSQLStore:
        store = open_store(at, realm=realm, options=options, timeout=timeout)
        made.append(cast(PostgreSQLStore, store))
        return made[-1]

    yield make
    for store in made:
        store.close()


def new(name: str, body: bytes = b"{}", keep_until: float | None = None) -> NewEntry:
    return NewEntry(name, body, keep_until)


def feed(store: PostgreSQLStore) -> list[Entry]:
    return list(store.read(0).entries)


# -- order ------------------------------------------------------------------------------


def test_an_append_waits_for_the_one_that_has_the_head(
    opened: Open, server: Server, realm: str
) -> None:
    """Numbers are given behind the commit of the number before: no reader meets 2 before 1."""
    import psycopg

    store, reader = opened(), opened()
    (first,) = store.append([new("first")])
    with psycopg.connect(server.url) as other:
        other.execute("SELECT FROM clustertoken.head WHERE realm = %s FOR NO KEY UPDATE", (realm,))
        late: list[int] = []
        thread = threading.Thread(target=lambda: late.extend(store.append([new("late")])))
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: server.sql(waiting), 60)
        # What the other one appends and commits in this very transaction comes before.
        other.execute(
            "WITH h AS (UPDATE clustertoken.head SET seq = seq + 1000000000, entry = 'early'"
            " WHERE realm = %(r)s RETURNING seq) INSERT INTO clustertoken.entry"
            " (realm, seq, prev, id, body) SELECT %(r)s, seq, %(f)s, 'early', '' FROM h",
            {"r": realm, "f": first},
        )
        assert reader.read(first).entries == ()
    thread.join(60)
    assert [one.id for one in feed(reader)] == ["first", "early", "late"]
    assert late == [reader.head()]
    assert feed(reader)[2].prev == feed(reader)[1].seq


def passed(server: Server, realm: str, call: Callable[[], object], *meanwhile: str) -> object:
    """What *call* comes to, where others do *meanwhile* and commit it while it waits for the head.

    What it judges was there before it waited; and what it does must be right behind them.
    """
    import psycopg

    with psycopg.connect(server.url) as other:
        other.execute("SELECT FROM clustertoken.head WHERE realm = %s FOR NO KEY UPDATE", (realm,))
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.extend(at_once(call)))
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: server.sql(waiting), 60)
        for one in meanwhile:
            assert other.execute(one, {"realm": realm}).rowcount == 1
    thread.join(60)
    return answers[0]


ANOTHER = (
    "WITH h AS (UPDATE clustertoken.head SET seq = seq + 1, entry = 'other'"
    " WHERE realm = %(realm)s RETURNING seq) INSERT INTO clustertoken.entry"
    " (realm, seq, prev, id, body) SELECT %(realm)s, seq, seq - 1, 'other', '' FROM h"
)
SEALED = "UPDATE clustertoken.realm SET state = 'sealed', moved_to = 'x' WHERE realm = %(realm)s"
ENDED = "DELETE FROM clustertoken.record WHERE realm = %(realm)s AND key = 'there'"
ADDED = "INSERT INTO clustertoken.record VALUES (%(realm)s, 'new', '\\x01', NULL)"

#: Stands for the number that the first entry gets.
FIRST = 1

ISSUED = Add("new", b"mine", None)


@pytest.mark.parametrize(
    ("meanwhile", "entries", "changes", "refused"),
    [
        (ANOTHER, [], [HeadIs(FIRST, "first"), ISSUED], HeadMoved),
        (ANOTHER, ["mine"], [HeadIs(FIRST, "first"), Delete("there")], HeadMoved),
        (SEALED, [], [HeadIs(FIRST, "first"), ISSUED], StoreNotOpen),
        (SEALED, ["mine"], [Require("there"), Delete("there")], StoreNotOpen),
        (ENDED, [], [HeadIs(FIRST, "first"), Require("there"), ISSUED], Conflict),
        (ENDED, ["mine"], [Require("there"), Delete("there")], Conflict),
        (ADDED, [], [HeadIs(FIRST, "first"), ISSUED], Conflict),
    ],
)
def test_a_short_transaction_sees_what_was_committed_while_it_waited(
    opened: Open,
    server: Server,
    realm: str,
    meanwhile: str,
    entries: list[str],
    changes: list[Change],
    refused: type[Exception],
) -> None:
    """Whatever it was, it comes before; and nothing of what was refused is there."""
    store, reader = opened(), opened()
    store.put("there", b"", None)
    (first,) = store.append([new("first")])
    told = [replace(one, seq=first) if isinstance(one, HeadIs) else one for one in changes]
    answer = passed(
        server, realm, lambda: store.append([new(one) for one in entries], told), meanwhile
    )
    assert isinstance(answer, refused), answer
    assert "mine" not in [one.id for one in feed(reader)]
    found = reader.get("new")
    assert found is None or found.value == b"\x01"


def test_a_log_out_behind_others_has_the_number_behind_theirs(
    opened: Open, server: Server, realm: str
) -> None:
    """Be they of this very id, sent twice: then it has theirs."""
    store = opened()
    store.put("there", b"", None)
    store.append([new("first")])
    changes = [Require("there"), Delete("there")]
    assert passed(server, realm, lambda: store.append([new("mine")], changes), ANOTHER)
    assert [one.id for one in feed(store)] == ["first", "other", "mine"]
    assert feed(store)[2].prev == feed(store)[1].seq
    again = passed(
        server,
        realm,
        lambda: store.append([new("other2")]),
        ANOTHER.replace("'other'", "'other2'"),
    )
    assert again == [feed(store)[3].seq]
    assert feed(store)[3].id == "other2"


def test_what_a_step_looks_up_it_looks_up_by_its_key(
    opened: Open, server: Server, realm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However young the tables are: a server that has not counted them yet reads no more."""
    read = "SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables WHERE relname = %s"
    store = opened()
    for number in range(100):
        store.append([], [Add(f"k{number}", b"", None)])
    line: list[Session] = []
    usual = Session.ask

    def ask(self: Session, deadline: Deadline, *asked: Ask) -> list[list[Row]]:
        line.append(self)
        return usual(self, deadline, *asked)

    monkeypatch.setattr(Session, "ask", ask)

    def fetched(call: Callable[[], object]) -> int:
        def counted() -> int:
            # (By the very connection, which tells the others of it before it is asked.)
            store._steps.run("root")
            stats = "SELECT pg_stat_force_next_flush()::text"
            usual(line[-1], Deadline(60), (stats, ()))
            return int(server.sql(read, "record", database=APP)[0][0])

        before = counted()
        call()
        return counted() - before

    for call in (
        lambda: store.get_many(["k1", "k2"]),
        lambda: store.append([], [Put("k3", b"", None), Require("k4")]),
        lambda: store.append([], [Add("new", b"", None)]),
        lambda: store.append([new("a")], [Require("k5"), Delete("k5")]),
        lambda: store.append([new("b")], [Delete("k6"), Delete("k7")]),
        lambda: store.append([new("b")], [Delete("k6"), Delete("k7")]),
    ):
        assert fetched(call) <= 12


def test_a_lock_of_somebody_else_is_trouble_in_time_and_leaves_nobody_waiting(
    opened: Open, server: Server, realm: str
) -> None:
    """Neither here nor in the server, whose connections would all be used up by the next hour."""
    import psycopg

    patient, store = opened(), opened(timeout=1)
    patient.append([new("first")])
    with psycopg.connect(server.url) as other:
        other.execute("SELECT FROM clustertoken.head WHERE realm = %s FOR UPDATE", (realm,))
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.append([new("second")])
            assert time.monotonic() - began < 5
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
        wait_until(lambda: not server.sql(waiting, APP), 60)
        assert patient.head() > 0
    assert patient.append([new("second")])
    assert [one.id for one in feed(patient)] == ["first", "second"]


def test_transactions_over_the_same_records_do_not_wait_for_each_other_for_ever(
    opened: Open,
) -> None:
    """In whichever order each names them."""
    stores = [opened() for _ in range(4)]
    keys = [f"k{number}" for number in range(6)]

    def work(index: int) -> int:
        for turn in range(10):
            order = keys[turn % 6 :] + keys[: turn % 6]
            order = order[::-1] if index % 2 else order
            stores[index].append([], [Put(key, b"%d" % index, None) for key in order])
            stores[index].touch(keys[turn % 6], 9e9)
        return index

    assert at_once(*(lambda i=i: work(i) for i in range(4))) == [0, 1, 2, 3]  # type: ignore[misc]
    assert len(set(map(bytes, (one.value for one in stores[0].get_many(keys).values())))) == 1


def test_of_several_changes_to_one_record_the_last_one_counts(opened: Open) -> None:
    """As if they were made one by one, in one transaction."""
    store = opened()
    store.put("there", b"old", None)
    store.append([], [Put("a", b"1", None), Put("a", b"2", None), Delete("there")])
    assert store.get("a") == Record(b"2", None)
    store.append([], [Delete("a"), Add("b", b"1", None), Put("there", b"new", None), Delete("b")])
    assert store.get_many(["a", "b", "there"]) == {"there": Record(b"new", None)}


# -- what a commit's lost answer means -----------------------------------------------------


def writes(asked: Sequence[Ask]) -> bool:
    """Whether it is a transaction of the feed's, in one statement or in many."""
    return any("INSERT INTO" in text and ".record" in text for text, _ in asked)


@contextmanager
def losing(monkeypatch: pytest.MonkeyPatch, times: int = 1) -> Iterator[list[int]]:
    """The answers to the next *times* commits are lost: the server made them, the line broke."""
    usual, lost = Session.ask, [0]

    def ask(self: Session, deadline: Deadline, *asked: Ask) -> list[list[Row]]:
        answers = usual(self, deadline, *asked)
        if lost[0] < times and writes(asked):
            lost[0] += 1
            self.close()
            cut = LineCut("the line broke behind the commit")
            cut.broken = True
            raise cut
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(Session, "ask", ask)
        yield lost


@pytest.mark.parametrize("times", [1, 3])
def test_a_commit_whose_answer_was_lost_is_known_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """With an entry by its id, without one by its own: done once, and told as done."""
    store, other = opened(), opened()
    store.put("lease", b"", None)
    with losing(monkeypatch, times) as lost:
        (seq,) = store.append([new("a")], [HeadIs(0), Add("one", b"", None)])
    assert lost == [times]
    with losing(monkeypatch, times) as lost:
        assert store.add("two", b"", None) is True
    assert lost == [times]
    with losing(monkeypatch, times) as lost:
        store.append([], [Add("three", b"", None), Delete("lease")])
    assert lost == [times]
    assert [(one.seq, one.id) for one in feed(other)] == [(seq, "a")]
    assert set(other.get_many(["one", "two", "three", "lease"])) == {"one", "two", "three"}


def test_what_was_deleted_meanwhile_does_not_come_back(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try of a login's record, behind a log-out that came between, adds nothing."""
    store, other = opened(), opened()
    store.root()
    usual = Session.ask

    def ask(self: Session, deadline: Deadline, *asked: Ask) -> list[list[Row]]:
        answers = usual(self, deadline, *asked)
        if writes(asked):
            patch.undo()
            assert other.delete("login")
            self.close()
            cut = LineCut("the line broke behind the commit")
            cut.broken = True
            raise cut
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(Session, "ask", ask)
        assert store.add("login", b"", None) is True
    assert other.get("login") is None


def test_notes_of_transactions_go_again(opened: Open, server: Server, realm: str) -> None:
    """Each transaction takes some of those away that are older than any call."""
    store = opened()
    for number in range(8):
        store.put(f"k{number}", b"", None)
    count = "SELECT count(*) FROM clustertoken.done WHERE realm = %s"
    assert server.sql(count, realm, database=APP) == [(8,)]
    server.sql(
        "UPDATE clustertoken.done SET made_at = made_at - interval '6 minutes'", database=APP
    )
    for _ in range(3):
        store.put("k", b"", None)
    assert server.sql(count, realm, database=APP) == [(3,)]


# -- what counts, and for how long is waited ---------------------------------------------------


def test_a_commit_that_no_standby_confirms_does_not_count(own_server: Server, realm: str) -> None:
    """Whatever the default of the database is; what it did is not told as done, nor as absent."""
    with open_store(own_server.url, realm=realm, timeout=15) as before:
        before.put("there", b"", None)
        before.append([new("a")])
        before.announce("n1", b"")
    own_server.sql(f"ALTER DATABASE {APP} SET synchronous_commit = 'off'")
    own_server.configure(synchronous_standby_names="nobody")
    with open_store(own_server.url, realm=realm, timeout=1) as store:
        for refused in (
            lambda: store.append([new("b")]),
            lambda: store.append([new("a")]),
            lambda: store.add("there", b"", None),
            lambda: store.vouch("n1", b""),
            lambda: store.delete("there"),
            lambda: store.get("absent"),
            lambda: store.nodes(),
            lambda: store.head(),
            lambda: store.read(0),
        ):
            with pytest.raises(StoreUnavailable):
                refused()


def test_a_wait_that_somebody_cancels_does_not_count(own_server: Server, realm: str) -> None:
    """The server then answers that all is done, with a warning; on append, retry and vouch."""
    with open_store(own_server.url, realm=realm, timeout=30) as store:
        store.append([new("a")])
        store.announce("n1", b"")
        store.vouch("n1", b"")
        own_server.configure(synchronous_standby_names="nobody")
        for refused in (
            lambda: store.append([new("b")]),
            lambda: store.append([new("b")]),
            lambda: store.put("key", b"", None),
            lambda: store.vouch("n1", b""),
        ):
            asking, cancelling = at_once(refused, lambda: wait_until(own_server.cancel_waits, 60))
            assert cancelling is None
            assert isinstance(asking, StoreUnavailable), asking
            assert "does not count" in str(asking)
        own_server.configure(synchronous_standby_names="")
        assert store.append([new("b")]) == [store.head()]


def test_hosts_are_asked_one_by_one_within_one_time(opened: Open, url: str) -> None:
    """One that does not answer takes its share, not all of it; one that refuses takes nothing."""
    import socket

    silent = socket.create_server(("127.0.0.1", 0))
    (nobody,) = spare_ports(1)
    host, database = url.rpartition("@")[2].split("/")
    hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{nobody},{host}"
    with silent:
        store = opened(f"postgresql://{APP}@{hosts}/{database}", timeout=9)
        assert store.root().state == "open"
        began = time.monotonic()
        alone = opened(f"postgresql://{APP}@127.0.0.1:{silent.getsockname()[1]}/x", timeout=1)
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            alone.root()
        assert time.monotonic() - began < 10


def test_no_password_is_shown(server: Server, realm: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither where nobody answers nor where it is wrong, in no error and no line of the log."""
    (nobody,) = spare_ports(1)
    caplog.set_level(logging.DEBUG)
    places = (f"127.0.0.1:{nobody}/app", f"{server.address}/no-such-database")
    for place in places:
        url = f"postgresql://{APP}:{PASSWORD}@{place}?sslpassword={PASSWORD}"
        with (
            open_store(url, realm=realm, timeout=5) as store,
            pytest.raises(StoreUnavailable) as caught,
        ):
            store.append([new("a")])
        cause: BaseException | None = caught.value
        while cause is not None:
            assert PASSWORD not in repr(cause) + str(cause)
            cause = cause.__cause__ or cause.__context__
        assert PASSWORD not in store.url + repr(store.__dict__)
    assert PASSWORD not in caplog.text


def test_connections_are_counted(opened: Open, server: Server, realm: str) -> None:
    """No process has more than it says, however many threads ask; those wait for each other."""
    name = f"app-{realm}"
    store = opened(f"{server.url}?application_name={name}", connections=2)
    store.root()
    most = [0]
    finished = threading.Event()

    def counting() -> int:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        while not finished.is_set():
            most[0] = max(most[0], server.sql(count, name)[0][0])
        return 0

    thread = threading.Thread(target=counting)
    thread.start()
    answers = at_once(*(lambda i=i: store.put(f"k{i}", b"", None) for i in range(12)))  # type: ignore[misc]
    wait_until(lambda: most[0], 60)
    finished.set()
    thread.join(60)
    assert answers == [None] * 12
    assert most[0] <= 2
    assert any("up to 3 connections" in one.said for one in store.remarks())


def test_who_waits_for_a_lock_leaves_a_way_for_proofs_of_freshness(
    opened: Open, server: Server, realm: str
) -> None:
    """However many wait: a node is not stale because somebody holds the head."""
    import psycopg

    store = opened(connections=2, timeout=30)
    store.append([new("first")])
    store.announce("n1", b"")
    with psycopg.connect(server.url) as other:
        other.execute("SELECT FROM clustertoken.head WHERE realm = %s FOR UPDATE", (realm,))
        threads = [
            threading.Thread(target=store.append, args=([new(f"e{number}")],))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
        wait_until(lambda: server.sql(waiting, APP), 60)
        assert store.vouch("n1", b"").seq == store.head()
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(60)
    assert len(feed(store)) == 4


# -- purging ------------------------------------------------------------------------------


def test_a_purge_leaves_alone_what_another_one_holds(
    opened: Open, server: Server, realm: str
) -> None:
    """It neither waits for it nor stops at it."""
    import psycopg

    store = opened()
    for number in range(4):
        store.put(f"old/{number}", b"", 10.0 + number)
    with psycopg.connect(server.url) as other:
        other.execute(
            "SELECT FROM clustertoken.record WHERE realm = %s AND key = 'old/1' FOR UPDATE",
            (realm,),
        )
        assert store.purge(100.0).deleted == 3
    assert store.purge(100.0).deleted == 1


# -- poolers, and being called ---------------------------------------------------------------


def test_a_pooler_is_found_out(opened: Open, pooled: PgBouncer) -> None:
    """Nothing is prepared behind it, and doctor says so; straight to the server all is."""
    behind, straight = opened(pooled.url), opened()
    for store in (behind, straight):
        store.append([new(f"e{id(store)}")])
    assert any("pooler" in one.said for one in behind.remarks())
    assert not any("pooler" in one.said for one in straight.remarks())
    assert behind._open().connections.pooled
    for number in range(20):
        behind.put(f"k{number}", b"", None)
    assert len(behind.scan("")) == 20


@pytest.mark.parametrize("how", ["look", "listen"])
def test_whoever_watches_is_called(opened: Open, url: str, how: str) -> None:
    """Soon after an append of another node; by a look at the head, or by a call of the server."""
    watching = opened(look=0.01) if how == "look" else opened(listen=url, look=10)
    other = opened()
    called = threading.Event()
    watching.watch(called.set)
    wait_until(called.is_set, 60)
    if how == "listen":
        wait_until(lambda: _listens(other), 60)
    for number in range(3):
        # (The calls at its start may come late; those behind an append come in any case.)
        called.clear()
        other.append([new(f"e{number}")])
        wait_until(called.is_set, 60)


def test_whoever_watches_an_old_primary_goes_over_to_the_new_one(opened: Open, url: str) -> None:
    """As soon as a step has met the new one; the old one may keep the line open for ever."""
    watching, other = opened(look=0.01), opened()
    watching.root()
    called = threading.Event()
    watching.watch(called.set)
    wait_until(lambda: _watched(watching), 60)
    before = _watched(watching)
    watching._open().met = "another one"
    wait_until(lambda: _watched(watching) not in (None, before), 60)
    called.clear()
    other.append([new("a")])
    wait_until(called.is_set, 60)


def _watched(store: PostgreSQLStore) -> Session | None:
    """The connection over which a store watches now, once it knows the history."""
    watch = store._watch
    return watch._session if watch is not None and watch._history else None


def _listens(store: PostgreSQLStore) -> bool:
    """Whether an append notifies by now."""
    realm = store._open()
    text = "SELECT listened FROM clustertoken.realm WHERE realm = $1"
    (rows,) = realm.connections.ask(Deadline(15), (text, (realm.name,)))
    return rows == [(True,)]


def test_behind_a_pooler_nobody_listens_for_nothing(
    opened: Open, pooled: PgBouncer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the head is looked at instead."""
    watching, other = opened(pooled.url, listen=pooled.url, look=0.01), opened()
    called = threading.Event()
    watching.watch(called.set)
    wait_until(lambda: "behind which LISTEN is nothing" in caplog.text, 60)
    other.append([new("before")])
    for number in range(3):
        called.clear()
        other.append([new(f"e{number}")])
        wait_until(called.is_set, 60)


# -- histories --------------------------------------------------------------------------------


def test_what_the_server_lost_is_put_back_under_its_number(
    opened: Open, server: Server, realm: str
) -> None:
    """With the deletion that belonged to it; and nobody vouches for some seconds."""
    knows, other = opened(settle=0.2), opened(settle=300)
    knows.put("login", b"", None)
    (kept,) = knows.append([new("kept")])
    (lost,) = knows.append([new("lost", b"revoked")], [Delete("login")])
    knows.announce("n1", b"")
    other.announce("n2", b"")
    other.vouch("n2", b"")
    # As after a backup that was put back:
    for text in (
        "DELETE FROM clustertoken.entry WHERE realm = %s AND id = 'lost'",
        f"UPDATE clustertoken.head SET seq = {kept}, entry = 'kept' WHERE realm = %s",
        "INSERT INTO clustertoken.record (realm, key, value) VALUES (%s, 'login', '')",
    ):
        server.sql(text, realm, database=APP)
    assert other.get("login") is not None
    with pytest.raises(StoreUnavailable, match="lost the end"):
        knows.read(kept)
    with pytest.raises(StoreUnavailable, match="more the nodes publish"):
        knows.vouch("n1", b"")
    page = other.read(0)
    assert [(one.seq, one.id, one.body) for one in page.entries] == [
        (kept, "kept", b"{}"),
        (lost, "lost", b"revoked"),
    ]
    assert page.floor > lost
    assert other.get("login") is None
    with pytest.raises(StoreUnavailable, match="more the nodes publish"):
        other.vouch("n2", b"")

    def vouched() -> bool:
        try:
            return knows.vouch("n1", b"").seq == page.seq
        except StoreUnavailable:
            return False

    wait_until(vouched, 60)


@pytest.mark.parametrize("asked", ["vouch", "read"])
def test_what_another_thread_appends_meanwhile_is_no_loss(
    opened: Open, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """The answer with the end of the feed was on its way while this process appended behind it.
    Taken for a loss, it would keep every node from vouching for seconds."""
    store, other = opened(settle=300), opened(settle=300)
    (first,) = store.append([new("first")])
    store.announce("n1", b"")
    other.announce("n2", b"")
    usual = PostgreSQLRealm._step

    def step(self: PostgreSQLRealm, *told: Any, **how: Any) -> list[list[Row]]:
        answers = usual(self, *told, **how)
        if told[2][0][0] == asked:
            monkeypatch.setattr(PostgreSQLRealm, "_step", usual)
            store.append([new("meanwhile")])
        return answers

    monkeypatch.setattr(PostgreSQLRealm, "_step", step)
    head = store.vouch("n1", b"").seq if asked == "vouch" else store.read(0).seq
    assert head == first
    assert [one.id for one in feed(store)] == ["first", "meanwhile"]
    assert store.vouch("n1", b"").seq > first
    assert other.vouch("n2", b"").seq > first


def test_another_lineage_is_not_vouched_for_at_once(
    own_server: Server, realm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A promotion is one, a restart is none; doctor's history is the timeline of the WAL's name."""
    with open_store(own_server.url, realm=realm, timeout=15, options={"settle": 300}) as store:
        store.announce("n1", b"")
        store.vouch("n1", b"")
        own_server.stop()
        own_server.start()
        store.vouch("n1", b"")
        ask = "SELECT lineage, tableoid::text FROM clustertoken.realm"
        ((lineage, making),) = own_server.sql(ask, database=APP)
        assert lineage.split("/")[1:] == ["00000001", making]
        own_server.sql("UPDATE clustertoken.realm SET lineage = 'another'", database=APP)
        own_server.stop()
        own_server.start()
        with pytest.raises(StoreUnavailable, match="more the nodes publish"):
            store.vouch("n1", b"")


@pytest.mark.parametrize("first", ["who comes", "who lives"])
def test_a_dump_that_was_put_back_on_the_same_server_is_another_lineage(
    own_server: Server, realm: str, first: str
) -> None:
    """Who knows nothing of what was lost vouches for nothing before those who know it came."""
    with ExitStack() as stack:
        knows, lives, comes = (
            stack.enter_context(
                open_store(own_server.url, realm=realm, timeout=15, options={"settle": 300})
            )
            for _ in range(3)
        )
        knows.append([new("kept")])
        lives.announce("n2", b"")
        lives.vouch("n2", b"")
        backup = own_server.dump()
        knows.append([new("lost")])
        own_server.restore(backup)
        store, node = (lives, "n2") if first == "who lives" else (comes, "n3")
        if store is comes:
            comes.announce(node, b"")
        with pytest.raises(StoreUnavailable, match="more the nodes publish"):
            store.vouch(node, b"")
        knows.root()  # (any step puts back what this one knows)
        assert [one.id for one in feed(store)] == ["kept", "lost"]


def test_a_server_that_does_not_say_its_lineage_has_one_of_its_last_start(
    own_server: Server, realm: str
) -> None:
    """As managed services do: a restart is then taken for another server."""
    for call in ("pg_control_system()", "pg_walfile_name(pg_lsn)"):
        own_server.sql(f"REVOKE EXECUTE ON FUNCTION {call} FROM public", database=APP)
    with open_store(own_server.url, realm=realm, timeout=15) as store:
        store.append([new("a")])
        store.announce("n1", b"")
        store.vouch("n1", b"")
    rows = own_server.sql("SELECT lineage FROM clustertoken.realm", database=APP)
    assert rows[0][0].startswith("start/")


def test_an_answer_of_tables_that_are_gone_is_not_put_into_the_next_ones(
    opened: Open, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were dropped while it was on its way, and another thread had met the new ones."""
    store, other = opened(schema="gone"), opened(schema="gone")
    store.append([new("before")], [Delete("record")])
    keep = PostgreSQLRealm._keep

    def late(realm: PostgreSQLRealm, entries: Any, history: str) -> None:
        monkeypatch.setattr(PostgreSQLRealm, "_keep", keep)
        server.sql("DROP SCHEMA gone CASCADE", database=APP)
        other.append([], [Add("record", b"of the new one", None)])
        store.head()
        keep(realm, entries, history)

    monkeypatch.setattr(PostgreSQLRealm, "_keep", late)
    store.read(0)
    store.head()
    assert feed(other) == []
    assert other.get("record") is not None
    server.sql("DROP SCHEMA gone CASCADE", database=APP)


def test_tables_that_somebody_dropped_are_another_store(opened: Open, server: Server) -> None:
    """With another epoch, so that no token of before is good there."""
    first, schema = opened(schema="dropped"), "DROP SCHEMA dropped CASCADE"
    epoch = first.root().epoch
    first.append([new("a")])
    server.sql(schema, database=APP)
    assert first.root().epoch != epoch
    assert feed(first) == []
    server.sql(schema, database=APP)


def test_what_is_amiss_is_said_with_its_remedy(server: Server, opened: Open) -> None:
    """To the operator, by doctor: how the server writes, waits, sweeps and is reached."""
    said = {one.said: one for one in opened().remarks()}
    text = "\n".join(said)
    assert "fsync off" in text
    assert "full_page_writes off" in text
    assert "no standby" in text
    assert all(one.remedy for one in said.values() if one.severity == "warning")
