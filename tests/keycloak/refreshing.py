"""A login whose tokens are refreshed at several nodes, against an issuer that rotates."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import ProviderTokens, labels
from tests.keycloak.issuer import Issuer


class Refreshing:
    """A login whose access token is over, and an issuer that takes each refresh token once."""

    def __init__(self, apps: list[Flask], issuer: Issuer, *, access_life: int = 300) -> None:
        self.apps = apps
        self.issuer = issuer
        self.asked = 0
        self.valid = "refresh-0"
        #: Done before a good answer, and before a refusal.
        self.before: Callable[[], object] = lambda: None
        self.refused: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._life = access_life
        issuer.token = self._answer
        authority = state_of(apps[0]).authority
        self.sid = labels.sid_label(issuer.issuer, "sid-1")
        made = (self.sid, labels.session_label(issuer.issuer, "app", "state"))
        self.label = labels.login_label(made) or ""
        self.first = ProviderTokens("access-0", "refresh-0", "id-0", 0.0, 1)
        self.token = authority.issue_login("alice", labels=made).token
        for number in range(len(apps)):
            # As in a process that has been running for a while: the keys are at hand.
            self.provider(number).keys.verify(issuer.sign(issuer.access_token()))
        self.cookie = self.first if self.kept(0).where == "cookie" else None
        if self.cookie is None:
            self.kept(0).keep(self.label, self.first)

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self.asked += 1
            if request.form["refresh_token"] != self.valid:
                self.refused()
                return self.issuer.json({"error": "invalid_grant"}, 400)
            self.valid = f"refresh-{self.asked}"
            self.form = dict(request.form)
        self.before()
        return self.issuer.json(
            {
                "access_token": self.issuer.sign(self.issuer.access_token()),
                "refresh_token": self.valid,
                "expires_in": self._life,
            }
        )

    def provider(self, number: int) -> Any:
        return self.apps[number].extensions["keycloak"].provider()

    def kept(self, number: int) -> Any:
        """Where the tokens of logins are kept."""
        return self.apps[number].extensions["keycloak"].provider_tokens

    def refresher(self, number: int) -> Any:
        return self.apps[number].extensions["keycloak"].refresher

    def keys(self) -> Any:
        return self.apps[0].extensions["keycloak"].keys

    def refresh(self, number: int = 0, **given: Any) -> ProviderTokens:
        state = self.apps[number].extensions["keycloak"]
        found: ProviderTokens = state.refresher.refresh(
            state.provider(), self.token, self.label, self.cookie, **given
        )
        return found
