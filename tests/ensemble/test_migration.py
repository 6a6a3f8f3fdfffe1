"""``migrate`` as a real command, from under a running app: nobody is logged out by it."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.operations.migration import LEASE
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Add, ClusterStore, Delete, Record
from flask_clustertoken.tokens import RING_KEY, Token, ring_bytes
from tests.conftest import Tell
from tests.pace import moments
from tests.rounds import rounds
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

from .shell import SECRET, Host, Said, host, launch, tokens

pytestmark = [pytest.mark.zookeeper]


def opened(url: str) -> ClusterStore:
    return open_store(url, realm="default", instance_path="", options={}, timeout=10)


def contents(store: ClusterStore) -> dict[str, Record]:
    """Every record but those that belong to the moment."""
    found: dict[str, Record] = {}
    after = ""
    while page := store.scan("", after):
        after = page[-1][0]
        found.update((key, one) for key, one in page if not key.startswith("lease/"))
    return found


def same_records(one: dict[str, Record], other: dict[str, Record]) -> bool:
    return one.keys() == other.keys() and all(
        record.value == other[key].value
        and (record.expires_at is None) == (other[key].expires_at is None)
        and abs((record.expires_at or 0) - (other[key].expires_at or 0)) < 0.01
        for key, record in one.items()
    )


# -- users -----------------------------------------------------------------------------


class User(threading.Thread):
    """Logs in, looks, renews and logs out, all the time; knows what must hold of each login.

    A login is the list of its copies: each renewal makes one more, and they die together.
    """

    def __init__(self, server: Host, name: str) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.user = name
        self.alive: list[list[str]] = []
        self.ended: list[list[str]] = []
        self.wrong: list[str] = []
        self.refused_for_now = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with suppress(OSError, HTTPException):
                self._round()

    def _round(self) -> None:
        form = {"username": self.user, "password": self.user}
        answer = self.server.ask("POST", "/login", data=form)
        if answer.status == 200 and answer.cookie:
            self.alive.append([answer.cookie])
        for login in random.sample(self.alive, min(4, len(self.alive))):
            self._look(login)
        if len(self.alive) > 3:
            self._leave()

    def _look(self, login: list[str]) -> None:
        answer = self.server.me(random.choice(login))
        if answer.status == 503:
            self.refused_for_now += 1
            if answer.cookie is not None:
                self.wrong.append("a 503 touched the cookie")
        elif answer.status != 200:
            self.wrong.append(f"a good login got {answer.status}: {answer.body!r}")
        elif answer.cookie:
            login.append(answer.cookie)

    def _leave(self) -> None:
        login = self.alive.pop(random.randrange(len(self.alive)))
        # A log-out without an answer, or with 503, may have come to something: nothing is known.
        if self.server.ask("POST", "/logout", cookie=login[-1]).status == 200:
            self.ended.append(login)


def move_under_load(folder: Path, source: str, target: str) -> list[User]:
    """Migrate while users come and go, restart on the target; what held for them."""
    settings = {"ALWAYS_RENEW": "true"}
    with host(folder, source, "old", **settings) as old:
        admin = old.login("admin")
        made = [
            old.ask("POST", "/api/tokens", cookie=admin, data={"name": name, "scopes": []}).json
            for name in ("kept", "ended")
        ]
        api, dead = made[0]["text"], made[1]["text"]
        gone = old.ask("DELETE", f"/api/tokens/{made[1]['token']['id']}", cookie=admin)
        assert gone.status == 200
        assert old.ask("GET", "/pages/everywhere", cookie=admin).status == 200
        users = [User(old, name) for name in ("alice", "bob", "admin")]
        for user in users:
            user.start()
        wait_until(lambda: all(user.ended for user in users))
        done = tokens(source, "migrate", source, target, "--yes", "--json")
        assert done.code == 0, done.err
        # The users go on, and are told to come again.
        wait_until(lambda: all(user.refused_for_now for user in users))
        for user in users:
            user.over.set()
        for user in users:
            user.join(60)
        sealed = old.me(admin)
        assert (sealed.status, sealed.cookie) == (503, None)
        refused = tokens(source, "list")
        assert (refused.code, "moved" in refused.err) == (3, True), refused
    with opened(source) as before, opened(target) as after:
        assert before.root().epoch == after.root().epoch
        assert (before.root().state, after.root().state) == ("sealed", "open")
        assert after.head() >= before.head()
    with host(folder, target, "new", **settings) as new:
        for user in users:
            assert not user.wrong
            assert {new.me(copy).status for login in user.alive for copy in login} == {200}
            assert {new.me(copy).status for login in user.ended for copy in login} == {401}
        assert new.ask("GET", "/api/me", bearer=api).status == 200
        assert new.ask("GET", "/api/me", bearer=dead).status == 401
        assert "everywhere" in str(new.ask("GET", "/api/recent", cookie=admin).json)
        # What is ended now is ended on the new store: it takes writes, and they count.
        assert new.ask("POST", "/logout", cookie=admin).status == 200
        wait_until(lambda: all(new.me(admin).status == 401 for _ in range(6)), 5 + moments(50))
    again = tokens(source, "migrate", source, target, "--yes", "--json")
    assert (again.code, again.json["repeated"]) == (0, True)
    return users


@pytest.mark.gunicorn
def test_a_directory_moves_to_zookeeper_under_a_running_app(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Everybody stays logged in, who logged out stays out, and between them is only a 503."""
    users = move_under_load(tmp_path, f"directory://{tmp_path}/shared", ensemble.url(zk_root))

    assert sum(len(user.alive) for user in users) > 5


