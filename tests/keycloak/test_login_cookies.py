"""What a login leaves in the browser: many tabs, long addresses, large tokens, and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_clustertoken.extension import state_of
from tests.keycloak.app import Make, create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer


def test_many_tabs(app: Flask, issuer: Issuer) -> None:
    """Each tab has a login of its own under way; very many do not fill the browser."""
    client = app.test_client()
    tabs = [Flow(app, issuer, client) for _ in range(3)]
    for tab in tabs:
        tab.begin()
    tabs[0].issue()

    assert tabs[0].come_back().status_code == 303
    for _ in range(20):
        answer = Flow(app, issuer, client).begin()
    sent = answer.request.headers.get("Cookie", "")
    assert sent.count("_kclogin_") <= 6


def test_ten_tabs_that_a_browser_opens_again(app: Flask, issuer: Issuer) -> None:
    """Only the oldest make room; once one has come back, the others are in as well."""
    client = app.test_client()
    tabs = [Flow(app, issuer, client) for _ in range(10)]
    for tab in tabs:
        tab.begin("/page")
    statuses = []
    for tab in [tabs[5], *tabs]:
        tab.issue()
        answer = tab.come_back()
        statuses.append(answer.status_code)

    assert statuses == [303] * 11


def test_logins_under_way_beside_large_cookies(app: Flask, issuer: Issuer) -> None:
    """What servers read of all cookies together is not exceeded: the callback must come in."""
    client = app.test_client()
    client.set_cookie("clustertoken_kc0", "x" * 3600)
    client.set_cookie("clustertoken_kc1", "x" * 3500)
    for _ in range(4):
        flow = Flow(app, issuer, client)
        flow.begin("/page?q=" + "".join(chr(65 + one * 7 % 26) + str(one) for one in range(250)))
    flow.issue()

    answer = flow.come_back()

    assert answer.status_code == 303
    assert len(answer.request.headers["Cookie"]) <= 8000


@pytest.mark.parametrize("length", [100, 750, 1500, 3000, 6000])
def test_a_page_with_a_long_address(app: Flask, issuer: Issuer, length: int) -> None:
    """It is come back to while that fits into a small cookie, else the login leads to the start;
    and however many there are, they leave room for the other cookies."""
    import secrets

    client = app.test_client()
    target = "/page?q=" + secrets.token_urlsafe(length)[: length - 8]
    for _ in range(5):
        flow = Flow(app, issuer, client)
        assert flow.begin(target).status_code == 303
    flow.issue()

    answer = flow.come_back()

    assert answer.headers["Location"] == (target if length <= 800 else "/")
    assert len(answer.request.headers["Cookie"]) <= 2900


def test_large_tokens(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """A person with very many roles logs in like anybody else, in both token stores."""
    roles = [f"a-role-with-a-long-name-{number}-{hash(number * 7919)}" for number in range(600)]
    access = issuer.access_token(realm_access={"roles": roles})
    flow.issue(access=issuer.sign(access))

    answer = flow.come_back()

    assert answer.status_code == 303
    cookies = answer.headers.getlist("Set-Cookie")
    assert sum(len(one) for one in cookies) < 7500
    me = flow.client.get("/me")
    assert me.status_code == 200
    assert len(me.json["roles"]) == 600
    assert flow.client.get("/token").status_code == 200


def test_tokens_in_several_cookies(issuer: Issuer, config: Make) -> None:
    """What does not fit into one cookie takes a second one; both go with the login."""
    import secrets

    app = create_app(config(issuer.url, store="cookie"))
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue(access=issuer.sign(issuer.access_token(noise=secrets.token_hex(1020))))

    answer = flow.come_back()

    names = [one.split("=")[0] for one in answer.headers.getlist("Set-Cookie")]
    assert {"clustertoken_kc0", "clustertoken_kc1"} <= set(names)
    assert flow.client.get("/token").status_code == 200
    gone = flow.client.post("/logout").headers.getlist("Set-Cookie")
    assert {"clustertoken", "clustertoken_kc0", "clustertoken_kc1"} <= {
        one.split("=")[0] for one in gone if "Max-Age=0" in one
    }
    state_of(app).authority.close()


def test_nothing_secret_is_stored_or_shown(
    app: Flask, flow: Flow, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """Neither store nor log nor cookies hold a token of Keycloak's in clear."""
    caplog.set_level("DEBUG")
    answer = flow.come_back()
    flow.client.get("/token")

    written = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    for text in (written.decode("latin-1"), caplog.text, str(answer.headers)):
        assert "a-refresh-token" not in text
        assert "eyJhbGciOiJSUzI1NiI" not in text
