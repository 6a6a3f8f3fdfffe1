"""Bound logins: good with their bound cookie only, and in all else logins like others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify

from flask_clustertoken import current_token, fresh_login_required
from flask_clustertoken.authority.proving import OLD_LOGIN_GRACE
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.extension.state import own_request_token
from tests.binding.parts import BOUND, LOGIN, Browser, MakeSite, later, step, token_of
from tests.extension.parts import DAY, watch


@pytest.fixture
def app(make_site: MakeSite) -> Flask:
    return make_site()


@pytest.fixture
def browser(app: Flask, clock: ManualClock) -> Browser:
    made = Browser(app, clock)
    made.log_in()
    made.visit()
    return made


def test_a_copy_of_the_login_cookie_is_worth_nothing(browser: Browser, clock: ManualClock) -> None:
    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN)
    response = thief.send("/me")
    assert response.json is not None
    assert (response.status_code, response.json["reason"]) == (401, "unproven")
    assert thief.send("/maybe").text == "nobody"
    assert browser.visit().status_code == 200


def test_a_copy_of_both_is_worth_something_for_the_bound_lifetime(
    browser: Browser, clock: ManualClock
) -> None:
    """One host has one clock, so to the second."""
    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN, BOUND)
    clock.advance(299)
    assert thief.send("/me").status_code == 200
    clock.advance(1)
    assert thief.send("/me").status_code == 401


def test_a_browser_sends_no_cookie_that_is_over(browser: Browser, clock: ManualClock) -> None:
    """It drops its own copy a little earlier: what is on its way arrives in time."""
    clock.advance(289)
    assert browser.has(BOUND)
    clock.advance(1)
    assert not browser.has(BOUND)


def test_the_bound_cookie_of_another_login_proves_nothing(
    app: Flask, browser: Browser, clock: ManualClock
) -> None:
    """Nor does an unbound login's text in its place, or the login's own."""
    other = Browser(app, clock)
    other.log_in("mallory")
    for text in (other.has(BOUND), browser.has(LOGIN), "x", browser.has(BOUND)[:-1] + "-"):
        thief = Browser(app, clock)
        thief.cookies = browser.copy(LOGIN)
        thief.cookies[BOUND] = (text, float("inf"))
        assert thief.send("/me").status_code == 401


def test_a_bound_cookie_is_no_login(browser: Browser, clock: ManualClock) -> None:
    thief = Browser(browser.app, clock)
    thief.cookies[LOGIN] = (browser.has(BOUND), float("inf"))
    assert thief.send("/me").status_code == 401


def test_of_several_bound_cookies_one_good_one_is_enough(browser: Browser) -> None:
    """Others may come from a sibling domain, in whichever order."""
    header = f"{LOGIN}={browser.has(LOGIN)}; {BOUND}=x; {BOUND}={browser.has(BOUND)}"
    browser.cookies = {}
    assert browser.send("/me", headers={"Cookie": header}).status_code == 200


def test_it_is_refused_where_nothing_is_bound(
    make_site: MakeSite, browser: Browser, clock: ManualClock
) -> None:
    """The core knows what a bound login is: DEVICE_BOUND off, and nothing is left open."""
    one = make_site("one", shared=True)
    bound = Browser(one, clock)
    bound.log_in()
    bound.visit()

    other = make_site("other", shared=True, DEVICE_BOUND="off")
    thief = Browser(other, clock)
    thief.cookies = bound.copy(LOGIN)
    assert thief.send("/me").status_code == 401
    thief.cookies = bound.copy(LOGIN, BOUND)
    assert thief.send("/me").status_code == 200
    assert thief.send("/dbsc/refresh", method="POST").status_code == 404
    later(clock, 300, other)
    assert thief.send("/me").status_code == 401


def test_a_seen_pair_costs_no_store_and_no_signature(
    make_site: MakeSite, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_site()
    watched = watch(app)
    browser = Browser(app, clock)
    browser.log_in()
    browser.visit()
    clock.advance(OLD_LOGIN_GRACE)
    step(app)
    browser.visit()
    before = watched.calls.copy()

    def signed(*_: Any) -> Any:
        raise AssertionError("a signature was computed")

    monkeypatch.setattr("itsdangerous.Signer.get_signature", signed)
    for _ in range(5):
        assert browser.visit().status_code == 200
    assert set(watched.calls - before) == {"position"}


def test_a_renewed_copy_is_as_bound(browser: Browser, clock: ManualClock) -> None:
    before = browser.has(LOGIN)
    clock.advance(2 * DAY)
    assert browser.visit().status_code == 200
    assert browser.has(LOGIN) != before
    assert browser.visit().status_code == 200

    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN)
    assert thief.send("/me").status_code == 401
    assert token_of(browser).bound


def test_the_login_that_it_took_the_place_of_stays_ended(
    make_site: MakeSite, clock: ManualClock
) -> None:
    """Also where what remembers its end is over, and no node writes that again and again."""
    app = make_site()
    browser, thief = Browser(app, clock), Browser(app, clock)
    browser.log_in(register=False)
    thief.cookies = browser.copy(LOGIN)
    browser.register()
    browser.visit()
    clock.advance(OLD_LOGIN_GRACE)
    step(app)
    head = state_of(app).authority.store.head()

    for _ in range(12):
        clock.advance(DAY)
        assert browser.visit().status_code == 200
        assert thief.send("/me").status_code == 401
    entries = state_of(app).authority.store.read(head).entries
    assert not [one for one in entries if b'"ids"' in one.body]


def test_logging_out_ends_it_and_clears_both(browser: Browser, clock: ManualClock) -> None:
    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN, BOUND)
    browser.visit("/logout", method="POST")
    assert not browser.has(LOGIN)
    assert not browser.has(BOUND)
    assert thief.send("/me").status_code == 401
    # The browser asks once more, is told that it is over, and asks no more.
    assert browser.refresh().status_code == 401
    assert browser.session is None


def test_logging_out_without_the_proof_ends_it_too(browser: Browser, clock: ManualClock) -> None:
    """Whoever logs out must not be told so while the login goes on."""
    clock.advance(400)
    session, browser.session = browser.session, None
    assert browser.visit("/logout", method="POST").json == {"ended": True}
    browser.session = session
    assert browser.refresh().status_code == 401


def test_everywhere_without_the_proof_ends_this_login_and_says_that_it_ended_no_other(
    browser: Browser, clock: ManualClock
) -> None:
    """Whoever has a copy must not end them; whoever has not must not be told that he did."""
    another = Browser(browser.app, clock)
    another.log_in()
    clock.advance(400)
    session, browser.session = browser.session, None

    answer = browser.visit("/everywhere?all", method="POST")

    assert answer.status_code == 403
    assert answer.json is not None
    assert "This login alone was ended" in answer.json["message"]
    assert "log in again" in answer.json["message"]
    assert not browser.has(LOGIN)
    browser.session = session
    assert browser.refresh().status_code == 401
    assert another.visit().status_code == 200


def test_without_the_proof_nobody_keeps_one_and_ends_the_others(
    browser: Browser, clock: ManualClock
) -> None:
    """The login goes on: its browser may prove it with the next request."""
    another = Browser(browser.app, clock)
    another.log_in()
    clock.advance(400)
    session, browser.session = browser.session, None

    answer = browser.visit("/everywhere", method="POST")

    assert answer.status_code == 403
    assert answer.json is not None
    assert "No login was ended" in answer.json["message"]
    browser.session = session
    assert browser.visit().status_code == 200
    assert another.visit().status_code == 200


def test_logging_in_again_ends_the_one_whose_key_is_lost(
    browser: Browser, clock: ManualClock
) -> None:
    before = token_of(browser)
    clock.advance(400)
    browser.session = None
    browser.log_in()
    assert token_of(browser).id != before.id
    listed = state_of(browser.app).authority.tokens_of("alice")
    assert before.id not in [one.id for one in listed]


def test_keep_current_keeps_the_device(browser: Browser, clock: ManualClock) -> None:
    """The new token is bound to the same key, and the browser's session goes on."""
    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN, BOUND)
    before = token_of(browser)
    assert browser.visit("/everywhere", method="POST").json == {"ended": True}

    after = token_of(browser)
    assert (after.bound_key, after.id == before.id) == (before.bound_key, False)
    assert thief.send("/me").status_code == 401
    assert browser.visit().status_code == 200
    clock.advance(400)
    assert browser.visit().status_code == 200


