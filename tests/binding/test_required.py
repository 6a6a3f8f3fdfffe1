"""Required: a login that is not bound counts for a few seconds, and is told why it does not."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_clustertoken.authority.proving import UNBOUND_GRACE
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from tests.binding.parts import LOGIN, Browser, MakeSite


@pytest.fixture
def app(make_site: MakeSite) -> Flask:
    app = make_site(DEVICE_BOUND="require", LOGIN_VIEW="login_page")

    @app.get("/login-page")
    def login_page() -> str:
        return "a form"

    return app


def test_a_page_right_behind_the_login_does_not_loop(app: Flask, clock: ManualClock) -> None:
    """It is asked for before any browser could have registered a key."""
    browser = Browser(app, clock)
    browser.log_in(register=False)
    assert browser.visit().status_code == 200
    clock.advance(UNBOUND_GRACE - 1)
    assert browser.visit().status_code == 200
    browser.register()
    clock.advance(100)
    assert browser.visit().status_code == 200


def test_a_browser_that_cannot_bind_is_told_so(app: Flask, clock: ManualClock) -> None:
    """401 with the reason, and no way to a login page: the next login would end here, too."""
    browser = Browser(app, clock)
    browser.log_in(register=False)
    clock.advance(UNBOUND_GRACE)

    response = browser.visit()
    assert response.json is not None
    assert (response.status_code, response.json["reason"]) == (401, "unbound")
    page = browser.visit(headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})
    assert (page.status_code, "Location" in page.headers) == (401, False)
    assert "bound to your device" in page.text


def test_whoever_lost_the_key_is_led_to_the_login_page(app: Flask, clock: ManualClock) -> None:
    browser = Browser(app, clock)
    browser.log_in()
    clock.advance(400)
    browser.session = None
    page = browser.visit(headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})
    assert page.status_code == 302
    assert page.headers["Location"].startswith("/login-page")


def test_what_is_told_costs_no_login(app: Flask, clock: ManualClock) -> None:
    """Who is refused may log in again at once, and that login is offered a key."""
    browser = Browser(app, clock)
    browser.log_in(register=False)
    clock.advance(60)
    assert browser.visit().status_code == 401
    browser.log_in()
    clock.advance(60)
    assert browser.visit().status_code == 200
    if state_of(app).authority.records_logins:
        assert [one.bound for one in state_of(app).authority.tokens_of("alice")] == [True]


def test_everywhere_with_a_login_that_is_not_bound_ends_it_alone(
    app: Flask, clock: ManualClock
) -> None:
    """It may be a copy of one that was about to be bound."""
    browser, another = Browser(app, clock), Browser(app, clock)
    browser.log_in(register=False)
    another.log_in()
    copy = browser.copy(LOGIN)
    clock.advance(UNBOUND_GRACE)

    answer = browser.visit("/everywhere?all", method="POST")

    assert answer.status_code == 403
    assert answer.json is not None
    assert "This login alone was ended" in answer.json["message"]
    assert not browser.has(LOGIN)
    browser.cookies = copy
    refused = browser.visit()
    assert refused.json is not None
    assert (refused.status_code, refused.json["reason"]) == (401, "revoked")
    assert another.visit().status_code == 200


def test_api_tokens_are_not_concerned(app: Flask, clock: ManualClock) -> None:
    issued = state_of(app).authority.issue_api_token("alice", "a robot")
    clock.advance(60)
    browser = Browser(app, clock)
    headers = {"Authorization": f"Bearer {issued.text}"}
    assert browser.send("/me", headers=headers).status_code == 200


def test_one_view_may_need_it_where_others_do_not(make_site: MakeSite, clock: ManualClock) -> None:
    """token_policy(bound=True), token_required(bound=True): for administrators first."""
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in(register=False)
    assert browser.visit("/bound").status_code == 200
    clock.advance(UNBOUND_GRACE)

    response = browser.visit("/bound")
    assert response.json is not None
    assert (response.status_code, response.json["reason"]) == (401, "unbound")
    assert browser.visit("/bound-if-any").text == "nobody"
    assert browser.visit("/me").status_code == 200

    browser.log_in()
    clock.advance(60)
    assert browser.visit("/bound").status_code == 200
    assert browser.visit("/bound-if-any").text == "alice"


def test_a_refusal_keeps_the_cookie(app: Flask, clock: ManualClock) -> None:
    browser = Browser(app, clock)
    browser.log_in(register=False)
    clock.advance(60)
    assert "Set-Cookie" not in browser.visit().headers
    assert browser.has(LOGIN)
