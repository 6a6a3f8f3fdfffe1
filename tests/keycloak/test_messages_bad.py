"""What Keycloak's addresses refuse: every field, every signature, every size."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey

from flask_clustertoken.extension import state_of
from tests.keycloak.app import Make, MakeApp, create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.posting import ADMIN, Login, post, post_token
from tests.pace import moments


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


_OTHER = RSAKey.generate_key(2048, {"kid": "other"})
_SAME_NAME = RSAKey.generate_key(2048, {"kid": "one"})
NO_TIMES = [float("nan"), float("inf"), 10**400]


WRONG: dict[str, list[Any]] = {
    "id": [..., "", 7, None, [], "x" * 2000, "\ud800"],
    "expiration": [..., "soon", None, True, 0, -1, int(time.time()) + 10**6, [1], *NO_TIMES],
    "resource": [..., "other-app", None, 7, ["app"], ""],
    "action": [..., "TEST", None, 7, "logout", ["LOGOUT"]],
}


WRONG_LOGOUT: dict[str, list[Any]] = {
    "adapterSessionIds": ["state-1", 7, {}, [1], [None], [""], ["x" * 2000]],
    "keycloakSessionIds": ["sid-1", 7, {"sid-1": 1}, [["sid-1"]], [""], ["\ud800"]],
    "notBefore": ["now", -1, 10**12, [], True, *NO_TIMES],
}


def bad_messages() -> Iterator[tuple[str, str, Any]]:
    for name in ADMIN:
        for field, values in WRONG.items():
            yield from ((name, field, value) for value in values)
    for field, values in WRONG_LOGOUT.items():
        yield from (("k_logout", field, value) for value in values)
    for value in (..., None, "now", -1, True, 10**12, *NO_TIMES):
        yield ("k_push_not_before", "notBefore", value)


def test_every_field_of_an_admin_message(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """A message with a field that is wrong, missing or of another type is refused by 400 and
    does nothing."""
    login = Login(app, issuer, "sid-1")
    for name, field, value in bad_messages():
        message = issuer.admin_message(ADMIN[name], **{field: value})
        status = post(client, name, issuer.sign(message))
        assert status == 400, (name, field, value, status)
    assert login.stands()


@pytest.mark.parametrize(("name", "action"), list(itertools.product(ADMIN, ADMIN.values())))
def test_an_address_obeys_its_own_action(
    client: FlaskClient, issuer: Issuer, name: str, action: str
) -> None:
    """Another action's message is refused."""
    expected = 200 if ADMIN[name] == action else 400

    assert post(client, name, issuer.sign(issuer.admin_message(action))) == expected


