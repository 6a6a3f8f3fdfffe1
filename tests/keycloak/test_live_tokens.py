"""The provider's tokens: one refresh at a time, and what happens when Keycloak says no or nothing.

Against the real server, in both token stores, over two hosts with two workers each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.keycloak.app import configuration
from tests.keycloak.nodes import Nodes
from tests.keycloak.person import Person, wait_until_due
from tests.keycloak.server import Keycloak
from tests.pace import moments
from tests.servers.ports import spare_ports
from tests.waiting import wait_past, wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1", "127.0.0.2")
#: Seconds that an access token lives here; it is refreshed 5 seconds before its end.
LIFE = 8
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module", params=["session", "cookie"])
def nodes(
    request: pytest.FixtureRequest, server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """Two hosts, a realm whose refresh tokens are used once, and access tokens of 8 seconds."""
    port = spare_ports(1, HOSTS)[0]
    server.make_client("tokens", adminUrl=f"http://127.0.0.1:{port}/keycloak")
    server.change_realm(
        revokeRefreshToken=True,
        refreshTokenMaxReuse=0,
        accessTokenLifespan=LIFE,
        eventsEnabled=True,
        enabledEventTypes=["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"],
    )
    config = configuration(
        server.url,
        "tokens",
        store=f"directory://{tmp_path_factory.mktemp('tokens')}/shared",
        token_store=request.param,
        KEYCLOAK_TIMEOUT=2,
    )
    with Nodes(config, port=port, hosts=HOSTS) as started:
        yield started
        assert started.exceptions() == []
    server.change_realm(revokeRefreshToken=False, accessTokenLifespan=300, eventsEnabled=False)
    server.remove_client("tokens")


def refreshes(server: Keycloak) -> tuple[int, int]:
    """How many refreshes worked, and how many failed, since the last look."""
    found = server.admin("GET", "/events?client=tokens&max=1000").json()
    server.admin("DELETE", "/events")
    kinds = [one["type"] for one in found]
    return kinds.count("REFRESH_TOKEN"), kinds.count("REFRESH_TOKEN_ERROR")


def cookies(person: Person) -> str:
    return "; ".join(
        f"{name}={value}"
        for (_, _, name), value in person.cookies.items()
        if name.startswith("clustertoken")
    )


def is_up(server: Keycloak) -> bool:
    try:
        return requests.get(server.discovery, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def test_many_requests_one_refresh(server: Keycloak, nodes: Nodes) -> None:
    """64 requests at once with a token that is over: one refresh, and nobody is thrown out."""
    person = Person()
    assert person.log_in(nodes.url(), "alice").status_code == 200
    first = person.get(f"{nodes.url()}/token").json()["token"]
    refreshes(server)
    # The next one lives for long: however slow this machine is, one refresh is enough.
    server.change_realm(accessTokenLifespan=300)
    wait_until_due(first)
    carried = cookies(person)

    def ask(number: int) -> requests.Response:
        url = f"{nodes.url(number % 2)}/token"
        return requests.get(url, headers={**JSON, "Cookie": carried}, timeout=30)

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(64)))
    server.change_realm(accessTokenLifespan=LIFE)

    assert {answer.status_code for answer in answers} == {200}, nodes.log() + nodes.log(1)
    tokens = {answer.json()["token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {first}
    assert refreshes(server) == (1, 0)
    # A browser that missed every one of these answers still carries the old cookies.
    assert person.get(f"{nodes.url()}/token").status_code == 200


def test_a_valid_token_is_handed_out_as_it_is(server: Keycloak, nodes: Nodes) -> None:
    """Nothing is refreshed before it is due."""
    person = Person()
    person.log_in(nodes.url(), "alice")
    refreshes(server)

    tokens = {person.get(f"{nodes.url()}/token").json()["token"] for _ in range(3)}

    assert len(tokens) == 1
    assert refreshes(server) == (0, 0)


def test_the_refreshed_token_is_genuine(server: Keycloak, nodes: Nodes) -> None:
    """What is handed out after a refresh is accepted by Keycloak and names the same session."""
    person = Person()
    person.log_in(nodes.url(), "alice")
    wait_until_due(person.get(f"{nodes.url()}/token").json()["token"])

    token = person.get(f"{nodes.url()}/token").json()["token"]

    me = requests.get(
        f"{nodes.url()}/me", headers={**JSON, "Authorization": f"Bearer {token}"}, timeout=10
    )
    assert me.status_code == 200
    assert me.json()["kind"] == "api"
    assert me.json()["labels"][0] == person.get(f"{nodes.url()}/me").json()["labels"][0]


def test_an_expired_session_is_noticed(server: Keycloak, nodes: Nodes) -> None:
    """No call comes when a session expires: the next refresh ends the login, on every node."""
    server.change_realm(ssoSessionIdleTimeout=2, accessTokenLifespan=2)
    try:
        person = Person()
        assert person.log_in(nodes.url(), "carol").status_code == 200
        # (Keycloak forgets the session two seconds after the login.)
        wait_past(time.time() + 3)
        assert person.get(f"{nodes.url()}/me").status_code == 200

        answer = person.get(f"{nodes.url()}/token", headers=JSON)

        assert answer.status_code == 401
        assert answer.json()["reason"] == "revoked"
        for number in range(len(HOSTS)):
            headers = {**JSON, "Cookie": cookies(person)}
            again = requests.get(f"{nodes.url(number)}/me", headers=headers, timeout=10)
            assert again.status_code == 401
        # And no loop: Keycloak asks for the password, and lets in.
        server.change_realm(ssoSessionIdleTimeout=1800)
        assert person.log_in(nodes.url(), "carol").status_code == 200
    finally:
        server.change_realm(ssoSessionIdleTimeout=1800, accessTokenLifespan=LIFE)


def test_a_silent_keycloak_throws_nobody_out(server: Keycloak, nodes: Nodes) -> None:
    """Who asks for a token that is over gets a clear error in time; logins go on."""
    person = Person()
    person.log_in(nodes.url(), "alice")
    wait_until_due(person.get(f"{nodes.url()}/token").json()["token"])
    server.pause()
    try:
        began = time.monotonic()
        answer = person.get(f"{nodes.url()}/token", headers=JSON)
        took = time.monotonic() - began

        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert took < 10 + moments(50)
        assert person.get(f"{nodes.url()}/me").status_code == 200
    finally:
        server.resume()
        wait_until(lambda: is_up(server), 30)

    assert person.get(f"{nodes.url()}/me").status_code == 200


def test_logging_out_of_the_app_ends_the_session_at_keycloak(
    server: Keycloak, nodes: Nodes
) -> None:
    """``tokens.logout()`` alone ends Keycloak's session too; Keycloak calls back meanwhile."""
    person = Person()
    server.log_out("carol")
    person.log_in(nodes.url(), "carol")
    assert len(server.sessions("carol")) == 1

    assert person.post(f"{nodes.url()}/logout").status_code == 200

    wait_until(lambda: server.sessions("carol") == [], 10)
    # A copy of the cookies is worth nothing.
    assert person.get(f"{nodes.url()}/me", headers=JSON).status_code == 401


def test_logging_out_by_way_of_the_browser(server: Keycloak, nodes: Nodes) -> None:
    """RP-initiated logout: by Keycloak's page and back, without a question."""
    server.log_out("carol")
    person = Person()
    person.log_in(nodes.url(), "carol")

    answer = person.post(f"{nodes.url()}/logout-both")

    assert answer.status_code == 200
    assert answer.text == "hello"
    assert any("/protocol/openid-connect/logout" in url for url in person.visited)
    assert server.sessions("carol") == []
    assert not [name for _, _, name in person.cookies if name.startswith("clustertoken")]
