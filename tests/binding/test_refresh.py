"""Refresh: a new bound cookie for a signature by the key, and for nothing else."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from flask import Flask

from flask_clustertoken import require_token
from flask_clustertoken.authority.proving import CHALLENGE_LIFE
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from tests.binding.parts import (
    BOUND,
    CHALLENGE,
    LOGIN,
    Browser,
    MakeSite,
    forged,
    new_key,
    proof,
    spelled,
    token_of,
)
from tests.extension.parts import watch


@pytest.fixture
def app(make_site: MakeSite) -> Flask:
    return make_site()


@pytest.fixture
def browser(app: Flask, clock: ManualClock) -> Browser:
    """Logged in, bound, and used once."""
    made = Browser(app, clock)
    made.log_in()
    made.visit()
    return made


def answered(browser: Browser, said: str, session: str | None = None) -> int:
    """The status for a refresh that brings the proof *said*."""
    assert browser.session is not None
    name = session or browser.session["session_identifier"]
    return browser.send_proof("/dbsc/refresh", said, name).status_code


def test_a_login_goes_on_for_as_long_as_its_browser_signs(
    browser: Browser, clock: ManualClock
) -> None:
    for _ in range(40):
        clock.advance(150)
        assert browser.visit().status_code == 200
    assert token_of(browser).bound


def test_a_refresh_may_come_early(browser: Browser) -> None:
    """Browsers ask ahead of time, beside a page's requests: the cookie of before stays good."""
    before = browser.has(BOUND)
    assert browser.refresh().status_code == 200
    browser.cookies[BOUND] = (before, float("inf"))
    assert browser.visit().status_code == 200


def test_a_refresh_writes_nothing(make_site: MakeSite, clock: ManualClock) -> None:
    """10⁵ browsers would write 300 times a second."""
    app = make_site()
    watched = watch(app)
    browser = Browser(app, clock)
    browser.log_in()
    browser.visit()
    clock.advance(200)
    browser.visit()
    before = watched.calls.copy()
    for _ in range(10):
        assert browser.refresh().status_code == 200
        assert browser.visit().status_code == 200
    assert set(watched.calls - before) == {"position"}


def test_the_answer_has_the_session_once_more(browser: Browser, clock: ManualClock) -> None:
    clock.advance(400)
    response = browser.refresh()
    assert response.json == browser.session
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("wrong", ["rubbish", "another key", "none", "RS256", "HS256", "typ"])
def test_what_is_no_proof_renews_nothing(browser: Browser, wrong: str) -> None:
    """Nor is there another challenge for it: the browser's session ends."""
    challenge = browser.challenged()
    key = new_key() if wrong == "another key" else browser.key
    assert answered(browser, forged(wrong, challenge, key)) == 400


def test_a_key_that_comes_along_counts_for_nothing(browser: Browser) -> None:
    key = new_key()
    assert answered(browser, proof(key, browser.challenged(), brings=key)) == 400


def test_a_challenge_is_good_for_a_minute(browser: Browser, clock: ManualClock) -> None:
    """A proof that comes later is asked for once more, with a challenge of now."""
    said = proof(browser.key, browser.challenged())
    clock.advance(CHALLENGE_LIFE - 1)
    assert answered(browser, said) == 200
    clock.advance(1)
    assert answered(browser, said) == 403
    assert browser.refresh().status_code == 200


def test_a_challenge_that_nobody_gave_is_none(browser: Browser) -> None:
    assert answered(browser, proof(browser.key, "made up")) == 403


def test_a_challenge_of_a_registration_renews_nothing(app: Flask, clock: ManualClock) -> None:
    browser = Browser(app, clock)
    browser.log_in()
    challenge = browser.offered.partition('challenge="')[2].partition('"')[0]
    assert answered(browser, proof(browser.key, challenge)) == 403


def test_the_proof_of_another_session_renews_nothing(
    browser: Browser, app: Flask, clock: ManualClock
) -> None:
    other = Browser(app, clock)
    other.log_in("mallory")
    assert other.session is not None
    said = proof(other.key, other.challenged())

    assert answered(browser, said) == 400
    assert answered(browser, said, other.session["session_identifier"]) == 400
    # And one by the right key over the other one's challenge is asked for once more.
    assert answered(browser, proof(browser.key, other.challenged())) == 403


def test_a_copied_login_cookie_cannot_be_refreshed(browser: Browser, clock: ManualClock) -> None:
    """Whoever has all cookies, and not the key, gets a challenge and nothing else."""
    thief = Browser(browser.app, clock)
    thief.cookies, thief.session = browser.copy(LOGIN, BOUND), browser.session
    thief.key = new_key()
    assert thief.refresh().status_code == 400
    assert BOUND not in thief.copy(BOUND) or thief.has(BOUND) == browser.has(BOUND)


