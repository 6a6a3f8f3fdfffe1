"""Registration: a login is bound to a key, once, and throws nobody out."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from threading import Barrier, Thread

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from flask_clustertoken.authority.proving import CHALLENGE_LIFE, OLD_LOGIN_GRACE
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.extension import state_of
from tests.binding.parts import (
    BOUND,
    LOGIN,
    REGISTRATION,
    Browser,
    MakeSite,
    forged,
    later,
    new_key,
    parameter,
    proof,
    step,
    token_of,
)


def test_a_browser_binds_its_login(make_site: MakeSite, clock: ManualClock) -> None:
    """It gets a new id, bound, and works on with it: nothing else of the login changes."""
    browser = Browser(make_site(), clock)
    browser.log_in(register=False)
    before = token_of(browser)
    clock.advance(2)

    response = browser.register()

    after = token_of(browser)
    assert response.status_code == 200
    assert after.bound
    assert not before.bound
    assert after.id != before.id
    kept = ("subject", "claims", "labels", "issued_at", "authenticated_at", "since", "epoch")
    assert [getattr(after, one) for one in kept] == [getattr(before, one) for one in kept]
    assert browser.visit().json == {"subject": "alice", "kind": "login"}


def test_what_is_said_to_the_browser(make_site: MakeSite, clock: ManualClock) -> None:
    """The attributes are those of Set-Cookie, to the letter, or the cookie would not count."""
    browser = Browser(make_site(), clock)
    login = browser.log_in(register=False)
    response = browser.register()

    assert login.headers[REGISTRATION].startswith('(ES256);path="/dbsc/register";challenge="')
    assert response.json is not None
    (credential,) = response.json["credentials"]
    (bound,) = [one for one in response.headers.getlist("Set-Cookie") if one.startswith(BOUND)]
    said = {part.strip() for part in bound.split(";")[1:]} - {"Max-Age=290"}
    assert {part.strip() for part in credential["attributes"].split(";")} == {
        one for one in said if not one.startswith("Expires")
    }
    assert (credential["type"], credential["name"]) == ("cookie", BOUND)
    assert response.json["refresh_url"] == "/dbsc/refresh"
    assert response.json["scope"] == {"include_site": False, "scope_specification": []}
    assert response.headers["Cache-Control"] == "no-store"
    assert browser.key is not None
    assert response.json["session_identifier"] == browser.key.thumbprint()


def test_nothing_is_offered_but_with_a_login(make_site: MakeSite, clock: ManualClock) -> None:
    """Offered later, whoever has a copy of the cookie would bind a key of his own."""
    browser = Browser(make_site(), clock)
    assert REGISTRATION in browser.log_in(register=False).headers
    others = [browser.visit("/me"), browser.visit("/public"), browser.visit("/me", method="POST")]
    assert not any(REGISTRATION in one.headers for one in others)
    assert REGISTRATION not in browser.visit("/everywhere", method="POST").headers


def test_the_unbound_copy_ends_with_the_first_use(make_site: MakeSite, clock: ManualClock) -> None:
    """On every node, a few seconds after: what was under way at that moment still comes through."""
    app, other = make_site("one", shared=True), make_site("two", shared=True)
    browser, thief = Browser(app, clock), Browser(other, clock)
    browser.log_in(register=False)
    thief.cookies = browser.copy(LOGIN)
    browser.register()

    assert thief.send("/me").status_code == 200  # nobody has used the pair yet
    browser.visit()
    later(clock, OLD_LOGIN_GRACE - 1, app, other)
    assert thief.send("/me").status_code == 200
    later(clock, 1, app, other)

    assert thief.send("/me").json == {
        "error": "unauthorized",
        "message": "You need to be logged in.",
        "reason": "revoked",
    }
    assert browser.visit().status_code == 200


def test_a_first_use_long_after_ends_it_at_once(make_site: MakeSite, clock: ManualClock) -> None:
    """No request of before the registration is under way any more."""
    app, other = make_site("one", shared=True), make_site("two", shared=True)
    browser, thief = Browser(app, clock), Browser(other, clock)
    browser.log_in(register=False)
    thief.cookies = browser.copy(LOGIN)
    browser.register()
    later(clock, CHALLENGE_LIFE + 1, app, other)

    assert browser.visit().status_code == 200
    assert thief.send("/me").status_code == 401


def test_a_node_that_dies_leaves_the_end_to_the_next_use(
    make_site: MakeSite, clock: ManualClock
) -> None:
    """What one process has in mind only is not what the promise hangs on."""
    app, other = make_site("one", shared=True), make_site("two", shared=True)
    browser, thief = Browser(app, clock), Browser(other, clock)
    browser.log_in(register=False)
    thief.cookies = browser.copy(LOGIN)
    browser.register()
    browser.visit()
    state_of(app).authority.proving.clear()  # … which is all that a killed process has in mind.
    later(clock, CHALLENGE_LIFE + 1, app, other)
    assert thief.send("/me").status_code == 200

    browser.app = other
    assert browser.visit().status_code == 200
    assert thief.send("/me").status_code == 401


def test_a_node_that_leaves_ends_it_before(make_site: MakeSite, clock: ManualClock) -> None:
    app, other = make_site("one", shared=True), make_site("two", shared=True)
    browser, thief = Browser(app, clock), Browser(other, clock)
    browser.log_in(register=False)
    thief.cookies = browser.copy(LOGIN)
    browser.register()
    browser.visit()
    state_of(app).authority.close()

    assert thief.send("/me").status_code == 401


def test_a_busy_page_shows_nobody_a_refusal(make_site: MakeSite, clock: ManualClock) -> None:
    """Requests that left with the old cookie arrive behind the first use of the new pair."""
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in(register=False)
    on_their_way = Browser(app, clock)
    on_their_way.cookies = browser.copy(LOGIN)
    browser.register()

    for _ in range(20):
        browser.visit()
        on_their_way.visit()
        clock.advance(OLD_LOGIN_GRACE / 25)
        step(app)

    assert {*browser.seen, *on_their_way.seen} == {200}


def test_a_lost_answer_throws_nobody_out(make_site: MakeSite, clock: ManualClock) -> None:
    """The browser goes on with what it has, unbound; it does not try again (draft: "return")."""
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in(register=False)
    cookies, offered = dict(browser.cookies), browser.offered
    assert browser.register().status_code == 200
    browser.cookies, browser.session = cookies, None

    assert browser.visit().status_code == 200
    clock.advance(3600)
    step(app)
    assert browser.visit().status_code == 200
    assert browser.register(offered).status_code == 400


def test_of_two_registrations_one_wins(make_site: MakeSite, clock: ManualClock) -> None:
    """The owner's, or a thief's who was faster than light: then the owner is out, and knows."""
    app, other = make_site("one", shared=True), make_site("two", shared=True)
    browser, second = Browser(app, clock), Browser(other, clock)
    browser.log_in(register=False)
    second.cookies, second.offered = browser.copy(LOGIN), browser.offered

    assert [browser.register().status_code, second.register().status_code] == [200, 409]
    assert browser.visit().status_code == 200
    assert not token_of(second).bound


def test_of_many_at_once_one_wins(make_site: MakeSite, clock: ManualClock) -> None:
    app = make_site()
    first = Browser(app, clock)
    first.log_in(register=False)
    rivals = []
    for _ in range(16):
        one = Browser(app, clock)
        one.cookies, one.offered = first.copy(LOGIN), first.offered
        rivals.append(one)
    start, statuses = Barrier(len(rivals)), []

    def register(one: Browser) -> None:
        start.wait()
        statuses.append(one.register().status_code)

    threads = [Thread(target=register, args=(one,)) for one in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, *[409] * 15]


def test_the_same_proof_again_binds_nothing(make_site: MakeSite, clock: ManualClock) -> None:
    browser = Browser(make_site(), clock)
    browser.log_in(register=False)
    key, offered = new_key(), browser.offered
    said = proof(key, parameter(offered, "challenge"), brings=key)
    cookies = dict(browser.cookies)
    assert browser.send_proof("/dbsc/register", said).status_code == 200

    assert browser.send_proof("/dbsc/register", said).status_code == 400  # another login now
    browser.cookies = cookies
    assert browser.send_proof("/dbsc/register", said).status_code == 409


def test_a_challenge_is_good_for_a_minute(make_site: MakeSite, clock: ManualClock) -> None:
    browser = Browser(make_site(), clock)
    browser.log_in(register=False)
    clock.advance(CHALLENGE_LIFE + 1)

    assert browser.register().status_code == 400
    assert browser.visit().status_code == 200


def test_the_note_of_a_registration_outlives_its_challenge(
    make_site: MakeSite, clock: ManualClock
) -> None:
    """On no node, whatever its clock says, a challenge is good when the note is gone."""
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in(register=False)
    id_before = token_of(browser).id
    browser.register()
    records = state_of(app).authority.store.scan("bound/")
    (note,) = list(records)

    assert note[1].expires_at is not None
    assert note[1].expires_at >= clock.time() + CHALLENGE_LIFE + 2 * SKEW
    assert id_before not in note[0]


@pytest.mark.parametrize(
    "wrong",
    ["nothing", "rubbish", "no key", "another key", "none", "RS256", "HS256", "typ", "P-384"],
)
def test_what_is_no_proof_binds_nothing(
    make_site: MakeSite, clock: ManualClock, wrong: str
) -> None:
    browser = Browser(make_site(), clock)
    browser.log_in(register=False)
    challenge = parameter(browser.offered, "challenge")

    response = browser.send_proof("/dbsc/register", forged(wrong, challenge))

    assert response.status_code == 400
    assert not token_of(browser).bound
    assert browser.visit().status_code == 200


def test_lists_in_lists_without_an_end_are_no_proof_either(
    make_site: MakeSite, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may send them, logged in or not: that is no trouble of ours, and fills no log."""
    header, _, signature = proof(new_key(), "").split(".")
    deep = urlsafe_b64encode(b"[" * 2700).decode()

    response = Browser(make_site(), clock).send_proof(
        "/dbsc/register", f"{header}.{deep}.{signature}"
    )

    assert response.status_code == 400
    assert not [one for one in caplog.records if one.exc_info]


