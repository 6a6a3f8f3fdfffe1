"""Which hosts are registered as nodes, by whom, and who unregisters them. Time is moved by hand."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.keycloak.errors import KeycloakUnavailable
from flask_clustertoken.keycloak.nodes import NodeRegistration, registrar
from flask_clustertoken.keycloak.nodes.hosts import SIGN_LASTS, Hosts
from flask_clustertoken.keycloak.nodes.registrar import Registrar
from flask_clustertoken.keycloak.options import KeycloakOptions
from flask_clustertoken.keycloak.sessions.labels import Keys
from flask_clustertoken.settings import Settings
from tests.keycloak.app import MakeApp
from tests.no_thread import no_thread
from tests.waiting import wait_until


class Server:
    """Keycloak's side of it."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.calls: list[str] = []
        self.down = False

    def register_node(self, host: str) -> None:
        self._call(f"+{host}")
        self.nodes.add(host)

    def unregister_node(self, host: str) -> None:
        self._call(f"-{host}")
        self.nodes.discard(host)

    def _call(self, what: str) -> None:
        if self.down:
            raise KeycloakUnavailable("down")
        self.calls.append(what)


class Cluster:
    def __init__(self, folder: Path, period: int = 600) -> None:
        self.clock = ManualClock()
        self.server = Server()
        settings = Settings(store=f"directory://{folder}", secret=("s" * 40,))
        self.authority = TokenAuthority(settings, clock=self.clock, threaded=False)
        self.period = period

    def hosts(self, name: str = "one") -> tuple[KeycloakOptions, Hosts]:
        options = KeycloakOptions(
            "demo", "app", "http://k", node_host=name, register_node_period=self.period
        )
        return options, Hosts(self.authority, options, Keys("demo", "app"))

    def worker(self, host: str = "one") -> Registrar:
        options, hosts = self.hosts(host)
        return Registrar(self.authority, options, hosts, self.server)  # type: ignore[arg-type]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "shared")
    yield made
    made.authority.close()


def test_one_worker_registers_its_host(cluster: Cluster) -> None:
    """The first one; the others find it done."""
    workers = [cluster.worker() for _ in range(4)] + [cluster.worker("two")]
    for worker in workers:
        worker.step()

    assert cluster.server.calls == ["+one", "+two"]
    listed = sorted((one.name, one.workers) for one in cluster.hosts()[1].listed())
    assert listed == [("one", 4), ("two", 1)]


def test_the_last_worker_unregisters(cluster: Cluster) -> None:
    """Workers that are recycled unregister nobody."""
    first, second = cluster.worker(), cluster.worker()
    first.step()
    second.step()
    first.leave()
    assert cluster.server.nodes == {"one"}
    third = cluster.worker()
    third.step()
    second.leave()
    assert cluster.server.calls == ["+one"]

    third.leave()

    assert cluster.server.nodes == set()
    assert list(cluster.hosts()[1].listed()) == []


def test_a_killed_worker_is_forgotten(cluster: Cluster) -> None:
    """It gives no sign of life; after a while it does not count."""
    killed, last = cluster.worker(), cluster.worker()
    killed.step()
    cluster.clock.advance(SIGN_LASTS + 1)
    last.step()

    last.leave()

    assert cluster.server.nodes == set()


def test_periodic_registration(cluster: Cluster) -> None:
    """Once a period, whichever worker is first; Keycloak sees it again and again."""
    workers = [cluster.worker() for _ in range(3)]
    for _ in range(200):
        for worker in workers:
            worker.step()
        cluster.clock.advance(10)

    # 2,000 seconds, a period of 600 of which nine tenths pass between two.
    assert cluster.server.calls == ["+one"] * 4


