"""What a logout token of any provider ends, on every node, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import certifi
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

from flask_clustertoken.errors import RevokedMeanwhile, StoreUnavailable
from flask_clustertoken.extension import state_of
from flask_clustertoken.extension.signals import token_revoked
from flask_clustertoken.oidc import reception
from flask_clustertoken.providers import BackChannelLogout
from tests.keycloak.issuer import Issuer
from tests.providers.app import Login, MakeApp, bare_app, post_token, provider_of


def test_a_session_ends_on_every_node(
    app: Flask, make_app: MakeApp, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """200 means that no node accepts a login of that session; others of the person go on."""
    other = make_app(state_of(app).settings.token_store)
    ended = Login(app, provider)
    kept = Login(app, provider, {"sub": "alice", "sid": "sid-2"})

    answer = post_token(other.test_client(), issuer.sign(issuer.logout_token(sub=...)))

    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert not ended.stands()
    assert not ended.stands(other)
    assert kept.stands()
    assert kept.stands(other)


def test_a_person_is_logged_out_and_may_come_back(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """A token without a session ends the logins of before it, and none that comes after."""
    before = [Login(app, provider, {"sub": "alice", "sid": sid}) for sid in ("a", "b")]
    bob = Login(app, provider, {"sub": "bob", "sid": "c"})
    text = issuer.sign(issuer.logout_token(sid=...))

    assert post_token(client, text).status_code == 200
    after = Login(app, provider, {"sub": "alice", "sid": "d"})
    assert post_token(client, text).status_code == 200  # (said again: it was done)

    assert [one.stands() for one in before] == [False, False]
    assert bob.stands()
    assert after.stands()


def test_a_session_that_is_over_makes_no_login(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """The log-out overtook the login that was just being made with it: the log-out wins."""
    assert post_token(client, issuer.sign(issuer.logout_token())).status_code == 200

    with pytest.raises(RevokedMeanwhile):
        Login(app, provider)


def test_another_subject_of_ours_is_left_alone(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """It is the provider's id that counts: who is called the same here is not meant."""
    text = state_of(app).authority.issue_login("alice").text

    assert post_token(client, issuer.sign(issuer.logout_token(sid=...))).status_code == 200

    assert state_of(app).authority.authenticate(text)


def test_a_session_that_nobody_has(client: FlaskClient, issuer: Issuer) -> None:
    """It is over already, which is a success (section 2.7)."""
    token = issuer.logout_token(sid="x" * 1024, sub="y" * 1024)

    assert post_token(client, issuer.sign(token)).status_code == 200


def test_long_names_have_labels_that_fit(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Labels stand in the cookie: a long session id is named by its digest there."""
    claims = {"sub": "ü" * 1000, "sid": "x" * 1000}
    login = Login(app, provider, claims)
    assert all(len(one) <= 300 for one in provider.labels(claims))

    assert post_token(client, issuer.sign(issuer.logout_token(**claims))).status_code == 200

    assert not login.stands()


@pytest.mark.parametrize(
    "header",
    [
        # (PingFederate names its access token manager so.)
        {"pi.atm": "1"},
        {"https://login.example/claims": {"any": [1, None]}},
        {"x5u": f"https://login.example/{'a' * 800}"},
        {"x5c": ["M" * 920]},
        {"x5c": ["M" * 2600] * 4},
    ],
    ids=["unknown", "unknown and odd", "address", "certificate", "chain"],
)
def test_a_header_that_says_more(
    app: Flask,
    client: FlaskClient,
    issuer: Issuer,
    provider: BackChannelLogout,
    header: dict[str, Any],
) -> None:
    """Certificates, and what nobody here knows, are ignored (RFC 7515, 4): the token counts."""
    login = Login(app, provider)

    assert post_token(client, issuer.sign(issuer.logout_token(), **header)).status_code == 200

    assert not login.stands()


def test_two_providers_of_one_app(issuer: Issuer, tmp_path: Any) -> None:
    """Each ends its own logins only, whatever sessions and people are called."""
    app = bare_app(f"directory://{tmp_path}/shared")
    with Issuer() as second:
        one, two = provider_of(issuer), provider_of(second, name="partner")
        one.init_app(app)
        two.init_app(app)
        client, first, other = app.test_client(), Login(app, one), Login(app, two)

        # (Both sign with the same key here: the issuer tells them apart.)
        foreign = issuer.sign(second.logout_token())
        assert post_token(client, foreign).status_code == 400
        assert post_token(client, issuer.sign(issuer.logout_token()), "partner").status_code == 400
        assert first.stands()
        assert other.stands()
        assert post_token(client, foreign, "partner").status_code == 200

        assert first.stands()
        assert not other.stands()
    state_of(app).authority.close()


def test_a_token_counts_once_in_the_cluster(
    app: Flask, make_app: MakeApp, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Sent to all nodes at once, and again: one entry of the feed; each is told 200."""
    nodes = [app, *(make_app(state_of(app).settings.token_store) for _ in range(3))]
    heard: list[int] = []

    def count(_: Any, seq: int, **__: Any) -> None:
        heard.append(seq)

    text = issuer.sign(issuer.logout_token())
    with token_revoked.connected_to(count), ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(post_token, nodes[n % 4].test_client(), text) for n in range(16)]
        assert {one.result().status_code for one in sent} == {200}

    store = state_of(app).authority.store
    assert len(set(heard)) == 1
    assert len([one for one in store.read(0).entries if one.id.startswith("oidc-")]) == 1


