"""Log out there, be out here: on three hosts with two workers each, in both token stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Tell
from tests.keycloak.app import configuration
from tests.keycloak.ends import ALL, ONE, Ends
from tests.keycloak.nodes import Line, Nodes, unexpected
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
#: (Sixteen have every way in them.)
ROUNDS = rounds(16, 100)


#: A few of the lines by which something unexpected shows, each from another place.
UNEXPECTED = """
Traceback (most recent call last):
[ERROR] Exception on /keycloak/k_logout [POST]
flask_clustertoken.errors.StoreUnavailable: the store is gone
sqlite3.OperationalError: database is locked
a token could not be judged: KeyError
a listener to TokenRenewed failed
KeyError: 'x'
[CRITICAL] WORKER TIMEOUT (pid:7)
"""


def test_what_counts_as_an_exception() -> None:
    """Each of these lines is found in a log, and the usual ones are not."""
    expected = UNEXPECTED.strip().splitlines()

    assert unexpected(UNEXPECTED) == expected
    assert unexpected("[INFO] Booting worker with pid: 7\nregistered this host as node web1") == []


@pytest.fixture(scope="module", params=["session", "cookie"])
def nodes(
    request: pytest.FixtureRequest, server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """The app on three hosts, registered as nodes of its client."""
    port = spare_ports(1, HOSTS)[0]
    server.make_client("app", adminUrl=f"http://${{application.session.host}}:{port}/keycloak")
    server.make_client("other")
    server.change_realm(notBefore=0)
    config = configuration(
        server.url,
        "app",
        store=f"directory://{tmp_path_factory.mktemp('nodes')}/shared",
        token_store=request.param,
        options={"register-node-at-startup": True},
    )
    with Nodes(config, port=port, hosts=HOSTS) as started:
        wait_until(lambda: set(server.nodes("app")) == set(HOSTS))
        yield started
        assert started.exceptions() == []
        server.change_realm(notBefore=0)
    server.remove_client("app")
    server.remove_client("other")


@pytest.fixture(params=["admin-url", "oidc"])
def channel(request: pytest.FixtureRequest, server: Keycloak, nodes: Nodes) -> None:
    """The client is called at its admin URL, or by OpenID Connect."""
    client = server.client("app")
    url = f"{client['adminUrl']}/backchannel-logout" if request.param == "oidc" else ""
    server.change_client("app", attributes={**client["attributes"], "backchannel.logout.url": url})


def cookie_of(person: Person) -> str:
    return person.cookies["127.0.0.1", "/", "clustertoken"]


def accepted(lines: list[Line], cookie: str) -> list[int]:
    """The workers that accept *cookie*, each asked once."""
    answers = [(line, line.ask("/me", Cookie=f"clustertoken={cookie}")) for line in lines]
    assert {answer.status_code for _, answer in answers} <= {200, 401}
    return [line.pid for line, answer in answers if answer.status_code == 200]


@pytest.mark.usefixtures("channel")
def test_ended_at_keycloak_is_ended_on_every_worker(
    server: Keycloak, nodes: Nodes, tell: Tell, request: pytest.FixtureRequest
) -> None:
    """Whichever way a session ends, each worker refuses it at once; others stay logged in."""
    lines = nodes.lines()
    assert len({line.pid for line in lines}) == 6
    ends = Ends(server, hosts=len(HOSTS))
    bystander = Person()
    assert bystander.log_in(nodes.url(), "bob").status_code == 200
    seen: set[str] = set()
    for number in range(ROUNDS):
        person = Person()
        # The bystander's app keeps its login: only one in eight rounds throws everybody out.
        every = number % 8 == 7
        how = ALL[number // 8 % 2] if every else ONE[number % 4]
        assert person.log_in(nodes.url(), "alice").status_code == 200
        assert len(accepted(lines, cookie_of(person))) == 6
        getattr(ends, how)(person, "alice")
        seen.add(how)

        assert accepted(lines, cookie_of(person)) == [], f"round {number}: {how}"

        ends.after()
        if every:
            assert accepted(lines, cookie_of(bystander)) == [], f"round {number}: {how}"
            server.change_realm(notBefore=0)
            bystander = Person()
            assert bystander.log_in(nodes.url(), "bob").status_code == 200
        else:
            assert len(accepted(lines, cookie_of(bystander))) == 6, f"round {number}: {how}"
    assert seen == {*ONE, *ALL}
    kind = request.node.callspec.id
    tell(f"ended at Keycloak, asked of six workers at once: {kind}", rounds=ROUNDS, accepted=0)
