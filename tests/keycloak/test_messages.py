"""What Keycloak's addresses make of what they are sent: the good, the bad and the repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_clustertoken.extension import state_of
from tests.keycloak.app import MakeApp
from tests.keycloak.issuer import Issuer
from tests.keycloak.posting import Login, post, post_token


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def apps(make_app: MakeApp) -> list[Flask]:
    """Two nodes of one realm, in one process."""
    return [make_app(), make_app()]


@pytest.fixture
def app(apps: list[Flask]) -> Flask:
    return apps[0]


def test_a_logout_by_keycloaks_session_id(
    apps: list[Flask], client: FlaskClient, issuer: Issuer
) -> None:
    """Ends the logins of that session on every node, and no other."""
    ended, other = Login(apps[0], issuer, "sid-1"), Login(apps[0], issuer, "sid-2", state="x")
    message = issuer.admin_message(adapterSessionIds=...)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert [ended.stands(app) for app in apps] == [False, False]
    assert [other.stands(app) for app in apps] == [True, True]


def test_a_logout_by_our_session_id(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """The id that we gave as ``client_session_state`` ends that one login."""
    ended = Login(app, issuer, "sid-7", state="state-7")
    other = Login(app, issuer, "sid-8", state="state-8")
    message = issuer.admin_message(adapterSessionIds=["state-7"], keycloakSessionIds=...)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert not ended.stands()
    assert other.stands()


def test_a_logout_that_arrives_before_its_login(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """It wins all the same: a label covers what is issued later."""
    from flask_clustertoken.errors import RevokedMeanwhile

    assert post(client, "k_logout", issuer.sign(issuer.admin_message())) == 200

    with pytest.raises(RevokedMeanwhile):
        Login(app, issuer, "sid-1")


def test_a_logout_of_everybody(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """Without ids it ends every login; whoever logs in afterwards is in."""
    before = [Login(app, issuer, f"sid-{one}", state=f"s{one}") for one in range(3)]
    message = issuer.admin_message(
        adapterSessionIds=..., keycloakSessionIds=..., notBefore=int(time.time())
    )

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert not any(one.stands() for one in before)
    assert Login(app, issuer, "sid-9", state="s9").stands()
    assert app.extensions["keycloak"].not_before.stored().assigned == message["notBefore"]


def test_a_logout_of_everybody_lowers_nothing(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """A logout-all that names an earlier time than a push leaves that one as it is."""
    pushed = int(time.time()) - 5
    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=pushed)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200
    login = Login(app, issuer, "sid-1")
    message = issuer.admin_message(adapterSessionIds=..., keycloakSessionIds=..., notBefore=7)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    times = app.extensions["keycloak"].not_before.stored()
    assert (times.assigned, times.floor) == (pushed, pushed)
    assert not login.stands()


def test_pushes_at_the_same_moment(
    apps: list[Flask], issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes are told at once: whoever comes second goes by what the first one wrote."""
    now = int(time.time())
    mine, theirs = (app.extensions["keycloak"].not_before for app in apps)
    usual = mine.stored

    def stored() -> Any:
        found = usual()
        monkeypatch.setattr(mine, "stored", usual)
        theirs.push(now - 10.0, [], "theirs")
        return found

    monkeypatch.setattr(mine, "stored", stored)
    mine.push(now - 100.0, [], "mine")

    assert usual().floor == now - 10
    assert usual().assigned == now - 100
    assert usual().number == 2


def test_the_same_push_at_two_nodes(apps: list[Flask], issuer: Issuer) -> None:
    """Keycloak tells one host after the other, each by a message of its own: the second ends no
    login that was made in between, nor does a lower one between them."""
    now = int(time.time())
    for app, value in ((apps[0], now), (apps[1], now), (apps[0], 0), (apps[1], now)):
        message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=value)
        assert post(app.test_client(), "k_push_not_before", issuer.sign(message)) == 200
        if app is apps[0] and value:
            login = Login(apps[0], issuer, "sid-1")

    assert [login.stands(app) for app in apps] == [True, True]


def test_a_not_before_of_an_older_version(app: Flask) -> None:
    """It stored a number alone."""
    not_before = app.extensions["keycloak"].not_before
    key = not_before._keys.not_before
    state_of(app).authority.store.put(key, b"1700000000.0", None)

    assert not_before.stored().for_bearers == 1_700_000_000
    not_before.push(0.0, [], "lower")
    assert not_before.stored().for_bearers == 1_700_000_000


def test_pushing_a_not_before(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """A later one ends every login; a lower one brings nothing back and lowers the bar for
    logins to come."""
    before = Login(apps[0], issuer, "sid-1")
    now = int(time.time())
    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=now)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200
    assert [before.stands(app) for app in apps] == [False, False]
    after = Login(apps[0], issuer, "sid-2", state="s2")

    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=0)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200

    assert not before.stands()
    assert after.stands()
    assert apps[1].extensions["keycloak"].not_before.stored().assigned == 0


def test_an_availability_test_does_nothing(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """It is answered, and ends no login."""
    login = Login(app, issuer, "sid-1")

    message = issuer.admin_message("TEST_AVAILABILITY")

    assert post(client, "k_test_available", issuer.sign(message)) == 200
    assert login.stands()


def test_unknown_sessions_are_a_success(client: FlaskClient, issuer: Issuer) -> None:
    """A logout of sessions that nobody has here is answered by 200."""
    ids = {"adapterSessionIds": ["nobody"], "keycloakSessionIds": []}

    assert post(client, "k_logout", issuer.sign(issuer.admin_message(**ids))) == 200


def test_a_logout_of_many_sessions(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """More sessions than fit into one transaction, on every node."""
    sids = [f"a-session-{number}" for number in range(450)]
    first, last = Login(apps[0], issuer, sids[0]), Login(apps[0], issuer, sids[-1], state="x")
    message = issuer.admin_message(keycloakSessionIds=sids)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert [first.stands(app) for app in apps] == [False, False]
    assert [last.stands(app) for app in apps] == [False, False]


def test_a_logout_token_by_session(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """``sid`` ends that session's logins alone, whatever ``sub`` says besides."""
    ended, other = Login(apps[0], issuer, "sid-1"), Login(apps[0], issuer, "sid-2", state="x")

    answer = post_token(client, issuer.sign(issuer.logout_token(), typ="logout+jwt"))

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert [ended.stands(app) for app in apps] == [False, False]
    assert other.stands()


def test_a_logout_token_by_subject(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """``sub`` alone ends every login of the person, and the person may log in again."""
    ended = [Login(app, issuer, f"sid-{one}", state=f"s{one}") for one in range(2)]
    other = Login(app, issuer, "sid-b", "bob", "sb")

    answer = post_token(client, issuer.sign(issuer.logout_token(sid=...)))

    assert answer.status_code == 200
    assert not any(one.stands() for one in ended)
    assert other.stands()
    assert Login(app, issuer, "sid-3", state="s3").stands()
