"""What is refused at a provider's address: every field, every signature, every size."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import KeySet, RSAKey
from werkzeug.wrappers import Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import BackChannelLogout
from tests.keycloak.issuer import Issuer
from tests.providers.app import Login, bare_app, post_token, provider_of
from tests.waiting import wait_until

EVENT = "http://schemas.openid.net/event/backchannel-logout"
NOW = int(time.time())
NO_NUMBERS: list[Any] = ["soon", None, True, [], {}, float("nan"), float("inf"), 10**400]

WRONG: dict[str, list[Any]] = {
    "iss": [..., "", None, 7, [], "https://elsewhere.example", "{issuer}/", "{issuer}x"],
    "aud": [..., "", None, 7, [], ["other"], [["app"]], {"app": 1}, "other", "app "],
    "iat": [..., NOW + 3600, *NO_NUMBERS],
    "exp": [NOW - 3600, 0, -1, NOW + 10**6, *NO_NUMBERS],
    "jti": [..., "", None, 7, [], "x" * 513, "\ud800"],
    "sid": [7, [], {}, "", "x" * 1025, "\ud800"],
    "sub": [7, [], {}, "", "x" * 1025, "\ud800"],
    "events": [..., None, 7, [], {}, [EVENT], EVENT, {EVENT: None}, {EVENT: "x"}, {EVENT: []}],
    "nonce": ["n", "", None, 7],
}


@pytest.mark.parametrize("field", WRONG)
def test_every_field(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout, field: str
) -> None:
    """Wrong, missing or of another type: 400 that says invalid_request, and nothing is ended."""
    login = Login(app, provider)
    for value in WRONG[field]:
        if isinstance(value, str):
            value = value.replace("{issuer}", issuer.issuer)
        answer = post_token(client, issuer.sign(issuer.logout_token(**{field: value})))
        assert answer.status_code == 400, (field, value)
        assert json.loads(answer.data)["error"] == "invalid_request", (field, value)
        assert answer.headers["Cache-Control"] == "no-store"
    assert login.stands()


def test_it_names_somebody(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Neither a session nor a person: 400."""
    login = Login(app, provider)
    for empty in (..., None):
        token = issuer.logout_token(sub=empty, sid=empty)
        assert post_token(client, issuer.sign(token)).status_code == 400
    assert login.stands()


@pytest.mark.parametrize("typ", ["at+jwt", "secevent+jwt", "dpop+jwt", 7, None, ["JWT"], {}])
def test_another_kind_of_token(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout, typ: Any
) -> None:
    """Its header says that it is something else."""
    login = Login(app, provider)

    assert post_token(client, issuer.sign(issuer.logout_token(), typ=typ)).status_code == 400

    assert login.stands()


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["of-ours"], "of-ours": 1},
        {"crit": ["exp"], "exp": NOW + 60},
        {"crit": ["of-ours"]},
        {"crit": []},
        {"crit": "typ"},
        {"x5c": ["M" * 2600] * 6},
    ],
    ids=["unknown", "a claim", "missing", "empty", "text", "long"],
)
def test_a_header_that_demands_more(
    app: Flask,
    client: FlaskClient,
    issuer: Issuer,
    provider: BackChannelLogout,
    header: dict[str, Any],
) -> None:
    """Critical is what nobody here knows, or nothing (RFC 7515, 4.1.11); or it has no end: 400."""
    login = Login(app, provider)

    assert post_token(client, issuer.sign(issuer.logout_token(), **header)).status_code == 400

    assert login.stands()


