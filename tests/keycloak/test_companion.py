"""Cookies with Keycloak's tokens: what they take, and what is left for the others."""

from __future__ import annotations

import secrets

import pytest
from flask import Flask

from tests.keycloak.app import MakeApp
from tests.keycloak.flow import HTML, Flow
from tests.keycloak.issuer import Issuer

#: What gunicorn reads of one header line, name and separators included.
LINE = 8190


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(store="cookie")


def test_the_cookies_fit_into_one_header(app: Flask, issuer: Issuer) -> None:
    """The largest tokens that go into cookies, many roles, and four logins under way."""
    worst, in_cookies = 0, set()
    for noise in range(300, 1500, 60):
        flow = Flow(app, issuer)
        flow.begin()
        roles = [secrets.token_hex(10) for _ in range(30)]
        access = issuer.access_token(
            noise=secrets.token_hex(noise), realm_access={"roles": roles}, sid=f"sid-{noise}"
        )
        identity = issuer.id_token(flow.query["nonce"], sid=f"sid-{noise}")
        flow.issue(
            access=issuer.sign(access),
            identity=issuer.sign(identity),
            refresh_token=secrets.token_urlsafe(400),
        )
        assert flow.come_back().status_code == 303
        in_cookies.add(flow.client.get_cookie("clustertoken_kc0") is not None)
        for _ in range(4):
            flow.begin("/reports?filter=" + secrets.token_urlsafe(60))
        sent = flow.client.get("/keycloak/callback?state=x&code=y", headers=HTML)
        worst = max(worst, len("Cookie: ") + len(sent.request.headers["Cookie"]))

    assert in_cookies == {True, False}
    assert worst < LINE
