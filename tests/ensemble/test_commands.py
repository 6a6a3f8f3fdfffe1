"""Commands against a live cluster: what they say is true, and they end in time."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from flask_clustertoken.clock import SystemClock
from flask_clustertoken.operations import diagnose
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.ports import spare_ports
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

from .shell import SECRET, begin, host, tokens

pytestmark = [pytest.mark.zookeeper]

COMMANDS: list[tuple[str, ...]] = [
    ("list",),
    ("show", "A" * 24),
    ("nodes",),
    ("keys",),
    ("purge",),
    ("revoke", "A" * 24),
    ("revoke-label", "sso:1"),
    ("revoke-subject", "alice", "--wait"),
    ("revoke-all", "--yes"),
    ("not-before", "1"),
    ("issue-api", "alice", "ci"),
    ("restored", "--yes"),
    ("nodes", "--remove", "web1:1"),
    ("keys", "stage"),
]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "token_secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.gunicorn
def test_nodes_shows_who_is_there_and_where_they_differ(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Each worker is listed; another secret, cookie name or lifetime is named; so is who lacks."""
    url = ensemble.url(zk_root)
    wrong = {"COOKIE_NAME": "other", "LIFETIME": 7200, "RENEW_AFTER": 60}
    with host(tmp_path, url, "right") as right:
        said = tokens(url, "nodes", "--json")
        assert said.code == 0, said.err
        assert {one["pid"] for one in said.json["nodes"]} == set(right.pids())
        alive = f"{said.json['nodes'][0]['name']}"
        refused = tokens(url, "nodes", "--remove", alive)
        assert (refused.code, "is alive" in refused.err) == (1, True), refused
        (tmp_path / "odd").mkdir()
        odd = host(tmp_path, url, "odd", workers=1, SECRET_FILE=tmp_path / "odd.key", **wrong)
        (tmp_path / "odd.key").write_text("a key that no other host has, and long enough\n")
        with odd:
            said = tokens(url, "nodes", expect="web9")

    assert said.code == 1
    assert "silent" not in said.out
    for name in ("SECRET", "COOKIE_NAME", "LIFETIME", "web9"):
        assert name in said.err
    assert SECRET not in said.out + said.err


