"""One login by the code flow in one browser, against an issuer of our own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request, Response

from tests.keycloak.issuer import Issuer

HTML = {"Accept": "text/html"}


class Flow:
    """One login in one browser."""

    def __init__(self, app: Flask, issuer: Issuer, client: FlaskClient | None = None) -> None:
        self.issuer = issuer
        self.client = client or app.test_client()
        self.query: dict[str, str] = {}
        self.form: dict[str, str] = {}

    def begin(self, target: str = "/me") -> TestResponse:
        answer = self.client.get("/keycloak/login", query_string={"next": target}, headers=HTML)
        found = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
        self.query = {name: values[0] for name, values in found.items()}
        return answer

    def issue(self, *, access: Any = None, identity: Any = None, **response: Any) -> None:
        """Say what the token endpoint shall answer."""
        issuer = self.issuer

        def answer(request: Request) -> Response:
            self.form = dict(request.form)
            self.authorization = request.headers.get("Authorization", "")
            body = {
                "access_token": access or issuer.sign(issuer.access_token()),
                "id_token": identity or issuer.sign(issuer.id_token(self.query["nonce"])),
                "refresh_token": "a-refresh-token",
                "expires_in": 300,
                "refresh_expires_in": 1800,
                "not-before-policy": 0,
                **response,
            }
            return issuer.json({name: one for name, one in body.items() if one is not ...})

        issuer.token = answer

    def come_back(self, **changes: Any) -> TestResponse:
        query = {"code": "a-code", "state": self.query.get("state", ""), **changes}
        query = {name: value for name, value in query.items() if value is not ...}
        return self.client.get("/keycloak/callback", query_string=query, headers=HTML)

    @property
    def logged_in(self) -> bool:
        return self.client.get("/me").status_code == 200
