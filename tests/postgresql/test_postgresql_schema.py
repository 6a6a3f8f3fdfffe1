"""The schema is made once, by whoever may; and people with SQL find their way in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import ConfigurationError, StoreNotOpen
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore, NewEntry, Put, Root
from flask_clustertoken.testing.contract import at_once
from tests.servers.postgresql import APP, Server

pytestmark = pytest.mark.postgresql

SECRET = "one key for every host of the test, long enough"

_numbers = itertools.count(1)


@pytest.fixture
def schema() -> str:
    """A schema that no other test uses, with a name that needs its quotes."""
    return f"Our {next(_numbers)} tokens"


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """A database in which the app's role may create nothing, and two roles of its own."""
    name = f"strict{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    for role in ("writer", "looker"):
        server.sql(f"CREATE ROLE {name}_{role} LOGIN")
    yield name
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    for role in ("writer", "looker"):
        server.sql(f"DROP ROLE {name}_{role}")


def store_in(server: Server, schema: str, **more: Any) -> ClusterStore:
    return open_store(server.url, options={"schema": schema}, timeout=15, **more)


def script(server: Server, store: ClusterStore, database: str, reader: str = "") -> None:
    """Do what an administrator does with the script."""
    import psycopg

    admin = f"host=127.0.0.1 port={server.port} user=postgres dbname={database}"
    with psycopg.connect(admin, autocommit=True) as line:
        line.execute(store.schema_script(reader_role=reader))  # type: ignore[arg-type]


def test_of_many_that_come_at_once_one_makes_it(server: Server, schema: str) -> None:
    """The others wait for it; all are told of the same realm."""
    stores = [store_in(server, schema) for _ in range(6)]
    roots = at_once(*(store.root for store in stores))
    for store in stores:
        store.close()
    assert {type(root) for root in roots} == {Root}, roots
    assert len(set(map(repr, roots))) == 1
    steps = server.sql(f'SELECT version FROM "{schema}".schema_step', database=APP)
    assert steps == [(1,)]


def test_two_realms_and_two_schemas_know_nothing_of_each_other(server: Server, schema: str) -> None:
    """Same server, same database."""
    here = store_in(server, schema, realm="one")
    beside = store_in(server, schema, realm="two")
    elsewhere = store_in(server, f"{schema}x", realm="one")
    with here, beside, elsewhere:
        here.append([NewEntry("a", b"", None)], [Put("key", b"", None)])
        here.announce("n1", b"")
        for other in (beside, elsewhere):
            assert (other.head(), other.get("key"), other.nodes()) == (0, None, [])
            assert other.root().epoch != here.root().epoch


def test_who_only_asks_makes_nothing(server: Server, schema: str) -> None:
    """``begun`` of a schema, and of a realm, that is not there."""
    with store_in(server, schema) as store:
        assert not store.begun()
        assert server.sql("SELECT to_regnamespace(%s)::text", f'"{schema}"', database=APP) == [
            (None,)
        ]
        store.root()
        assert store.begun()
    with store_in(server, schema, realm="other") as other:
        assert not other.begun()


def test_a_role_that_may_not_create_is_told_what_to_do(server: Server, database: str) -> None:
    """In one sentence; once it was done, the role does all that a node does, and makes nothing."""
    url = f"postgresql://{database}_writer@{server.address}/{database}"
    with open_store(url, timeout=15) as store:
        with pytest.raises(ConfigurationError, match="flask tokens schema --sql") as caught:
            store.root()
        assert "may not create it" in str(caught.value)

        script(server, store, database)
        assert store.root().state == "open"
    settings = Settings(store=url, secret=(SECRET,))
    authority = TokenAuthority(settings)
    assert authority.readiness().fresh
    authority.close()
    import psycopg

    with psycopg.connect(url) as line, pytest.raises(psycopg.errors.InsufficientPrivilege):
        line.execute("CREATE TABLE clustertoken.mine ()")


def test_a_table_that_was_taken_away_is_named(server: Server, database: str) -> None:
    """Rights that an administrator takes back are trouble, with the way to give them again."""
    url = f"postgresql://{database}_writer@{server.address}/{database}"
    with open_store(url, timeout=15) as store:
        script(server, store, database)
        store.root()
        revoke = f"REVOKE INSERT ON clustertoken.record FROM {database}_writer"
        server.sql(revoke, database=database)
        with pytest.raises(Exception, match="grants included"):
            store.put("key", b"", None)


def test_people_who_look_see_tokens_and_revocations(server: Server, database: str) -> None:
    """The two views say what is what; the tables behind them are not theirs."""
    import psycopg

    reader = f"{database}_looker"
    url = f"postgresql://{database}_writer@{server.address}/{database}"
    with open_store(url, timeout=15) as store:
        script(server, store, database, reader)
    settings = Settings(store=url, secret=(SECRET,))
    authority = TokenAuthority(settings)
    authority.readiness()
    authority.issue_login("alice", labels=["door:7"])
    authority.end(authority.issue_login("bob").token)
    authority.revoke_labels(["door:9"])
    authority.close()
    look = f"postgresql://{reader}@{server.address}/{database}"
    with psycopg.connect(look, autocommit=True) as line:
        tokens = line.execute(
            "SELECT realm, kind, subject, labels, valid_until_at_least::text > now()::text"
            " FROM clustertoken.live_tokens"
        ).fetchall()
        assert tokens == [("default", "login", "alice", ["door:7"], True)]
        ended = line.execute(
            "SELECT what, abs(extract(epoch FROM now() - revoked_at)) < 600, deleted"
            " FROM clustertoken.recent_revocations ORDER BY seq"
        ).fetchall()
        assert [(what, near) for what, near, _ in ended] == [("ids", True), ("labels", True)]
        assert len(ended[0][2]) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            line.execute("SELECT FROM clustertoken.record")


def test_a_newer_schema_says_what_it_needs(server: Server, schema: str) -> None:
    """A step that this version can live with changes nothing; one that it cannot is refused."""
    with store_in(server, schema) as store:
        store.root()
    step = f'INSERT INTO "{schema}".schema_step (version, needs) VALUES'
    server.sql(f"{step} (2, 1)", database=APP)
    with store_in(server, schema) as store:
        assert store.root().state == "open"
    server.sql(f"{step} (3, 3)", database=APP)
    with store_in(server, schema) as store, pytest.raises(StoreNotOpen, match="version 3"):
        store.root()


def test_a_database_in_another_encoding_is_refused(server: Server, database: str) -> None:
    """Keys may have any letter; the remedy is in the sentence."""
    server.sql(
        f"CREATE DATABASE {database}_old ENCODING 'LATIN1' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        url = f"postgresql://{APP}@{server.address}/{database}_old"
        with (
            open_store(url, timeout=15) as store,
            pytest.raises(ConfigurationError, match="ENCODING 'UTF8'"),
        ):
            store.root()
    finally:
        server.sql(f"DROP DATABASE {database}_old WITH (FORCE)")