def test_a_login_that_was_fresh_stays_as_fresh(make_site: MakeSite, clock: ManualClock) -> None:
    """By when the password was checked; registering a key checks none."""
    app = make_site()

    @app.get("/fresh")
    @fresh_login_required(100)
    def fresh() -> Any:
        return jsonify(subject=current_token.subject)

    browser = Browser(app, clock)
    browser.log_in(register=False)
    clock.advance(50)
    browser.register()
    assert browser.visit("/fresh").status_code == 200
    clock.advance(51)
    assert browser.visit("/fresh").status_code == 401
    browser.log_in()
    assert browser.visit("/fresh").status_code == 200
    assert token_of(browser).bound


def test_no_login_lives_longer_for_being_bound(make_site: MakeSite, clock: ManualClock) -> None:
    """The absolute lifetime counts from the login."""
    app = make_site(ABSOLUTE_LIFETIME=10 * DAY)
    browser = Browser(app, clock)
    browser.log_in(register=False)
    began = token_of(browser).began_at
    clock.advance(30)
    browser.register()
    assert token_of(browser).began_at == began
    for _ in range(19):
        clock.advance(DAY // 2)
        assert browser.visit().status_code == 200
    clock.advance(DAY)
    assert browser.visit().status_code == 401


def test_a_login_that_ends_with_the_browser_still_does(
    make_site: MakeSite, clock: ManualClock
) -> None:
    app = make_site()

    @app.post("/brief")
    def brief() -> str:
        return own_request_token().login("alice", remember=False).id

    browser = Browser(app, clock)
    browser.visit("/brief", method="POST")
    response = browser.register()
    (login,) = [one for one in response.headers.getlist("Set-Cookie") if f"{LOGIN}=" in one]
    assert "Max-Age" not in login


def test_several_tabs_share_both_cookies(browser: Browser, clock: ManualClock) -> None:
    """One of them refreshes; the others go on with either cookie."""
    other = Browser(browser.app, clock)
    other.cookies, other.session, other.key = dict(browser.cookies), browser.session, browser.key
    clock.advance(200)
    browser.refresh()
    for _ in range(3):
        assert browser.visit().status_code == 200
        assert other.visit().status_code == 200


def test_api_tokens_are_not_concerned(app: Flask, browser: Browser) -> None:
    issued = state_of(app).authority.issue_api_token("alice", "a robot")
    headers = {"Authorization": f"Bearer {issued.text}", "Cookie": ""}
    assert browser.send("/me", headers=headers).status_code == 200
    assert browser.send("/bound", headers=headers).status_code == 200


def test_a_stream_goes_on_past_the_bound_cookie(make_site: MakeSite, clock: ManualClock) -> None:
    """No cookie follows it there: it was proven when it began, and ends with the login."""
    app, found = make_site(), []

    @app.get("/long")
    def long() -> Any:
        request_token = own_request_token()
        assert request_token.token

        def pieces() -> Any:
            clock.advance(400)
            found.append(request_token.still())
            state_of(app).authority.revoke_subject("alice")
            found.append(request_token.still())
            yield b"end"

        return app.response_class(pieces())

    browser = Browser(app, clock)
    browser.log_in()
    assert browser.visit("/long").text == "end"
    assert found == [True, False]


def test_lists_say_what_is_bound(
    make_site: MakeSite, clock: ManualClock, request: pytest.FixtureRequest
) -> None:
    """`Token.bound`, and `current_token.bound`."""
    app = make_site()

    @app.get("/is-it-bound")
    def is_it_bound() -> Any:
        return jsonify(id=current_token.id, bound=current_token.bound)

    browser, other = Browser(app, clock), Browser(app, clock)
    browser.log_in()
    other.log_in("bob", register=False)
    bound = browser.visit("/is-it-bound").json
    assert bound["bound"] is True
    assert other.visit("/is-it-bound").json["bound"] is False
    authority = state_of(app).authority
    if authority.records_logins:
        assert [one.bound for one in authority.tokens_of("bob")] == [False]
        # (The unbound one that it took the place of may be there for some seconds more.)
        alices = [one.id for one in authority.tokens_of("alice") if one.bound]
        assert alices == [bound["id"]]
