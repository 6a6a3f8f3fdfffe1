"""A sibling subdomain logs nobody in: the cookie of a login under way is the host's own.

The attacker begins a login at the app, logs in at Keycloak as himself and keeps the code. Then
the login under way is planted in the victim's browser, which is sent to the callback.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from flask_clustertoken.extension import state_of
from tests.keycloak.app import create_app
from tests.keycloak.flow import HTML, Flow
from tests.keycloak.issuer import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture(params=["session", "cookie"])
def app(request: pytest.FixtureRequest, issuer: Issuer, tmp_path: Path) -> Iterator[Flask]:
    """Over HTTPS, with the default cookie."""
    made = create_app(
        {
            "PREFERRED_URL_SCHEME": "https",
            "CLUSTERTOKEN_STORE": f"directory://{tmp_path}/shared",
            "CLUSTERTOKEN_TOKEN_STORE": request.param,
            "CLUSTERTOKEN_SECRET": "a secret of the tests, long enough for anybody",
            "KEYCLOAK_OPTIONS": {
                "realm": "demo",
                "resource": "app",
                "auth-server-url": issuer.url,
                "credentials": {"secret": "secret"},
            },
        }
    )
    yield made
    state_of(made).authority.close()


def taken_from_a_sibling(name: str, path: str) -> bool:
    """Whether browsers take ``NAME=…; Domain=example.com; Path=PATH; Secure`` (rfc6265bis)."""
    return not name.lower().startswith("__host-")


def test_a_login_under_way_cannot_be_planted(app: Flask, issuer: Issuer) -> None:
    """What a sibling may set is not what the callback reads; the browser stays logged out."""
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue()
    begun = next(one for one in flow.client._cookies.values() if "kclogin" in one.key)  # type: ignore[union-attr]
    victim = app.test_client()
    bare = begun.key.removeprefix("__Host-").removeprefix("__Secure-")
    for name in (begun.key, f"__Secure-{bare}", bare):
        if taken_from_a_sibling(name, "/keycloak"):
            victim.set_cookie(name, begun.value, path="/keycloak", secure=True)

    answer = victim.get(
        "/keycloak/callback",
        query_string={"code": "the-attackers", "state": flow.query["state"]},
        headers={**HTML, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
    )

    assert answer.status_code == 400
    assert victim.get("/me").status_code == 401
    assert flow.come_back().status_code == 303
    assert flow.logged_in


def test_every_cookie_of_a_login_is_the_hosts_own(app: Flask, issuer: Issuer) -> None:
    """From the redirect to Keycloak to the tokens that stay: ``__Host-`` and the path ``/``."""
    flow = Flow(app, issuer)
    sent = flow.begin().headers.getlist("Set-Cookie")
    flow.issue()
    sent += flow.come_back().headers.getlist("Set-Cookie")
    sent += flow.client.post("/logout").headers.getlist("Set-Cookie")

    assert len(sent) >= 4
    for header in sent:
        assert header.startswith("__Host-clustertoken"), header
        attributes = [one.strip() for one in header.split(";")[1:]]
        assert {"Path=/", "Secure", "HttpOnly"} <= set(attributes), header
        assert not any(one.startswith("Domain") for one in attributes), header


def test_logins_under_way_leave_room_for_what_a_login_brings(app: Flask, issuer: Issuer) -> None:
    """They go with each request now: the oldest go where all of it would be more than is read."""
    client = app.test_client()
    for number in range(12):
        flow = Flow(app, issuer, client)
        flow.begin("/page?q=" + f"{number:04}-{number * 7919}" * 12)
    roles = [f"role-{number}-{hash(str(number))}" for number in range(70)]
    flow.issue(access=issuer.sign(issuer.access_token(realm_access={"roles": roles})))
    query = parse_qs(urlsplit(flow.come_back().headers["Location"]).query)

    answer = client.get("/me")

    assert query["q"][0].startswith("0011")
    assert answer.status_code == 200
    assert len(answer.request.headers["Cookie"]) <= 8000
    assert "kclogin" in answer.request.headers["Cookie"]
