"""How a login ends at Keycloak: by an administrator, by the person, elsewhere, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from flask_clustertoken.keycloak.protocol.claims import unverified_claims
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak

ONE = (
    "by_the_administrator",
    "by_deleting_the_session",
    "by_another_app",
    "by_the_account_console",
)
ALL = ("by_logging_all_out", "by_pushing_not_before")


class Ends:
    """The ways in which a login of *person* is ended at Keycloak."""

    def __init__(self, server: Keycloak, *, hosts: int = 0) -> None:
        self.server = server
        #: How many a push has to reach.
        self._hosts = hosts
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

    def by_another_app_and_back(self, person: Person, name: str) -> None:
        """The same, where that app has said where to go afterwards."""
        end = {
            "id_token_hint": self._at_another_app(person)["id_token"],
            "post_logout_redirect_uri": "http://127.0.0.1:1/other",
        }
        endpoint = f"{self.server.issuer}/protocol/openid-connect"
        left = person.get(f"{endpoint}/logout?{urlencode(end)}", follow=False)
        assert left.headers["Location"] == "http://127.0.0.1:1/other"

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
        assert len(answer.get("successRequests", ())) >= self._hosts, answer
        # (The session goes on at Keycloak.)
        self.after = lambda: self.by_deleting_the_session(person, name)
