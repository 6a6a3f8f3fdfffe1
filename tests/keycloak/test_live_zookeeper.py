"""The same over ZooKeeper: what Keycloak tells one host is in force on all within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from tests.conftest import Tell
from tests.keycloak.app import configuration
from tests.keycloak.nodes import Line, Nodes
from tests.keycloak.person import Person, wait_until_due
from tests.keycloak.server import Keycloak
from tests.pace import moments
from tests.rounds import rounds
from tests.servers import running
from tests.servers.ports import spare_ports
from tests.servers.zookeeper import Ensemble
from tests.waiting import came_true

pytestmark = [pytest.mark.keycloak, pytest.mark.zookeeper, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
ROUNDS = rounds(6, 50)
JSON = {"Accept": "application/json"}
LIFE = 8


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    yield from running.started(lambda: Ensemble(3))


@pytest.fixture(scope="module", params=["session", "cookie"])
def nodes(request: pytest.FixtureRequest, server: Keycloak, ensemble: Ensemble) -> Iterator[Nodes]:
    """Three hosts that share nothing but ZooKeeper, behind one admin URL (the first host's)."""
    port = spare_ports(1, HOSTS)[0]
    server.make_client("zk", adminUrl=f"http://127.0.0.1:{port}/keycloak")
    server.change_realm(
        revokeRefreshToken=True,
        refreshTokenMaxReuse=0,
        accessTokenLifespan=LIFE,
        eventsEnabled=True,
        enabledEventTypes=["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"],
    )
    config = configuration(
        server.url,
        "zk",
        store=ensemble.url(f"/keycloak-{request.param}"),
        token_store=request.param,
    )
    with Nodes(config, port=port, hosts=HOSTS) as started:
        yield started
        assert started.exceptions() == []
    server.change_realm(revokeRefreshToken=False, accessTokenLifespan=300, eventsEnabled=False)
    server.remove_client("zk")


def is_refused(line: Line, cookie: str) -> bool:
    return line.ask("/me", Cookie=f"clustertoken={cookie}").status_code != 200


def test_within_a_second(
    server: Keycloak, nodes: Nodes, tell: Tell, request: pytest.FixtureRequest
) -> None:
    """After a session has ended, no worker accepts its login a second later; others stay."""
    lines = nodes.lines()
    # Of a person with two sessions Keycloak 26 calls us for one only, whichever it takes first.
    server.log_out("alice")
    bystander = Person()
    bystander.log_in(nodes.url(1), "bob")
    worst = 0.0
    for number in range(ROUNDS):
        person = Person()
        assert person.log_in(nodes.url(number % 3), "alice").status_code == 200
        cookie = person.cookies[HOSTS[number % 3], "/", "clustertoken"]
        assert [is_refused(line, cookie) for line in lines] == [False] * 6
        server.log_out("alice")
        began = time.monotonic()
        for line in lines:
            refuses = partial(is_refused, line, cookie)
            left = max(0.0, began + 1.0 - time.monotonic())
            in_time = came_true(refuses, left) or came_true(refuses, moments(20))
            assert in_time, f"{number}, worker {line.pid}"
        worst = max(worst, time.monotonic() - began)
        assert bystander.get(f"{nodes.url(1)}/me", headers=JSON).status_code == 200
    tell(
        f"ended at Keycloak, refused on three hosts over ZooKeeper: {request.node.callspec.id}",
        rounds=ROUNDS,
        worst_delay=f"{worst * 1000:.0f} ms",
    )


def test_many_requests_one_refresh(server: Keycloak, nodes: Nodes) -> None:
    """64 requests on three hosts with a token that is over: one refresh, nobody is thrown out."""
    person = Person()
    server.change_realm(accessTokenLifespan=LIFE)
    person.log_in(nodes.url(), "alice")
    first = person.get(f"{nodes.url()}/token").json()["token"]
    # The next one lives for long: however slow this machine is, one refresh is enough.
    server.change_realm(accessTokenLifespan=300)
    wait_until_due(first)
    carried = "; ".join(
        f"{name}={value}"
        for (_, _, name), value in person.cookies.items()
        if name.startswith("clustertoken")
    )
    server.admin("DELETE", "/events")

    def ask(number: int) -> requests.Response:
        headers = {**JSON, "Cookie": carried}
        return requests.get(f"{nodes.url(number % 3)}/token", headers=headers, timeout=30)

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(64)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["token"] for answer in answers}) == 1
    events = server.admin("GET", "/events?client=zk&max=100").json()
    assert [one["type"] for one in events] == ["REFRESH_TOKEN"]
