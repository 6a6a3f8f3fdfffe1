"""What makes the store right: each part that is left out is noticed by the test of its promise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store, tail
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.stores.postgresql import feed
from flask_clustertoken.stores.postgresql.connections import Connections
from flask_clustertoken.stores.postgresql.driver import Session
from flask_clustertoken.stores.postgresql.realm import PostgreSQLRealm
from flask_clustertoken.testing.contract import StoreContract
from tests.postgresql import test_postgresql_store as promises
from tests.servers.postgresql import APP, Server
from tests.waiting import came_true, wait_until

pytestmark = pytest.mark.postgresql

SECRET = "one key for every host of the test, long enough"

CONTRACT = StoreContract()

MakeStore = Callable[[], ClusterStore]


@pytest.fixture
def make_store(url: str, realm: str) -> Iterator[MakeStore]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_store(url, realm=realm, timeout=15))


#: The same as the fixture of the tests that are made to fail here.
opened = promises.opened


def instead(patch: pytest.MonkeyPatch, *changes: tuple[str, str, str]) -> None:
    """In the statement of that name, the one text for the other; of all statements for ``""``."""
    whole = PostgreSQLRealm.text

    def text(realm: PostgreSQLRealm, name: str) -> str:
        found = whole(realm, name)
        for where, before, after in changes:
            if where in ("", name) and before in found:
                found = found.replace(before, after)
            else:
                assert where != name, f"{before!r} does not stand in {name}"
        return found

    patch.setattr(PostgreSQLRealm, "text", text)


@pytest.mark.parametrize("way", ["append", "finish"])
def test_an_order_by_a_sequence_is_noticed(
    make_store: MakeStore, server: Server, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that are given before the commit: a reader meets 2 before 1, and never 1."""
    CONTRACT.test_threads_that_append_at_once_lose_nothing(make_store)
    make_store().trim([one.seq for one in make_store().read(0).entries])
    server.sql(
        "CREATE SEQUENCE IF NOT EXISTS clustertoken.numbers START 9000000000000000", database=APP
    )
    server.sql("GRANT ALL ON SEQUENCE clustertoken.numbers TO PUBLIC", database=APP)
    highest = '(SELECT coalesce(max(e.seq), 0) FROM "clustertoken".entry AS e WHERE e.realm = $1)'
    drawn, raised = {
        "append": ("first", "WHERE judged.status = 'ok' AND h.realm = $1"),
        "finish": ("seq", "FROM appended WHERE h.realm = $1"),
    }[way]
    instead(
        monkeypatch,
        (way, f"greatest(here.seq + 1, $5::bigint) AS {drawn}", f"number.next AS {drawn}"),
        (
            way,
            "FROM here\n),\ndropped",
            "FROM here, (SELECT nextval('clustertoken.numbers') AS next) AS number,"
            " pg_sleep(random() / 50)\n),\ndropped",
        ),
        (way, raised, f"{raised} AND false"),
        ("", "h.seq, h.entry,", f"{highest} AS seq, h.entry,"),
    )
    if way == "append":
        monkeypatch.setattr(feed, "in_one_statement", lambda *told: None)
        monkeypatch.setattr(feed, "_locks", lambda changes: [])
    else:
        instead(monkeypatch, ("finish", " FOR NO KEY UPDATE OF h FOR SHARE OF r", ""))
    with pytest.raises(AssertionError):
        CONTRACT.test_threads_that_append_at_once_lose_nothing(make_store)


def test_a_history_that_is_not_looked_at_is_noticed(
    own_server: Server,
    realm: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever took over would be vouched for at once, whatever it lacks."""
    instead(monkeypatch, ("", "AS same", "IS NOT NULL AS same"))
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        promises.test_another_lineage_is_not_vouched_for_at_once(own_server, realm, caplog)


@pytest.mark.parametrize(
    ("first", "name", "forgotten"),
    [
        ("who comes", "lineage", """|| '/' || coalesce(to_regclass('"clustertoken".realm')"""),
        ("who lives", "", "|| '/' || r.tableoid::text = $2"),
    ],
)
def test_a_making_of_the_tables_that_is_not_looked_at_is_noticed(
    own_server: Server,
    realm: str,
    first: str,
    name: str,
    forgotten: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dump that was put back would be vouched for before anybody put back what it lacks."""
    put = {
        "lineage": """|| coalesce('', to_regclass('"clustertoken".realm')""",
        "": "|| substring($2 FROM '/[0-9]+$') = $2",
    }[name]
    instead(monkeypatch, (name, forgotten, put))
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        promises.test_a_dump_that_was_put_back_on_the_same_server_is_another_lineage(
            own_server, realm, first
        )


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_answer_that_is_taken_for_failure_is_noticed(
    opened: promises.Open, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done would be told as not done: by the single statement, or by the long way."""
    ask = Connections.ask

    def once(self: Connections, deadline: Any, *asked: Any, **how: Any) -> Any:
        return ask(self, deadline, *asked, **{**how, "again": False})

    if times == 1:
        monkeypatch.setattr(feed, "LineCut", type("Never", (Exception,), {}))
    else:
        monkeypatch.setattr(Connections, "ask", once)
    with pytest.raises(StoreUnavailable, match="the line broke"):
        promises.test_a_commit_whose_answer_was_lost_is_known_again(opened, monkeypatch, times)


def test_a_cancelled_wait_that_is_taken_for_done_is_noticed(
    own_server: Server, realm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says that it is done, and no standby has it."""
    monkeypatch.setattr(Session, "warned", property(lambda session: False))
    with pytest.raises(AssertionError):
        promises.test_a_wait_that_somebody_cancels_does_not_count(own_server, realm)


def newcomer_accepts(server: Server, within: float) -> bool:
    """Whether a node that starts after a loss accepts what another node had revoked before.

    An old dump stands on another server, under the old one's address. *within*: seconds for
    which it is asked.
    """
    settings = Settings(
        store=server.url,
        store_options={"settle": 3.0},
        secret=(SECRET,),
        max_staleness=2,
        token_store="cookie",
    )
    knowing, newcomer = TokenAuthority(settings), TokenAuthority(settings)
    try:
        issued = knowing.issue_login("alice")
        copy = server.dump()
        knowing.revoke_subject("alice")
        server.kill()
        shutil.rmtree(server.data)
        server.initialise(shut=True)
        server.restore(copy)
        wait_until(lambda: newcomer.readiness().fresh, 60)
        return came_true(lambda: bool(newcomer.authenticate(issued.text)), within)
    finally:
        knowing.close()
        newcomer.close()


def never_mended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PostgreSQLRealm, "_mend", lambda self, deadline, history: None)


def never_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tail.Tail, "add", lambda self, entries, epoch: False)


def never_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Every history is taken for the one that is known, and every end of the feed for good."""
    instead(patch, ("", "AS same", "IS NOT NULL AS same"))
    patch.setattr(PostgreSQLRealm, "seen", lambda self, head, before: True)


def test_a_newcomer_learns_what_the_server_had_lost(own_server: Server) -> None:
    """From the nodes that knew it, before it is fresh for the first time."""
    assert not newcomer_accepts(own_server, 1.0)


@pytest.mark.parametrize("break_it", [never_mended, never_looked_at, never_remembered])
def test_a_loss_that_nobody_mends_is_noticed(
    break_it: Callable[[pytest.MonkeyPatch], None],
    own_server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part that is left out lets a revoked token in."""
    break_it(monkeypatch)
    assert newcomer_accepts(own_server, 60.0)