@pytest.mark.gunicorn
def test_one_root_moves_to_another_under_a_running_app(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """The same between two roots of one ensemble."""
    move_under_load(tmp_path, ensemble.url(zk_root), ensemble.url(zk_root + "-next"))


# -- cut off ---------------------------------------------------------------------------


def authority(store: ClusterStore, *, active: bool = False) -> TokenAuthority:
    settings = Settings(store=store.url, secret=(SECRET,))
    return TokenAuthority(settings, store=store, active=active, threaded=False)


def furnish(store: ClusterStore, count: int) -> list[str]:
    """Put *count* records and a bit of everything into *store*; texts that must stay good."""
    people = authority(store)
    good = [people.issue_login("alice", labels=["sso:1"]).text]
    good.append(people.issue_api_token("alice", "nightly").text)
    ended = people.issue_login("bob", labels=["sso:2"])
    people.revoke_labels(["sso:2"])
    people.revoke_subject("carol")
    people.revoke_ids([ended.token.id])
    people.shared("counters").set("visits", {"n": 7})
    store.put(RING_KEY, ring_bytes({people.keys.held[0]: "signing"}), None)
    end = time.time() + 86_400
    for start in range(0, count, 250):
        some = range(start, min(start + 250, count))
        store.append([], [Add(f"data/default/bulk/{n}", b"x" * 200, end) for n in some])
    return good


def let_the_minute_pass(url: str) -> None:
    """After a kill the lease of the one that was killed stands for a minute; not for us."""
    with opened(url) as store:
        store.append([], [Delete(LEASE)])


def test_thousands_of_records_move_and_are_the_same(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """A whole comparison afterwards finds no difference, and the texts are accepted."""
    many = rounds(2_000, 10_000)
    source, target = f"directory://{tmp_path}/shared", ensemble.url(zk_root)
    with opened(source) as old, opened(target) as new:
        good = furnish(old, many)

        done = tokens(source, "migrate", source, target, "--yes", "--json", timeout=110)

        assert done.code == 0, done.err
        assert done.json["records"]["data"] == many + 1
        assert same_records(contents(old), contents(new))
        reader = authority(new, active=True)
        try:
            login, api = good
            assert isinstance(reader.authenticate(login), Token)
            assert isinstance(reader.authenticate(api, "api"), Token)
        finally:
            reader.close()
        tell("moved from directory to zookeeper", records=many, seconds=round(done.took, 1))


def test_a_move_that_is_killed_is_repeated_with_the_same_words(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Killed anywhere, again and again, it comes to the same end; no half is ever open."""
    for number in range(rounds(1, 10)):
        source = f"directory://{tmp_path}/shared-{number}"
        target = ensemble.url(f"{zk_root}-{number}")
        with opened(source) as old, opened(target) as new:
            furnish(old, 1000)
            # How long it takes with nobody in its way, to kill it anywhere between.
            whole = tokens(
                source, "migrate", source, ensemble.url(f"{zk_root}-dry-{number}"), "--help"
            ).took
            for _ in range(4):
                move = launch(source, "migrate", source, target, "--yes", "--json")
                with suppress(subprocess.TimeoutExpired):
                    move.wait(whole * 0.6 + random.random() * 3)
                move.kill()
                move.communicate()
                assert (
                    new.root().state == "preparing"
                    or new.root().epoch != old.root().epoch
                    or (old.root().state == "sealed" and same_records(contents(old), contents(new)))
                )
                let_the_minute_pass(target)
            done: Said = tokens(source, "migrate", source, target, "--yes", "--json")

            assert done.code == 0, done.err
            assert (old.root().state, new.root().state) == ("sealed", "open")
            assert same_records(contents(old), contents(new))
            assert new.head() >= old.head()
