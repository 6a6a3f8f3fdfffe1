"""The provider's tokens: refreshed once, and never brought back after a logout."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak import KeycloakUnavailable, NoProviderTokens, SessionEnded
from flask_clustertoken.keycloak.protocol.claims import read_admin_message
from flask_clustertoken.keycloak.sessions import labels
from flask_clustertoken.keycloak.web.receiver import Receiver
from flask_clustertoken.tokens import Token
from tests.keycloak.app import Make, create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.refreshing import Refreshing

_NEW = RSAKey.generate_key(2048, {"kid": "new", "use": "sig"})


# -- refreshing ------------------------------------------------------------------------


def log_out(refreshing: Refreshing) -> None:
    """Keycloak ends the session, and tells the second node."""
    issuer = refreshing.issuer
    claims = issuer.admin_message()
    message = read_admin_message(claims, action="LOGOUT", client_id="app", now=time.time())
    state = refreshing.apps[1].extensions["keycloak"]
    receiver = Receiver(state.authority, state.options, state.keys, state.not_before)
    receiver.obey(message, issuer.sign(claims), issuer.issuer)


def test_one_refresh_for_many(refreshing: Refreshing) -> None:
    """48 threads of three nodes want a new token at once: one asks, all get the same."""
    with ThreadPoolExecutor(48) as pool:
        found = list(pool.map(lambda number: refreshing.refresh(number % 3), range(48)))

    assert refreshing.asked == 1
    assert len({one.access_token for one in found}) == 1
    assert {one.number for one in found} == {2}
    assert found[0].id_token == "id-0"


def test_a_refresh_tells_keycloak_where_we_are(refreshing: Refreshing) -> None:
    """The session's state and host go with each refresh, in both token stores."""
    refreshing.refresh()

    assert refreshing.form["client_session_state"] == "state"
    assert refreshing.form["client_session_host"]
    assert refreshing.form["grant_type"] == "refresh_token"


def test_forced_refreshes(refreshing: Refreshing) -> None:
    """Forced, a token that is good is replaced all the same."""
    first = refreshing.refresh()
    refreshing.cookie = first if refreshing.cookie is not None else None

    assert refreshing.refresh().number == 2
    assert refreshing.refresh(forced=True).number == 3
    assert refreshing.asked == 2


def test_an_old_cookie_takes_what_another_request_brought(refreshing: Refreshing) -> None:
    """A browser that missed an answer carries an old refresh token, which is never used."""
    first = refreshing.refresh()

    assert refreshing.refresh(1).access_token == first.access_token
    assert refreshing.asked == 1


def test_a_logout_before_the_answer(refreshing: Refreshing) -> None:
    """A logout that arrives while Keycloak is asked: the refresh writes nothing."""
    refreshing.before = lambda: log_out(refreshing)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_our_own_logout_before_the_answer(refreshing: Refreshing) -> None:
    """The same where the login ends in the app."""
    authority = state_of(refreshing.apps[1]).authority

    def log_out() -> None:
        refreshing.kept(1).drop(refreshing.label)
        authority.revoke_ids([refreshing.token.id])

    refreshing.before = log_out

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_two_logins_of_one_session(refreshing: Refreshing) -> None:
    """Each has tokens of its own, and takes only those away. Keycloak's logout takes both."""
    other = labels.login_label(
        (refreshing.sid, labels.session_label(refreshing.issuer.issuer, "app", "other"))
    )
    kept, store = refreshing.kept(0), state_of(refreshing.apps[0]).authority.store
    kept.keep(refreshing.label, refreshing.first)
    kept.keep(other, replace(refreshing.first, number=7))

    kept.drop(refreshing.label)

    assert kept.read(refreshing.label) is None
    assert kept.read(other).number == 7
    kept.keep(refreshing.label, refreshing.first)
    log_out(refreshing)
    assert kept.read(refreshing.label) is kept.read(other) is None
    assert store.scan(refreshing.keys().session(refreshing.sid)) == []


