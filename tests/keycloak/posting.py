"""What Keycloak posts to an app, and a login that it may end."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels
from flask_clustertoken.tokens import Token
from tests.keycloak.issuer import Issuer

ADMIN = {
    "k_logout": "LOGOUT",
    "k_push_not_before": "PUSH_NOT_BEFORE",
    "k_test_available": "TEST_AVAILABILITY",
}


class Login:
    """A login of Keycloak's session *sid*, and whether it still stands."""

    def __init__(
        self, app: Flask, issuer: Issuer, sid: str, subject: str = "alice", state: str = "state"
    ) -> None:
        self._authority = state_of(app).authority
        made = (
            labels.sid_label(issuer.issuer, sid),
            labels.session_label(issuer.issuer, "app", state),
        )
        self.text = self._authority.issue_login(subject, labels=made).text

    def stands(self, on: Flask | None = None) -> bool:
        authority = self._authority if on is None else state_of(on).authority
        return isinstance(authority.authenticate(self.text), Token)


def post(client: FlaskClient, name: str, text: str) -> int:
    return client.post(f"/keycloak/{name}", data=text, content_type="text/plain").status_code


def post_token(client: FlaskClient, text: str) -> Any:
    return client.post("/keycloak/backchannel-logout", data={"logout_token": text})