@pytest.mark.parametrize("left", [(), (LOGIN,)])
def test_the_address_is_reachable_with_every_cookie_expired(
    make_site: MakeSite, clock: ManualClock, left: tuple[str, ...]
) -> None:
    """And never led to a login page, whatever the app protects (gravitational/teleport#68354)."""
    app = make_site(LOGIN_VIEW="login_page")

    @app.get("/login-page")
    def login_page() -> str:
        return "a form"

    @app.before_request
    def everything() -> None:
        require_token()

    browser = Browser(app, clock)
    state = state_of(app)
    issued = state.authority.issue_login("alice")
    key = new_key()
    bound = state.authority.bind(issued.token, spelled(key))
    browser.key = key
    browser.session = {"session_identifier": key.thumbprint(), "refresh_url": "/dbsc/refresh"}
    browser.cookies = {LOGIN: (bound.text, float("inf"))} if left else {}

    response = browser.refresh()

    assert response.status_code == (200 if left else 401)
    assert response.content_type == "application/json"
    assert "Location" not in response.headers


def test_after_a_restart_the_long_cookie_carries_the_session(
    browser: Browser, clock: ManualClock
) -> None:
    clock.advance(3 * 86_400)
    browser.restart()
    assert browser.visit().status_code == 200


def test_a_session_of_no_name_or_another_ends(browser: Browser) -> None:
    said = proof(browser.key, browser.challenged())
    assert browser.send_proof("/dbsc/refresh", said).status_code == 400
    assert answered(browser, said, "another") == 400


def test_the_name_may_come_in_quotes(browser: Browser) -> None:
    """As the draft has it; Chromium sends it bare."""
    assert browser.session is not None
    name = browser.session["session_identifier"]
    said = proof(browser.key, browser.challenged())
    assert answered(browser, f'"{said}"', f'"{name}"') == 200


def test_an_unbound_login_is_not_refreshed(app: Flask, clock: ManualClock) -> None:
    browser = Browser(app, clock)
    browser.log_in(register=False)
    assert browser.send_proof("/dbsc/refresh", "", "anything").status_code == 400


def test_a_login_that_was_ended_is_not_refreshed(browser: Browser, clock: ManualClock) -> None:
    """The proof is right, and was asked for before: log-out wins."""
    said = proof(browser.key, browser.challenged())
    state_of(browser.app).authority.revoke_subject("alice")
    assert answered(browser, said) == 401


def test_64_refreshes_at_once(browser: Browser, clock: ManualClock) -> None:
    """Each is answered, and each answer's cookie is good beside the others'."""
    said = [proof(browser.key, browser.challenged()) for _ in range(4)]
    start, found = Barrier(64), []

    def refresh(number: int) -> None:
        mine = Browser(browser.app, clock)
        mine.cookies, mine.session, mine.key = browser.copy(LOGIN), browser.session, browser.key
        start.wait()
        found.append((answered(mine, said[number % 4]), mine.visit().status_code))

    threads = [Thread(target=refresh, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [(200, 200)] * 64


def test_a_refresh_whose_answer_is_lost_is_made_again(browser: Browser, clock: ManualClock) -> None:
    clock.advance(400)
    cookies = dict(browser.cookies)
    assert browser.refresh().status_code == 200
    browser.cookies = cookies
    assert browser.visit().status_code == 200


def test_a_browser_that_ended_its_session_logs_in_and_binds_again(
    browser: Browser, clock: ManualClock
) -> None:
    """It sends the long cookie without the short one: refused, asked to log in, and no loop."""
    clock.advance(400)
    browser.session = None
    response = browser.visit()
    assert (response.status_code, response.json) == (
        401,
        {"error": "unauthorized", "message": "You need to be logged in.", "reason": "unproven"},
    )

    browser.log_in()
    assert browser.visit().status_code == 200
    assert token_of(browser).bound


def test_while_the_store_is_in_trouble_the_session_goes_on(
    make_site: MakeSite, clock: ManualClock
) -> None:
    """503: the browser waits and tries again. Meanwhile a person is told to try again, too."""
    app = make_site()
    watched = watch(app)
    browser = Browser(app, clock)
    browser.log_in()
    browser.visit()
    clock.advance(400)
    watched.cut_off()

    response = browser.refresh()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert CHALLENGE not in response.headers
    skipped = {"Secure-Session-Skipped": f"server_error;session_identifier={browser.session!r}"}
    assert browser.send("/me", headers=skipped).status_code == 503

    watched.mend()
    assert browser.send("/me", headers=skipped).status_code == 503
    assert browser.visit().status_code == 200


def test_that_it_was_skipped_is_no_proof(browser: Browser, clock: ManualClock) -> None:
    """Anybody may write the header: it turns 401 into "try again", and lets nobody in."""
    thief = Browser(browser.app, clock)
    thief.cookies = browser.copy(LOGIN)
    for why in ("unreachable", "server_error", "quota_exceeded", "granted"):
        response = thief.send("/me", headers={"Secure-Session-Skipped": why})
        assert response.status_code == 503
        assert thief.send("/maybe", headers={"Secure-Session-Skipped": why}).text == "nobody"
    assert thief.send("/me").status_code == 401


def test_a_locked_login_is_told_that_it_is(browser: Browser, clock: ManualClock) -> None:
    """403 with the lock's reason, and not that a proof is missing."""
    clock.advance(400)
    state_of(browser.app).authority.locking.lock(subject="alice")
    assert browser.refresh().status_code == 503
    response = browser.send("/me")
    assert response.json is not None
    assert (response.status_code, response.json["reason"]) == (403, "locked")