def test_brackets_in_a_header_have_an_end(client: FlaskClient, issuer: Issuer) -> None:
    """So many that reading them overflows Python's stack: 400 as for anything that is no token."""
    deep = b'{"alg":"RS256","kid":"one","x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    head = base64.urlsafe_b64encode(deep).rstrip(b"=").decode()
    _, body, signature = issuer.sign(issuer.logout_token()).split(".")

    answer = post_token(client, f"{head}.{body}.{signature}")

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_other_tokens_of_the_provider(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """An ID token and an access token are signed with the same key, and end nothing."""
    login = Login(app, provider)
    for claims in (issuer.access_token(aud="app"), issuer.id_token("n"), issuer.admin_message()):
        assert post_token(client, issuer.sign(claims)).status_code == 400
    assert login.stands()


_OTHER = RSAKey.generate_key(2048, {"kid": "other"})
_SAME_NAME = RSAKey.generate_key(2048, {"kid": "one"})
_NAMELESS = RSAKey.generate_key(2048)


def test_signatures(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """By an unknown key, one of the same name, a symmetric or no algorithm, or broken: 400."""
    login, claims = Login(app, provider), issuer.logout_token()
    good = issuer.sign(claims)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for text in (
        issuer.sign(claims, key=_OTHER),
        issuer.sign(claims, key=_SAME_NAME),
        issuer.sign(claims, key=_NAMELESS, kid="one"),
        issuer.forge_none(claims),
        issuer.forge_symmetric(claims),
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}..{signature}",
        f"{good}.",
        f"{good}.a",
        "....",
        "a.b.c.d.e",
        "ÄÖÜ.é.ß",
        "x",
        "",
    ):
        assert post_token(client, text).status_code == 400, text
    assert login.stands()


def test_a_provider_whose_key_has_no_name(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """It lists one key without a name: what that has signed counts, also after it was replaced,
    and nothing else."""

    def listed(key: RSAKey) -> Any:
        bare = {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}
        return lambda request: Response(json.dumps({"keys": [bare]}), mimetype="application/json")

    def post(key: RSAKey) -> int:
        text = issuer.sign(issuer.logout_token(), key=key, kid=...)
        return int(post_token(client, text).status_code)

    login = Login(app, provider)
    issuer.certs = listed(_NAMELESS)
    assert post(_OTHER) == 400
    assert login.stands()
    assert post(_NAMELESS) == 200
    assert not login.stands()

    # (Fetched again for the text that none of the known has signed.)
    issuer.certs = listed(_OTHER)
    assert post(_NAMELESS) == 200
    wait_until(lambda: post(_OTHER) == 200, 10)
    assert post(_NAMELESS) == 400


def test_a_megabyte(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """What is longer than any token is not read: 413, with a length or in chunks."""
    login = Login(app, provider)
    text = issuer.sign(issuer.logout_token(junk="x" * 1_000_000))
    answer = post_token(client, text)
    assert answer.status_code == 413
    assert answer.headers["Cache-Control"] == "no-store"
    chunked = client.post(
        "/oidc/backchannel-logout",
        input_stream=io.BytesIO(b"logout_token=" + text.encode()),
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked"},
    )
    assert chunked.status_code == 413
    assert login.stands()


def test_forms_that_are_none(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """In another content type, in the address, twice, under another name, or by GET."""
    login, text = Login(app, provider), issuer.sign(issuer.logout_token())
    path = "/oidc/backchannel-logout"
    assert client.post(path).status_code == 400
    assert client.post(path, data=text, content_type="text/plain").status_code == 400
    assert client.post(path, json={"logout_token": text}).status_code == 400
    assert client.post(f"{path}?logout_token={text}").status_code == 400
    assert client.post(path, data={"token": text}).status_code == 400
    assert client.post(path, data={"logout_token": [text, text]}).status_code == 400
    assert client.get(path, query_string={"logout_token": text}).status_code == 405
    assert login.stands()


@pytest.mark.parametrize("document", ["other", "none", "text", "list", "broken", "missing"])
def test_discovery_that_is_none(issuer: Issuer, tmp_path: Any, document: str) -> None:
    """A document that names another issuer, or is none: nobody's keys are believed."""
    app, provider = bare_app(f"directory://{tmp_path}/shared"), provider_of(issuer)
    provider.init_app(app)
    login = Login(app, provider)
    keys = KeySet([issuer.key]).as_dict(private=False)
    bodies: dict[str, Any] = {
        "other": {"issuer": f"{issuer.issuer}/", "jwks_uri": f"{issuer.url}/certs"},
        "none": {"issuer": issuer.issuer},
        "text": "hello",
        "list": [1],
        "broken": ...,
        "missing": {"issuer": issuer.issuer, "jwks_uri": "file:///etc/passwd"},
    }

    def answer(request: Any) -> Response:
        if request.path.endswith("/certs"):
            return issuer.json(keys)
        body = bodies[document]
        return Response("{", 200) if body is ... else issuer.json(body)

    issuer.mad = answer
    said = post_token(app.test_client(), issuer.sign(issuer.logout_token()))

    assert said.status_code == 400
    assert json.loads(said.data)["error"] == "temporarily_unavailable"
    assert login.stands()
    state_of(app).authority.close()
