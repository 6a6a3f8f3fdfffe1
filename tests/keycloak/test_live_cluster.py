"""Log out there, be out here: on three hosts with two workers each, in both token stores."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest

from flask_clustertoken.keycloak.protocol.claims import unverified_claims
from tests.conftest import Tell
from tests.keycloak.app import configuration
from tests.keycloak.nodes import Line, Nodes, unexpected
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
ROUNDS = rounds(20, 100)


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


def make_client(server: Keycloak, name: str, port: int, channel: str) -> None:
    """A client that is called at its admin URL, or by OpenID Connect."""
    placeholder = f"http://${{application.session.host}}:{port}/keycloak"
    if channel == "admin-url":
        server.make_client(name, adminUrl=placeholder)
    else:
        url = f"{placeholder}/backchannel-logout"
        server.make_client(name, adminUrl=placeholder, attributes={"backchannel.logout.url": url})


@pytest.fixture(
    scope="module",
    params=list(itertools.product(["session", "cookie"], ["admin-url", "oidc"])),
    ids="-".join,
)
def nodes(
    request: pytest.FixtureRequest, server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """The app on three hosts, registered as nodes of its client."""
    store, channel = request.param
    port = spare_ports(1, HOSTS)[0]
    make_client(server, "app", port, channel)
    server.make_client("other")
    server.change_realm(notBefore=0)
    config = configuration(
        server.url,
        "app",
        store=f"directory://{tmp_path_factory.mktemp('nodes')}/shared",
        token_store=store,
        options={"register-node-at-startup": True},
    )
    with Nodes(config, port=port, hosts=HOSTS) as started:
        wait_until(lambda: set(server.nodes("app")) == set(HOSTS))
        yield started
        assert started.exceptions() == []
        server.change_realm(notBefore=0)
    server.remove_client("app")
    server.remove_client("other")


def cookie_of(person: Person) -> str:
    return person.cookies["127.0.0.1", "/", "clustertoken"]


def accepted(lines: list[Line], cookie: str) -> list[int]:
    """The workers that accept *cookie*, each asked once."""
    answers = [(line, line.ask("/me", Cookie=f"clustertoken={cookie}")) for line in lines]
    assert {answer.status_code for _, answer in answers} <= {200, 401}
    return [line.pid for line, answer in answers if answer.status_code == 200]


class Ends:
    """The ways in which a login of *person* is ended at Keycloak."""

    def __init__(self, server: Keycloak, nodes: Nodes) -> None:
        self.server = server
        self.nodes = nodes
        #: To be done once the round is over.
        self.after: Callable[[], None] = lambda: None

    def by_the_administrator(self, person: Person, name: str) -> None:
        self.server.log_out(name)

    def by_deleting_the_session(self, person: Person, name: str) -> None:
        for session in self.server.sessions(name):
            self.server.end_session(session["id"])

    def _at_another_app(self, person: Person) -> dict[str, str]:
        """The person's tokens at another client, by the same session."""
        endpoint = f"{self.server.issuer}/protocol/openid-connect"
        query = {
            "client_id": "other",
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": "http://127.0.0.1:1/other",
        }
        arrived = person.get(f"{endpoint}/auth?{urlencode(query)}", follow=False)
        code = arrived.headers["Location"].partition("code=")[2].partition("&")[0]
        answer = person._http.post(
            f"{endpoint}/token",
            data={"grant_type": "authorization_code", "code": code}
            | {"redirect_uri": "http://127.0.0.1:1/other"},
            auth=("other", "secret"),
            timeout=20,
        )
        return dict(answer.json())

    def by_another_app(self, person: Person, name: str) -> None:
        """The person logs out at another client of the session."""
        end = {"id_token_hint": self._at_another_app(person)["id_token"]}
        endpoint = f"{self.server.issuer}/protocol/openid-connect"
        assert person.get(f"{endpoint}/logout?{urlencode(end)}").status_code == 200

    def by_the_account_console(self, person: Person, name: str) -> None:
        """The person signs the device out on the account's page: this is what the page asks for."""
        token = self._at_another_app(person)["access_token"]
        answer = person._http.delete(
            f"{self.server.issuer}/account/sessions/{unverified_claims(token)['sid']}",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=20,
        )
        assert answer.status_code == 204, answer.text

    def by_logging_all_out(self, person: Person, name: str) -> None:
        self.server.logout_all()

    def by_pushing_not_before(self, person: Person, name: str) -> None:
        # Its unit is a second, and what is issued in that very second survives at Keycloak.
        self.server.change_realm(notBefore=int(time.time()))
        answer = self.server.push()
        assert len(answer["successRequests"]) >= len(HOSTS), answer
        # The session goes on at Keycloak. A later logout of this person would then be told to
        # us for one of the two sessions only: see test_several_sessions_of_one_person.
        self.after = lambda: self.by_deleting_the_session(person, name)


ONE = (
    "by_the_administrator",
    "by_deleting_the_session",
    "by_another_app",
    "by_the_account_console",
)
ALL = ("by_logging_all_out", "by_pushing_not_before")


def test_ended_at_keycloak_is_ended_on_every_worker(
    server: Keycloak, nodes: Nodes, tell: Tell, request: pytest.FixtureRequest
) -> None:
    """Whichever way a session ends, each worker refuses it at once; others stay logged in."""
    lines = nodes.lines()
    assert len({line.pid for line in lines}) == 6
    ends = Ends(server, nodes)
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