@pytest.mark.gunicorn
def test_wait_never_says_everywhere_while_a_worker_is_frozen(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Who is silent is named with the time of certainty; after that time it is so, thawed too."""
    url = ensemble.url(zk_root)
    with host(tmp_path, url, "one", MAX_STALENESS=6) as server:
        cookie = server.login()
        server.of_all_workers(cookie)
        frozen = server.pids()[0]
        os.kill(frozen, signal.SIGSTOP)
        try:
            early = tokens(url, "revoke-subject", "alice", "--wait", "--timeout", "1s", "--json")
            told = early.json["confirmation"]
            assert (early.code, told["in_force"]) == (1, False)
            assert [one["name"].endswith(f":{frozen}") for one in told["silent"]] == [True]
            assert 0 < told["silent"][0]["certain_in"] <= 6.2
            text = tokens(url, "revoke-subject", "alice", "--wait", "--timeout", "1s")
            assert text.code == 1
            assert "NOT confirmed" in text.out
            assert "In force" not in text.out
            late = tokens(url, "revoke-subject", "alice", "--wait", "--json")
            assert (late.code, late.json["confirmation"]["in_force"]) == (0, True)
            by_silence = [one for one in late.json["confirmation"]["answered"] if one["by_silence"]]
            assert [one["name"].endswith(f":{frozen}") for one in by_silence] == [True]
        finally:
            os.kill(frozen, signal.SIGCONT)
        answers = [answer for each in server.of_all_workers(cookie).values() for answer in each]
        assert 200 not in {answer.status for answer in answers}


def test_every_command_ends_in_time_where_no_server_is(key_file: Path) -> None:
    """Code 3 and one sentence, without a traceback, soon after a call's deadline."""
    url = f"zookeeper://127.0.0.1:{spare_ports(1)[0]}/app"
    # All at once: each of them waits for its deadline.
    with ThreadPoolExecutor(len(COMMANDS)) as crowd:
        # The control: as many processes that only start, and wait for nobody.
        starts = crowd.map(lambda _: tokens(url, "--help", timeout=120).took, COMMANDS)
        # The call's five seconds, and the start of so many processes at once.
        soon = max(30.0, 10 + 3 * max(starts))
        answers = crowd.map(
            lambda words: tokens(url, *words, key_file=key_file, timeout=120), COMMANDS
        )
        for words, said in zip(COMMANDS, answers, strict=True):
            assert said.code == 3, (words, said)
            assert said.took < soon, words
            assert said.err.count("Error:") == 1, (words, said)
            assert "Traceback" not in said.err, words
            assert not said.out, words


def test_doctor_says_what_it_is_and_ends_in_time_where_no_server_is(key_file: Path) -> None:
    """The ensemble is down: a problem with a remedy, not a traceback."""
    url = f"zookeeper://127.0.0.1:{spare_ports(1)[0]}/app"

    said = tokens(url, "doctor", key_file=key_file, timeout=30)

    assert said.code == 1
    assert "PROBLEM  store" in said.out
    assert "Is it running" in said.out
    assert "Traceback" not in said.err


def test_a_mistyped_path_or_realm_makes_nothing(ensemble: Ensemble, zk_root: str) -> None:
    """On servers too: a command says that there is no such store, and leaves none."""
    url = ensemble.url(zk_root)
    begin(url)

    for words, more in ((("-x", "default"), {}), (("", "other"), {"realm": "other"})):
        said = tokens(url + words[0], "revoke-subject", "alice", **more)
        assert said.code == 3
        assert f"no store of realm {words[1]}" in said.err
        with open_store(url + words[0], realm=words[1]) as store:
            assert not store.begun()


def test_doctor_makes_nothing(ensemble: Ensemble, zk_root: str, key_file: Path) -> None:
    """An empty place is empty after it was looked at, and called so."""
    url = ensemble.url(zk_root)

    said = tokens(url, "doctor", key_file=key_file)

    assert said.code == 0
    assert "holds nothing of realm default" in said.out
    from kazoo.client import KazooClient

    client = KazooClient(ensemble.addresses)
    client.start(10)
    try:
        assert client.exists("/" + zk_root.split("/")[1]) is None
    finally:
        client.stop()
        client.close()


def test_doctor_names_a_sealed_store_and_a_missing_key(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, key_file: Path
) -> None:
    """Where its contents went; and that this host has no key, with the way to get one."""
    url, target = ensemble.url(zk_root), ensemble.url(zk_root + "-next")
    begin(url)
    moved = tokens(url, "migrate", url, target, "--yes")
    assert moved.code == 0, moved.err

    said = tokens(url, "doctor", key_file=key_file)
    keyless = tokens(target, "doctor", key_file=tmp_path / "not-there")

    assert (said.code, zk_root + "-next" in said.out) == (1, True), said.out
    assert (keyless.code, "PROBLEM  keys: there is no key" in keyless.out) == (1, True)


def test_doctor_names_a_clock_that_is_wrong(ensemble: Ensemble, zk_root: str) -> None:
    """A host half an hour ahead of the store is told so."""

    class Ahead(SystemClock):
        def time(self) -> float:  # type: ignore[override]
            return time.time() + 1800

    url = ensemble.url(zk_root)
    with open_store(url, realm="default", instance_path="", options={}) as store:
        assert isinstance(store, ZooKeeperStore)
        store.root()

    found = list(diagnose(Settings(store=url, secret=(SECRET,)), clock=Ahead()))

    (clock,) = [one for one in found if one.about == "clock"]
    assert (clock.level, "differs from the store's by 1800 s" in clock.what) == ("problem", True)


@pytest.mark.gunicorn
def test_doctor_names_a_wrong_secret(ensemble: Ensemble, zk_root: str, tmp_path: Path) -> None:
    """Keys of this host that no node has are a problem, as is a file that all can read."""
    url = ensemble.url(zk_root)
    other = tmp_path / "other"
    other.write_text("a key that no other host has, and long enough\n")
    other.chmod(0o644)
    with host(tmp_path, url, "right", workers=1):
        said = tokens(url, "doctor", key_file=other)

    assert said.code == 1
    assert "none of this host's keys is on" in said.out
    assert "every user of this host can read" in said.out


def test_purge_and_restored_on_the_ensemble(ensemble: Ensemble, zk_root: str) -> None:
    """They do their part and say so."""
    url = ensemble.url(zk_root)
    begin(url)

    purged = tokens(url, "purge", "--json")
    restored = tokens(url, "restored", "--yes", "--wait", "--json")

    assert (purged.code, purged.json) == (0, {"records": 0, "entries": 0})
    assert restored.code == 0
    assert restored.json["confirmation"]["in_force"]
    wait_until(lambda: tokens(url, "list").code == 0, 20)


def test_doctor_notices_an_embedded_store_that_went_back(tmp_path: Path, key_file: Path) -> None:
    """The counter beside the database knows more than a backup; after ``restored`` all is well."""
    url = f"directory://{tmp_path}/shared"
    begin(url)
    assert tokens(url, "revoke-subject", "alice").code == 0
    backup = tmp_path / "backup.sqlite3"
    with closing(sqlite3.connect(tmp_path / "shared" / "default.sqlite3")) as database:
        database.execute("VACUUM INTO ?", [str(backup)])
    assert tokens(url, "revoke-subject", "bob").code == 0
    for end in ("", "-wal", "-shm"):
        (tmp_path / "shared" / f"default.sqlite3{end}").unlink(missing_ok=True)
    backup.rename(tmp_path / "shared" / "default.sqlite3")

    before = tokens(url, "doctor", key_file=key_file)
    assert tokens(url, "restored", "--yes").code == 0
    after = tokens(url, "doctor", key_file=key_file)

    assert (before.code, "rolled back" in before.out) == (1, True), before.out
    assert "python -m flask_clustertoken … restored" in before.out
    assert (after.code, "rolled back" in after.out) == (0, False), after.out