def test_one_id_for_two_tokens(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Another token under an id that was used is refused, and ends nothing."""
    login = Login(app, provider, {"sub": "bob", "sid": "b"})
    assert post_token(client, issuer.sign(issuer.logout_token(jti="one"))).status_code == 200

    other = issuer.logout_token(jti="one", sub="bob", sid="b")

    assert post_token(client, issuer.sign(other)).status_code == 400
    assert login.stands()


def test_trouble_of_the_store_is_no_success(
    app: Flask,
    client: FlaskClient,
    issuer: Issuer,
    provider: BackChannelLogout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is recorded of a token that was not obeyed: the same one works when it comes
    again."""
    login, text = Login(app, provider), issuer.sign(issuer.logout_token())

    def down(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(state_of(app).authority.store, "append", down)
        answer = post_token(client, text)
        assert answer.status_code == 400
        assert json.loads(answer.data)["error"] == "temporarily_unavailable"
    assert login.stands()

    assert post_token(client, text).status_code == 200
    assert not login.stands()


def test_certificates_that_are_gone(issuer: Issuer, tmp_path: Path) -> None:
    """Somebody took them away since the app began: nothing can be said of the token yet."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(certifi.where(), bundle)
    app = bare_app(f"directory://{tmp_path}/shared")
    BackChannelLogout(app, issuer="https://127.0.0.1:9", client_id="app", ca_bundle=str(bundle))
    bundle.unlink()

    answer = post_token(app.test_client(), issuer.sign(issuer.logout_token()))

    assert (answer.status_code, answer.json["error"]) == (400, "temporarily_unavailable")
    state_of(app).authority.close()


def test_a_slow_provider_holds_up_no_answer(
    app: Flask,
    client: FlaskClient,
    issuer: Issuer,
    provider: BackChannelLogout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where its keys are late, the answer is given up, and what it asked for is done."""
    from tests.waiting import wait_until

    login = Login(app, provider)
    usual = issuer.certs
    released: list[bool] = []

    def late(request: Any) -> Response:
        wait_until(lambda: bool(released), 20)
        return usual(request)

    issuer.certs = late
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 0.2)

    answer = post_token(client, issuer.sign(issuer.logout_token()))

    assert answer.status_code == 400
    assert json.loads(answer.data)["error"] == "temporarily_unavailable"
    released.append(True)
    wait_until(lambda: not login.stands(), 20)


def test_a_provider_of_before_the_errata(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """One that names no end is good for some minutes after it was issued, and no longer."""
    login, now = Login(app, provider), int(time.time())
    old = issuer.logout_token(exp=..., iat=now - 700)
    assert post_token(client, issuer.sign(old)).status_code == 400
    assert login.stands()

    assert post_token(client, issuer.sign(issuer.logout_token(exp=..., iat=now))).status_code == 200
    assert not login.stands()


def test_the_example_of_the_specification(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Section 2.4's claims, with our issuer and our time: that session ends."""
    claims = {
        "iss": issuer.issuer,
        "sub": "248289761001",
        "aud": "app",
        "iat": int(time.time()),
        "exp": int(time.time()) + 120,
        "jti": "bWJq",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    login = Login(app, provider, claims)

    assert post_token(client, issuer.sign(claims, typ="logout+jwt")).status_code == 200

    assert not login.stands()
