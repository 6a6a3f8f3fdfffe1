"""Registered hosts: who is called, who registers, who unregisters. Against the real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.keycloak.app import configuration
from tests.keycloak.nodes import ROOT, Line, Nodes
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.servers.ports import spare_ports
from tests.waiting import came_true, holds_for, wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def settings(
    server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[str, Any]]]:
    port = spare_ports(1, HOSTS)[0]
    server.make_client(
        "nodes",
        adminUrl=f"http://${{application.session.host}}:{port}/keycloak",
        nodeReRegistrationTimeout=-1,
    )
    yield (
        port,
        configuration(
            server.url,
            "nodes",
            store=f"directory://{tmp_path_factory.mktemp('hosts')}/shared",
            token_store="cookie",
            options={"register-node-at-startup": True, "register-node-period": 3},
        ),
    )
    server.remove_client("nodes")


@pytest.fixture(scope="module")
def hosts(settings: tuple[int, dict[str, Any]], server: Keycloak) -> Iterator[Nodes]:
    """Three hosts that register themselves, and leave nobody registered once they are ended."""
    port, config = settings
    with Nodes(config, port=port, hosts=HOSTS, more=("--access-logfile", "-")) as started:
        yield started
    gone = came_true(lambda: not server.nodes("nodes"), 10)
    assert gone, (server.nodes("nodes"), started.logs)


@pytest.fixture
def nodes(hosts: Nodes, server: Keycloak) -> Iterator[Nodes]:
    """The three hosts, each of which runs and is registered, with a log of who was called."""
    for number in range(len(HOSTS)):
        if not hosts.runs(number):
            hosts.start(number)
    wait_until(lambda: set(server.nodes("nodes")) == set(HOSTS))
    hosts.forget_logs()
    for number in range(len(HOSTS)):
        # What was called before is written down by now.
        wait_until(lambda at=number: "GET /ready?first" in ready_again(hosts, at, "first"), 5)  # type: ignore[misc]
    hosts.forget_logs()
    yield hosts
    assert hosts.exceptions() == []


def called(nodes: Nodes, name: str) -> list[str]:
    """The hosts that Keycloak has called at *name* in this test, once for each call.

    A line is written after the answer: who asks here may have to wait a moment.
    """
    return [
        host
        for number, host in enumerate(nodes.hosts)
        for line in nodes.log(number).splitlines()
        if f"POST /keycloak/{name} " in line
    ]


@pytest.mark.parametrize("name", ["k_logout", "backchannel-logout"])
def test_only_the_sessions_host_is_called(server: Keycloak, nodes: Nodes, name: str) -> None:
    """``${application.session.host}`` is the host where the login was made, in the admin URL as
    in the back-channel logout URL."""
    usual = server.client("nodes")["attributes"]
    if name == "backchannel-logout":
        url = f"http://${{application.session.host}}:{nodes.port}/keycloak/{name}"
        server.change_client("nodes", attributes={**usual, "backchannel.logout.url": url})
    try:
        person = Person()
        person.log_in(nodes.url(1), "alice")

        server.log_out("alice")

        assert person.get(f"{nodes.url(1)}/me", headers=JSON).status_code == 401
        for number, host in enumerate(HOSTS):
            # The log's last line is written after the answer; this one comes behind it.
            wait_until(lambda at=number: "GET /ready?last" in ready_again(nodes, at), 5)
            times = 1 if host == "127.0.0.2" else 0
            assert called(nodes, name).count(host) == times
        assert set(called(nodes, "k_logout") + called(nodes, "backchannel-logout")) == {HOSTS[1]}
    finally:
        server.change_client("nodes", attributes={**usual, "backchannel.logout.url": ""})


def ready_again(nodes: Nodes, number: int, word: str = "last") -> str:
    """The log of a host that has just been asked once more, with a *word* that is in the log."""
    requests.get(f"{nodes.url(number)}/ready?{word}", timeout=5)
    return nodes.log(number)


def test_every_host_is_tested_pushed_and_logged_out(server: Keycloak, nodes: Nodes) -> None:
    """What concerns all goes to each registered host."""
    client = server.client("nodes")["id"]

    tested = server.admin("GET", f"/clients/{client}/test-nodes-available").json()

    assert len(tested["successRequests"]) == 3
    assert "failedRequests" not in tested
    wait_until(lambda: sorted(called(nodes, "k_test_available")) == sorted(HOSTS), 5)
    server.push()
    wait_until(lambda: sorted(called(nodes, "k_push_not_before")) == sorted(HOSTS), 5)
    server.logout_all()
    wait_until(lambda: sorted(called(nodes, "k_logout")) == sorted(HOSTS), 5)


def test_a_killed_host_stays_until_it_times_out(server: Keycloak, nodes: Nodes) -> None:
    """Killed, it cannot say goodbye; Keycloak forgets it by its time-out; it comes back."""
    person = Person()
    person.log_in(nodes.url(0), "alice")
    server.change_client("nodes", nodeReRegistrationTimeout=6)
    try:
        nodes.stop(2, signal.SIGKILL)
        assert set(server.nodes("nodes")) == set(HOSTS)

        def forgotten() -> bool:
            # Keycloak looks only when it is about to call all.
            server.push()
            return set(server.nodes("nodes")) == set(HOSTS[:2])

        wait_until(forgotten, 20)
        # The logout of a session on a living host works meanwhile.
        server.log_out("alice")
        assert person.get(f"{nodes.url(0)}/me", headers=JSON).status_code == 401

        nodes.start(2)

        wait_until(lambda: set(server.nodes("nodes")) == set(HOSTS))
    finally:
        server.change_client("nodes", nodeReRegistrationTimeout=-1)


def test_a_recycled_worker_unregisters_nobody(server: Keycloak, nodes: Nodes) -> None:
    """Workers come and go; the host stays registered, and leaves with its last worker."""
    there = {line.pid for line in nodes.lines() if HOSTS[1] in line.base}

    def replaced(pid: int) -> bool:
        assert HOSTS[1] in server.nodes("nodes")
        found = Line(nodes.url(1)).pid
        if found != pid:
            there.add(found)
        return len(there) == 2

    for pid in tuple(there):
        os.kill(pid, signal.SIGTERM)
        # (The other one stays until the new one has come: else it would be the host's last.)
        there.remove(pid)
        wait_until(lambda pid=pid: replaced(pid))  # type: ignore[misc]
        holds_for(lambda: HOSTS[1] in server.nodes("nodes"), 1)

    nodes.stop(1)

    wait_until(lambda: HOSTS[1] not in server.nodes("nodes"), 10)
    assert {HOSTS[0], HOSTS[2]} <= set(server.nodes("nodes"))


def test_by_hand(server: Keycloak, nodes: Nodes, settings: tuple[int, dict[str, Any]]) -> None:
    """``flask tokens keycloak nodes add|list|remove``."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "tests.keycloak.app:create_app()",
             "tokens", "keycloak", "nodes", *words],
            cwd=ROOT,
            env={**os.environ, "TEST_APP_CONFIG": json.dumps(settings[1])},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert "by-hand.example is registered" in run("add", "By-Hand.example")
    assert "by-hand.example" in server.nodes("nodes")
    listed = run("list")
    assert [line.split()[0] for line in listed.splitlines()] == [*HOSTS, "by-hand.example"]
    assert "2 live workers" in listed
    assert "not registered any more" in run("remove", "by-hand.example")
    assert "by-hand.example" not in server.nodes("nodes")
    assert "bare host name" in run("add", "host:8000")
    assert Path(ROOT, "tests").is_dir()