@pytest.mark.parametrize("what", ["all", "subject", "id", "app-label"])
def test_any_revocation_before_the_answer(refreshing: Refreshing, what: str) -> None:
    """Whatever ends the login while Keycloak is asked: nothing is handed out, nothing stays."""
    authority = state_of(refreshing.apps[1]).authority
    end: dict[str, Callable[[], object]] = {
        "all": authority.revoke_all,
        "subject": lambda: authority.revoke_subject("alice"),
        "id": lambda: authority.revoke_ids([refreshing.token.id]),
        "app-label": lambda: authority.revoke_labels([refreshing.sid]),
    }

    def revoke() -> None:
        end[what]()

    refreshing.before = revoke

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_a_refresh_within_a_logout(
    issuer: Issuer, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins after the logout took its tokens and before the store knows: nothing outlives."""
    app = create_app(config(issuer.url, store="cookie"))
    refreshing = Refreshing([app], issuer)
    authority = state_of(app).authority
    client = app.test_client()
    text = authority.issue_login("alice", labels=refreshing.token.labels).text
    client.set_cookie("clustertoken", text)
    usual = authority.end

    def end(token: Token) -> Any:
        refreshing.refresh()
        return usual(token)

    monkeypatch.setattr(authority, "end", end)

    assert client.post("/logout").status_code == 200

    assert refreshing.asked == 1
    assert refreshing.kept(0).read(refreshing.label) is None
    authority.close()


def test_a_login_that_has_ended_refreshes_nothing(refreshing: Refreshing) -> None:
    """A logout that came before the refresh began: Keycloak is not even asked."""
    state_of(refreshing.apps[1]).authority.revoke_labels([refreshing.sid])

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.asked == 0


def test_invalid_grant(refreshing: Refreshing) -> None:
    """Keycloak does not know the session any more."""
    refreshing.valid = "another"

    with pytest.raises(SessionEnded):
        refreshing.refresh()


def test_a_failure_lets_go_of_the_lock(refreshing: Refreshing) -> None:
    """After Keycloak was silent the next request tries again at once."""
    usual = refreshing.issuer.token
    refreshing.issuer.token = lambda request: Response("", 502)
    with pytest.raises(KeycloakUnavailable):
        refreshing.refresh()
    refreshing.issuer.token = usual

    assert refreshing.refresh(1).number == 2


def test_a_forged_answer_is_not_believed(refreshing: Refreshing) -> None:
    """A refreshed access token says the roles, so its signature is checked."""
    refreshing.issuer.token = lambda request: refreshing.issuer.json(
        {"access_token": "eyJ.eyJ.x", "refresh_token": "r", "expires_in": 300}
    )

    with pytest.raises(KeycloakUnavailable):
        refreshing.refresh()


def test_a_new_key_loses_no_refresh_token(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keycloak has a new key and its list cannot be had: the used-up token is not used again."""
    issuer, provider = refreshing.issuer, refreshing.provider(0)
    monkeypatch.setattr(issuer, "key", _NEW)
    usual, issuer.certs = issuer.certs, lambda request: Response("", 503)

    with pytest.raises(KeycloakUnavailable):
        refreshing.refresh()

    # Roles are still read from an access token that was verified.
    stored = refreshing.kept(0).read(refreshing.label)
    assert (stored.access_token, stored.refresh_token) == ("access-0", "refresh-1")

    issuer.listed, issuer.certs = [_NEW], usual
    provider.keys.forget()
    found = refreshing.refresh()
    assert (found.refresh_token, found.id_token) == ("refresh-2", "id-0")
    assert refreshing.asked == 2


def test_a_revocation_while_the_key_is_fetched(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept meanwhile goes too."""
    issuer = refreshing.issuer
    monkeypatch.setattr(issuer, "key", _NEW)
    issuer.listed = [_NEW]
    usual = issuer.certs

    def certs(request: Request) -> Response:
        state_of(refreshing.apps[1]).authority.revoke_all()
        return usual(request)

    issuer.certs = certs

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_keeping_the_current_login(issuer: Issuer, config: Make) -> None:
    """``logout_everywhere(keep_current=True)`` keeps Keycloak's tokens for the new login."""
    app = create_app(config(issuer.url))
    refreshing = Refreshing([app], issuer)
    client = app.test_client()
    authority = state_of(app).authority
    text = authority.issue_login("alice", labels=refreshing.token.labels).text
    client.set_cookie("clustertoken", text)
    assert client.get("/token").status_code == 200

    assert client.post("/logout-everywhere?keep=1").status_code == 200

    assert client.get("/token").status_code == 200
    assert isinstance(authority.authenticate(text), Token) is False
    authority.close()


def test_an_unreadable_entry_is_none(refreshing: Refreshing) -> None:
    """What another key sealed, or nobody, counts as not there."""
    store = state_of(refreshing.apps[0]).authority.store
    kept = refreshing.kept(0)
    key = refreshing.keys().tokens(refreshing.label)
    for junk in (b"", b"junk", secrets.token_bytes(300), b"1.0123456789ab.AAAA"):
        store.put(key, junk, None)
        assert kept.read(refreshing.label) is None


def test_done_between_the_look_and_the_lock(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node refreshes after we looked and before we have the lock: we take its result."""
    store = state_of(refreshing.apps[0]).authority.store
    usual, others = store.append, []

    def append(*given: Any) -> list[int]:
        if not others:
            others.append(refreshing.refresh(1))
        return usual(*given)

    monkeypatch.setattr(store, "append", append)

    found = refreshing.refresh(0)

    assert refreshing.asked == 1
    assert found.access_token == others[0].access_token


def test_nothing_is_written_without_the_logins_record(
    issuer: Issuer, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is gone before any revocation is known: seen in the same transaction."""
    refreshing = Refreshing([create_app(config(issuer.url))], issuer)
    store = state_of(refreshing.apps[0]).authority.store
    refreshing.before = lambda: store.delete(refreshing.token.record_key)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) == refreshing.first


def test_nothing_is_written_where_the_entry_is_gone(issuer: Issuer, config: Make) -> None:
    """Somebody took the tokens away, and nothing else: a refresh does not bring them back."""
    refreshing = Refreshing([create_app(config(issuer.url))], issuer)
    store = state_of(refreshing.apps[0]).authority.store
    key = refreshing.keys().tokens(refreshing.label)
    refreshing.before = lambda: store.delete(key)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_nothing_is_written_without_the_turn(refreshing: Refreshing) -> None:
    """A logout takes it, before any revocation is known."""
    store = state_of(refreshing.apps[0]).authority.store
    key = refreshing.keys().refreshing(refreshing.label)
    refreshing.before = lambda: store.delete(key)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    stored = refreshing.kept(0).read(refreshing.label)
    assert stored == (refreshing.first if refreshing.cookie is None else None)


def test_another_was_faster(refreshing: Refreshing) -> None:
    """Keycloak says no to a refresh token that somebody else has just used: theirs is taken."""
    newer = replace(refreshing.first, access_token="newer", access_ends=time.time() + 99, number=7)
    refreshing.valid = "another"
    kept = refreshing.kept(1)
    refreshing.refused = lambda: kept.keep(refreshing.label, newer)

    assert refreshing.refresh() == newer


def test_another_was_faster_and_the_login_has_ended(refreshing: Refreshing) -> None:
    """Theirs is handed out only while the login stands."""
    newer = replace(refreshing.first, access_ends=time.time() + 99, number=7)
    refreshing.valid = "another"

    def refused() -> None:
        refreshing.kept(1).keep(refreshing.label, newer)
        state_of(refreshing.apps[1]).authority.revoke_all()

    refreshing.refused = refused

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()


def test_what_others_brought_is_handed_out_only_while_the_login_stands(
    issuer: Issuer, config: Make
) -> None:
    """Who waited may find what is just being taken back."""
    apps = [create_app(config(issuer.url, store="cookie")) for _ in range(2)]
    refreshing = Refreshing(apps, issuer)
    newer = replace(refreshing.first, access_token="newer", access_ends=time.time() + 99, number=7)
    refreshing.kept(1).keep(refreshing.label, newer)
    assert refreshing.refresh() == newer

    state_of(apps[1]).authority.revoke_all()

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()
    for app in apps:
        state_of(app).authority.close()


def test_a_refresh_that_waits_for_a_key_is_not_handed_out(issuer: Issuer, config: Make) -> None:
    """What it keeps meanwhile has the old access token, which was not good enough before."""
    apps = [create_app(config(issuer.url, store="cookie")) for _ in range(2)]
    refreshing = Refreshing(apps, issuer)
    kept = replace(refreshing.first, access_ends=time.time() + 2, number=7)
    refreshing.kept(1).keep(refreshing.label, kept)

    found = refreshing.refresh()

    assert found.access_token != kept.access_token
    assert found.number > kept.number
    for app in apps:
        state_of(app).authority.close()


def test_tokens_that_outgrew_the_cookies_stay(issuer: Issuer, config: Make) -> None:
    """A refresh left them in the store for a while; there they stay, unless a logout came."""
    refreshing = Refreshing([create_app(config(issuer.url, store="cookie"))], issuer)
    found = refreshing.refresh()
    store, kept = state_of(refreshing.apps[0]).authority.store, refreshing.kept(0)
    key = refreshing.keys().tokens(refreshing.label)
    assert store.get(key).expires_at < time.time() + 601

    kept.keep_on(refreshing.label, found)
    assert store.get(key).expires_at > time.time() + 86_400

    kept.drop(refreshing.label)
    kept.keep_on(refreshing.label, found)
    assert kept.read(refreshing.label) is None


@pytest.mark.parametrize(("left", "asked"), [(3, 1), (20, 1), (40, 0)])
def test_the_least_time_that_a_token_lives(refreshing: Refreshing, left: float, asked: int) -> None:
    """``token-minimum-time-to-live``: one that ends sooner is refreshed before it is over."""
    kept = refreshing.kept(0)
    tokens = replace(refreshing.first, access_ends=time.time() + left)
    if refreshing.cookie is None:
        kept.keep(refreshing.label, tokens)
    else:
        refreshing.cookie = tokens

    assert refreshing.refresh(least=30.0).number == 1 + asked
    assert refreshing.asked == asked