def test_other_tokens_of_keycloak_are_no_messages(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """An access token, an ID token and a logout token are signed with the same key."""
    login = Login(app, issuer, "sid-1")
    for claims in (issuer.access_token(), issuer.id_token("n"), issuer.logout_token()):
        for name in ADMIN:
            assert post(client, name, issuer.sign(claims)) == 400
    for claims in (issuer.access_token(), issuer.id_token("n"), issuer.admin_message()):
        assert post_token(client, issuer.sign(claims)).status_code == 400
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_signatures(app: Flask, client: FlaskClient, issuer: Issuer, name: str) -> None:
    """Signed by an unknown key, by one of the same name, with a symmetric or no algorithm, or
    broken: refused."""
    login = Login(app, issuer, "sid-1")
    token = name == "backchannel-logout"
    claims = issuer.logout_token() if token else issuer.admin_message(ADMIN[name])
    good = issuer.sign(claims)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for text in (
        issuer.sign(claims, key=_OTHER),
        issuer.sign(claims, key=_SAME_NAME),
        issuer.forge_none(claims),
        issuer.forge_symmetric(claims),
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}..{signature}",
        good + ".",
        "...",
        "",
        "ÄÖÜ.é.ß",
        "x",
    ):
        if token:
            assert post_token(client, text).status_code == 400, text
        else:
            assert post(client, name, text) == 403, text
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_a_megabyte(app: Flask, client: FlaskClient, issuer: Issuer, name: str) -> None:
    """What is longer than any message is not read: 413."""
    login = Login(app, issuer, "sid-1")
    claims = issuer.admin_message("LOGOUT", junk="x" * 1_000_000)
    text = issuer.sign(claims)

    if name == "backchannel-logout":
        answer = post_token(client, text)
        assert answer.status_code == 413
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.mimetype == "text/plain"
    else:
        assert post(client, name, text) == 413
    chunked = client.post(
        f"/keycloak/{name}",
        input_stream=io.BytesIO(text.encode()),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert chunked.status_code == 413
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_only_post_and_only_the_exact_path(client: FlaskClient, issuer: Issuer, name: str) -> None:
    """Other verbs are 405, other paths 404; nothing is redirected."""
    text = issuer.sign(issuer.admin_message())
    for verb in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
        assert client.open(f"/keycloak/{name}", method=verb, data=text).status_code == 405
    for path in (f"/{name}", f"/x/keycloak/{name}", f"/keycloak/{name}/", f"/keycloak/x{name}"):
        assert client.post(path, data=text).status_code == 404


WRONG_TOKEN: dict[str, list[Any]] = {
    "iss": [..., "https://other.example/realms/demo", None, 7, ""],
    "aud": [..., "other-app", None, 7, [], ["other-app"], [7]],
    "iat": [..., "now", None, int(time.time()) + 10_000, True],
    "exp": [..., "soon", None, 0, int(time.time()) - 100, int(time.time()) + 10**6, *NO_TIMES],
    "jti": [..., "", None, 7, "x" * 2000],
    "events": [..., {}, None, [], "x", {"other": {}}]
    + [{"http://schemas.openid.net/event/backchannel-logout": one} for one in ("", None, [], 1)],
    "nonce": ["n", "", None],
    "sid": ["", 7, [], "x" * 2000, "x" * 1020, "\ud800"],
    "sub": ["", 7, [], "x" * 2000, "\ud800"],
}


def test_every_claim_of_a_logout_token(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """A logout token with a claim that is wrong, missing or of another type: 400, ``no-store``,
    and nothing happens."""
    login = Login(app, issuer, "sid-1")
    for claim, values in WRONG_TOKEN.items():
        for value in values:
            token = issuer.sign(issuer.logout_token(**{claim: value}))
            answer = post_token(client, token)
            assert answer.status_code == 400, (claim, value)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.json["error"] == "invalid_request"
    neither = issuer.sign(issuer.logout_token(sub=..., sid=...))
    assert post_token(client, neither).status_code == 400
    for typ in ("at+jwt", "secevent+jwt", "id_token"):
        answer = post_token(client, issuer.sign(issuer.logout_token(), typ=typ))
        assert answer.status_code == 400, typ
    assert login.stands()


def test_what_a_logout_token_may_hold_besides(client: FlaskClient, issuer: Issuer) -> None:
    """Several audiences, unknown claims and further events are no fault."""
    events = {"http://schemas.openid.net/event/backchannel-logout": {}, "revoke": True}
    for changes in (
        {"aud": ["other", "app"]},
        {"something": {"else": 1}},
        {"events": {**events}},
        {"sub": ...},
        {"sid": "unknown"},
    ):
        answer = post_token(client, issuer.sign(issuer.logout_token(**changes)))
        assert answer.status_code == 200, changes


def test_how_a_logout_token_is_sent(client: FlaskClient, issuer: Issuer) -> None:
    """One form field, in the body."""
    text = issuer.sign(issuer.logout_token())
    url = "/keycloak/backchannel-logout"

    assert client.post(f"{url}?logout_token={text}").status_code == 400
    assert client.post(url, json={"logout_token": text}).status_code == 400
    assert client.post(url, data=text, content_type="text/plain").status_code == 400
    twice = f"logout_token={text}&logout_token={text}"
    kind = "application/x-www-form-urlencoded"
    assert client.post(url, data=twice, content_type=kind).status_code == 400
    assert post_token(client, "a.b.c.d.e").status_code == 400


def test_keycloak_is_down_when_its_message_comes(
    app: Flask, client: FlaskClient, config: Make
) -> None:
    """Without keys nothing is believed: 503, in time, and nothing happens."""
    gone = create_app(config("http://127.0.0.1:9"))
    began = time.monotonic()

    status = post(gone.test_client(), "k_logout", "eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.e30.AA")

    assert status == 503
    assert time.monotonic() - began < 5 + moments(50)
    state_of(gone).authority.close()