def test_failures_wait_longer_each_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keycloak is down: up to a second, two, four, … and at once when it is back in its turn."""
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)
    worker = cluster.worker()
    cluster.server.down = True
    attempts = []
    usual = cluster.server.register_node

    def register(host: str) -> None:
        attempts.append(cluster.clock.monotonic())
        usual(host)

    cluster.server.register_node = register  # type: ignore[method-assign]
    for _ in range(200):
        cluster.clock.advance(min(worker.step(), 1.0))
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 3
    assert pauses[-1] > 30
    cluster.server.down = False
    for _ in range(400):
        cluster.clock.advance(min(worker.step(), 1.0))

    assert cluster.server.nodes == {"one"}


def test_who_comes_while_the_last_one_leaves(cluster: Cluster) -> None:
    """A worker that starts at that very moment leaves a registered host behind."""
    old, new = cluster.worker(), cluster.worker()
    old.step()
    usual = cluster.server.unregister_node

    def unregister(host: str) -> None:
        new.step()
        usual(host)

    cluster.server.unregister_node = unregister  # type: ignore[method-assign]

    old.leave()

    assert cluster.server.nodes == {"one"}


def test_keycloak_is_down_when_the_last_one_leaves(cluster: Cluster) -> None:
    """A process that ends is not held up."""
    worker = cluster.worker()
    worker.step()
    cluster.server.down = True

    worker.leave()

    assert cluster.server.nodes == {"one"}


def test_a_login_waits_for_the_registration(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is done, or for a moment; where it failed once, no later login waits again."""
    monkeypatch.setattr(registrar, "REGISTRATION_PATIENCE", 30.0)
    worker = cluster.worker()
    threading.Timer(0.1, worker.step).start()
    began = time.monotonic()
    worker.before_login()
    assert cluster.server.nodes == {"one"}
    assert 0.09 < time.monotonic() - began < 30

    monkeypatch.setattr(registrar, "REGISTRATION_PATIENCE", 0.3)
    cluster.server.down = True
    failing = cluster.worker("two")
    failing.step()
    began = time.monotonic()
    failing.before_login()
    assert time.monotonic() - began >= 0.29
    monkeypatch.setattr(registrar, "REGISTRATION_PATIENCE", 30.0)
    began = time.monotonic()
    failing.before_login()
    assert time.monotonic() - began < 30


def test_what_nobody_thought_of_ends_no_thread(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step never raises: the host would be forgotten, and nobody would know why."""
    worker = cluster.worker()

    def fails(host: str) -> None:
        raise ValueError("a record that nobody can read")

    with monkeypatch.context() as patch:
        patch.setattr(cluster.server, "register_node", fails)
        assert worker.step() > 0
    cluster.clock.advance(60)
    worker.step()

    assert cluster.server.nodes == {"one"}


def test_who_registers_a_host_by_hand_is_written_down(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the audit trail, as what an operator did at a shell."""
    caplog.set_level(logging.INFO, "flask_clustertoken.audit")
    monkeypatch.setattr(Hosts, "add", lambda *_: None)
    monkeypatch.setattr(Hosts, "remove", lambda *_: None)
    runner = make_app().test_cli_runner()
    for word in ("add", "remove"):
        done = runner.invoke(args=["tokens", "keycloak", "nodes", word, "web1.example.org"])
        assert done.exit_code == 0, done.output
    lines = [
        json.loads(one.getMessage())
        for one in caplog.records
        if one.name == "flask_clustertoken.audit"
    ]
    assert [(one["event"], one["detail"], one["by"]) for one in lines] == [
        ("keycloak_node_added", "web1.example.org", "command"),
        ("keycloak_node_removed", "web1.example.org", "command"),
    ]


def test_a_host_whose_worker_had_no_thread_is_registered_later(cluster: Cluster) -> None:
    """With one of the next steps; and no login waits for it meanwhile."""
    _, hosts = cluster.hosts()
    options = KeycloakOptions(
        "demo", "app", "http://k", node_host="one", register_node_at_startup=True
    )
    server: Any = cluster.server
    registration = NodeRegistration(cluster.authority, options, hosts, lambda: server)
    with no_thread("clustertoken-node"):
        registration.join()
        registration.before_login()
        registration.join_late()
    assert cluster.server.calls == []
    registration.join_late()
    wait_until(lambda: cluster.server.calls == ["+one"])
    registration.leave()
