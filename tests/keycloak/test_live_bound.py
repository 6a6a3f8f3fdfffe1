"""A login through Keycloak is bound to its browser's device like any other one."""

from __future__ import annotations

import pytest
import requests

from tests.binding.parts import CHALLENGE, REGISTRATION, new_key, parameter, proof
from tests.keycloak.app import Make
from tests.keycloak.nodes import Nodes
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1",)
LOGIN, BOUND = "clustertoken", "clustertoken-bound"
JSON = {"Accept": "application/json"}


class PersonWithAKey(Person):
    """Whose browser takes an offer to bind the login, in whichever answer it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.key = new_key()
        self.offers: list[str] = []

    def _keep(self, url: str, answer: requests.Response) -> None:
        super()._keep(url, answer)
        offered = answer.headers.get(REGISTRATION)
        if offered is not None:
            self.offers.append(offered)

    def has(self, name: str) -> str:
        return self.cookies.get((HOSTS[0], "/", name), "")

    def register(self, app: str) -> requests.Response:
        offered = self.offers[-1]
        said = proof(self.key, parameter(offered, "challenge"), brings=self.key)
        path = parameter(offered, "path")
        return self.post(app + path, headers={"Secure-Session-Response": said})

    def refresh(self, app: str, session: dict[str, str]) -> requests.Response:
        headers = {"Sec-Secure-Session-Id": session["session_identifier"]}
        asked = self.post(app + session["refresh_url"], headers=headers)
        assert asked.status_code == 403, asked.text
        said = proof(self.key, asked.headers[CHALLENGE].split('"')[1])
        return self.post(
            app + session["refresh_url"], headers={**headers, "Secure-Session-Response": said}
        )

    def copied(self, *names: str) -> Person:
        """Who has taken these cookies along."""
        thief = Person()
        thief.cookies = {key: one for key, one in self.cookies.items() if key[2] in names}
        return thief


@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_login_through_keycloak_is_bound_and_ends_there(
    server: Keycloak, config: Make, store: str
) -> None:
    """A copy of its cookies without the bound one is refused; a log-out at Keycloak ends it,
    whatever proof there is."""
    port = spare_ports(1, HOSTS)[0]
    server.make_client("bound", adminUrl=f"http://127.0.0.1:{port}/keycloak")
    server.log_out("alice")
    made = config(server.url, "bound", store, CLUSTERTOKEN_DEVICE_BOUND="offer")
    with Nodes(made, port=port, hosts=HOSTS) as nodes:
        app, person = nodes.url(), PersonWithAKey()
        assert person.log_in(app, "alice").status_code == 200
        unbound = person.has(LOGIN)
        registered = person.register(app)
        assert registered.status_code == 200, registered.text
        assert person.has(BOUND)
        assert person.has(LOGIN) != unbound
        assert person.get(app + "/me", headers=JSON).status_code == 200
        assert person.refresh(app, registered.json()).status_code == 200
        # What Keycloak gave for the login is the bound one's.
        assert person.get(app + "/token", headers=JSON).json()["token"]

        others = {name for _, _, name in person.cookies} - {BOUND}
        refused = person.copied(*others).get(app + "/me", headers=JSON)
        assert (refused.status_code, refused.json()["reason"]) == (401, "unproven")
        assert person.copied(*others, BOUND).get(app + "/me", headers=JSON).status_code == 200

        server.log_out("alice")
        lines = nodes.lines()
        cookie = f"{LOGIN}={person.has(LOGIN)}; {BOUND}={person.has(BOUND)}"
        for line in lines:
            wait_until(
                lambda line=line: line.ask("/me", Cookie=cookie).status_code == 401,  # type: ignore[misc]
                20,
            )
        assert nodes.exceptions() == []
    server.remove_client("bound")
