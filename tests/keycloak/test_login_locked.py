"""Whoever is locked is told so behind Keycloak's login page."""

from __future__ import annotations

from flask import Flask
from joserfc.jwk import RSAKey

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels
from tests.keycloak.flow import HTML, Flow


def test_whoever_is_locked_is_told_so(app: Flask, flow: Flow) -> None:
    """403 with the lock's message, once Keycloak has vouched for who it is; nothing is kept."""
    locking = state_of(app).authority.locking
    locking.lock(subject="alice", message="Please call the office <4711>.")

    back = flow.come_back()

    assert back.status_code == 403
    assert "Please call the office &lt;4711&gt;." in back.text
    assert "ended while" not in back.text
    assert not flow.logged_in
    kept = app.extensions["keycloak"].keys.session(labels.sid_label(flow.issuer.issuer, "sid-1"))
    assert state_of(app).authority.store.scan(kept) == []
    assert not [one for one in back.headers.getlist("Set-Cookie") if "_kc0=" in one]
    # A lock is no log-out: the session is Keycloak's, and other apps use it.
    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)

    locking.unlock(subject="alice")
    flow.begin()
    assert flow.come_back().status_code == 303
    assert flow.logged_in


def test_a_program_is_told_of_a_lock_in_json(app: Flask, flow: Flow) -> None:
    """By the names of every other refusal of a lock; without a message there is a usual one."""
    state_of(app).authority.locking.lock(everyone=True)
    query = {"code": "a-code", "state": flow.query["state"]}

    back = flow.client.get("/keycloak/callback", query_string=query)

    assert (back.status_code, back.headers["Cache-Control"]) == (403, "no-store")
    assert back.json == {
        "error": "locked",
        "message": "Access is locked at the moment.",
        "reason": "locked",
    }


def test_a_lock_is_told_to_nobody_whose_login_did_not_hold(app: Flask, flow: Flow) -> None:
    """An answer that is not Keycloak's says nothing of who is locked."""
    state_of(app).authority.locking.lock(everyone=True, message="Back at eight.")
    other = RSAKey.generate_key(2048, {"kid": "one"})
    flow.issue(identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"]), key=other))

    back = flow.come_back()

    assert back.status_code == 403
    assert "Back at eight." not in back.text


def test_a_login_that_was_locked_goes_to_no_login_page(app: Flask, flow: Flow) -> None:
    """Keycloak would send the browser straight back, and so on without end: 403 on the page."""
    flow.come_back()
    state_of(app).authority.locking.lock(subject="alice", message="Please call the office.")

    page = flow.client.get("/page", headers=HTML)

    assert page.status_code == 403
    assert "Please call the office." in page.text