def test_another_logins_challenge_binds_nothing(make_site: MakeSite, clock: ManualClock) -> None:
    app = make_site()
    alice, mallory = Browser(app, clock), Browser(app, clock)
    alice.log_in(register=False)
    mallory.log_in("mallory", register=False)

    assert mallory.register(alice.offered).status_code == 400
    assert not token_of(mallory).bound


def test_without_a_login_there_is_nothing_to_bind(make_site: MakeSite, clock: ManualClock) -> None:
    browser = Browser(make_site(), clock)
    browser.log_in(register=False)
    browser.cookies.clear()
    assert browser.register().status_code == 401


def test_a_login_that_was_ended_meanwhile_is_not_bound(
    make_site: MakeSite, clock: ManualClock
) -> None:
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in(register=False)
    state_of(app).authority.revoke_subject("alice")

    assert browser.register().status_code == 401


def test_what_ends_the_login_ends_the_bound_one(make_site: MakeSite, clock: ManualClock) -> None:
    """A mark of between its issue and the registration's answer covers both."""
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in()
    assert browser.visit().status_code == 200
    state_of(app).authority.not_before(clock.time() + 1)
    assert browser.visit().status_code == 401


def test_a_bound_login_is_not_bound_again(make_site: MakeSite, clock: ManualClock) -> None:
    app = make_site()
    browser = Browser(app, clock)
    browser.log_in()
    state = state_of(app)
    (_, offered) = state.middleware.gate.binder.offer({}, token_of(browser))  # type: ignore[union-attr]
    assert browser.register(offered).status_code == 409


def test_each_login_of_a_browser_is_bound_anew(make_site: MakeSite, clock: ManualClock) -> None:
    """Alice, and then Bob, in one profile: the session of before ends at its next refresh."""
    browser = Browser(make_site(), clock)
    browser.log_in("alice")
    first, first_key = browser.session, browser.key
    browser.log_in("bob")
    assert browser.visit().json == {"subject": "bob", "kind": "login"}

    second, second_key = browser.session, browser.key
    browser.session, browser.key = first, first_key
    assert browser.refresh().status_code == 400
    browser.session, browser.key = second, second_key
    assert browser.refresh().status_code == 200
    assert browser.visit().json == {"subject": "bob", "kind": "login"}


def test_the_addresses_take_posts_alone(make_site: MakeSite, clock: ManualClock) -> None:
    browser = Browser(make_site(), clock)
    assert browser.send("/dbsc/register").status_code == 405
    environ = create_environ("/dbsc/refresh", method="HEAD")
    body, status, headers = run_wsgi_app(browser.app, environ)
    assert (b"".join(body), status) == (b"", "405 Method Not Allowed")
    assert headers["Allow"] == "POST"
    assert browser.send("/dbsc/other").status_code == 404
