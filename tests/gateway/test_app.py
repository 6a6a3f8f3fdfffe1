"""The gateway as an application: its settings, its health, its metadata."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.gateway import GatewayOptions, create_app
from flask_clustertoken.settings import Settings
from tests.doubles import SECRET, Cluster, store_of
from tests.gateway.parts import Door, door


def test_it_shares_the_logins_of_the_app_whose_store_it_is_given(tmp_path: Path) -> None:
    """The key lies beside the store's folder, as the app's first start puts it."""
    app = TokenAuthority(Settings(), instance_path=str(tmp_path))
    text = app.issue_login("alice").text
    environ = {
        "CLUSTERTOKEN_STORE": f"directory://{tmp_path}/shared",
        "CLUSTERTOKEN_GATEWAY_TRUSTED": "127.0.0.1, 10.0.0.1",
        "CLUSTERTOKEN_TEST_SERVERS": "required",
        "HOME": "/",
    }
    there = Door(create_app(environ=environ))
    try:
        assert there.auth(text, Origin="https://evil.example").identity["Subject"] == "alice"
        app.revoke_subject("alice")
        assert there.auth(text).status == 401
    finally:
        there.authority.close()
        app.close()


def test_keywords_win_over_the_environment() -> None:
    """By their names in small letters, the gateway's own too."""
    environ = {"CLUSTERTOKEN_STORE": "zookeeper://nowhere", "CLUSTERTOKEN_GATEWAY_MAX_AGE": "3"}
    made = create_app(environ=environ, store="memory:", secret=SECRET, gateway_max_age=1)
    there = Door(made)
    try:
        caller = there.api_token("introspect")
        assert there.post("/introspect", caller, token=there.login()).max_age == 1
    finally:
        there.authority.close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"CLUSTERTOKEN_STORE": ""}, "CLUSTERTOKEN_STORE"),
        ({"CLUSTERTOKEN_LIFTIME": "3"}, "CLUSTERTOKEN_LIFTIME"),
        ({"CLUSTERTOKEN_LIFETIME": "soon"}, "CLUSTERTOKEN_LIFETIME"),
        ({"CLUSTERTOKEN_GATEWAY_TRUST": "::1"}, "CLUSTERTOKEN_GATEWAY_TRUSTED"),
        ({"CLUSTERTOKEN_GATEWAY_TRUSTED": "localhost"}, "CLUSTERTOKEN_GATEWAY_TRUSTED"),
        ({"CLUSTERTOKEN_GATEWAY_TRUSTED": "10.0.0.1/8"}, "CLUSTERTOKEN_GATEWAY_TRUSTED"),
        ({"CLUSTERTOKEN_GATEWAY_CLAIMS_LIMIT": "-1"}, "CLUSTERTOKEN_GATEWAY_CLAIMS_LIMIT"),
        ({"CLUSTERTOKEN_GATEWAY_CLAIMS_LIMIT": "2k"}, "CLUSTERTOKEN_GATEWAY_CLAIMS_LIMIT"),
        ({"CLUSTERTOKEN_GATEWAY_MAX_AGE": "301"}, "CLUSTERTOKEN_GATEWAY_MAX_AGE"),
        ({"CLUSTERTOKEN_GATEWAY_CONFIRM_TIMEOUT": "0"}, "CLUSTERTOKEN_GATEWAY_CONFIRM_TIMEOUT"),
        ({"CLUSTERTOKEN_GATEWAY_URL": "auth.example"}, "CLUSTERTOKEN_GATEWAY_URL"),
        ({"CLUSTERTOKEN_GATEWAY_SUBJECTS": "people"}, "CLUSTERTOKEN_GATEWAY_SUBJECTS"),
        ({"CLUSTERTOKEN_GATEWAY_SUBJECTS": "no.such:people"}, "CLUSTERTOKEN_GATEWAY_SUBJECTS"),
        ({"CLUSTERTOKEN_GATEWAY_SUBJECTS": "json:people"}, "CLUSTERTOKEN_GATEWAY_SUBJECTS"),
        ({"CLUSTERTOKEN_GATEWAY_ISSUER": "https://a.example"}, "CLUSTERTOKEN_GATEWAY_JWKS"),
        ({"CLUSTERTOKEN_GATEWAY_JWKS": "/keys.json"}, "CLUSTERTOKEN_GATEWAY_ISSUER"),
        (
            {
                "CLUSTERTOKEN_GATEWAY_ISSUER": "https://a.example",
                "CLUSTERTOKEN_GATEWAY_JWKS": "https://a.example/keys",
            },
            "CLUSTERTOKEN_GATEWAY_URL",
        ),
        (
            {
                "CLUSTERTOKEN_GATEWAY_ISSUER": "https://a.example",
                "CLUSTERTOKEN_GATEWAY_JWKS": "http://a.example/keys",
                "CLUSTERTOKEN_GATEWAY_URL": "https://auth.example",
            },
            "CLUSTERTOKEN_GATEWAY_JWKS",
        ),
    ],
)
def test_a_wrong_setting_stops_the_start(given: dict[str, str], named: str) -> None:
    """In one sentence that names it, and what to do."""
    environ = {"CLUSTERTOKEN_STORE": "memory:", "CLUSTERTOKEN_SECRET": SECRET, **given}
    with pytest.raises(ConfigurationError) as found:
        create_app(environ=environ)
    assert named in str(found.value)
    assert SECRET not in str(found.value)


@pytest.mark.parametrize(
    "trusted", [5, [5], True, [None], b"::1", {"127.0.0.1": 8}, "127.0.0.1, ::1"]
)
def test_proxies_that_are_no_texts_stop_the_start(trusted: object) -> None:
    """A number is an address to ipaddress: a slip would trust somebody whom nobody meant."""
    with pytest.raises(ConfigurationError) as found:
        create_app(environ={}, store="memory:", secret=SECRET, gateway_trusted=trusted)
    assert found.value.setting == "CLUSTERTOKEN_GATEWAY_TRUSTED"
    assert "10.1.0.0/16" in found.value.remedy


@pytest.mark.parametrize(
    "trusted", [None, "", [], "::1", ("10.0.0.0/8", "unix"), {"127.0.0.1"}, "unix"]
)
def test_proxies_may_be_one_or_several_or_none(trusted: object) -> None:
    made = create_app(environ={}, store="memory:", secret=SECRET, gateway_trusted=trusted)
    made.authority.close()


def test_it_needs_no_flask() -> None:
    """A host that runs the gateway alone need not have it."""
    blocked = "import sys; sys.modules['flask'] = None; import flask_clustertoken.gateway"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_health_says_nothing_of_the_store(front: Door, cluster: Cluster) -> None:
    """And readiness does: whoever cannot vouch gets no requests."""
    assert front.ask("GET", "/readyz").status == 200
    store_of(front.authority).cut()
    cluster.clock.advance(11)
    assert front.ask("GET", "/healthz").status == 200
    ready = front.ask("GET", "/readyz")
    assert (ready.status, ready.json["fresh"]) == (503, False)
    assert front.ask("HEAD", "/healthz").body == b""


def test_what_is_not_there_is_a_404(front: Door) -> None:
    """Whoever may reach the gateway learns no more."""
    assert front.ask("GET", "/").status == 404
    assert front.ask("GET", "/authx").status == 404
    assert front.ask("GET", "/introspect/").status == 404


def test_metadata_says_where_to_ask(cluster: Cluster) -> None:
    """Under the names of RFC 8414, by the URL that was set."""
    there = door(cluster, gateway={"GATEWAY_URL": "https://auth.example/t/"})
    said = there.ask("GET", "/.well-known/oauth-authorization-server").json

    assert said["issuer"] == "https://auth.example/t"
    assert said["introspection_endpoint"] == "https://auth.example/t/introspect"
    assert said["revocation_endpoint"] == "https://auth.example/t/revoke"
    assert said["global_token_revocation_endpoint"].endswith("/t/global-token-revocation")
    assert "Bearer" in said["introspection_endpoint_auth_methods_supported"]
    assert said["response_types_supported"] == []


@pytest.mark.parametrize(
    ("headers", "peer", "issuer"),
    [
        ({}, "10.9.9.9", "http://app.example"),
        ({"X-Forwarded-Proto": "https"}, "10.0.0.1", "https://app.example"),
        ({"X-Forwarded-Proto": "https"}, "10.9.9.9", "http://app.example"),
        ({"Host": "a b"}, "10.0.0.1", ""),
    ],
)
def test_metadata_goes_by_the_request_otherwise(
    front: Door, headers: dict[str, Any], peer: str, issuer: str
) -> None:
    """What a stranger says of the scheme does not count."""
    answer = front.ask("GET", "/.well-known/oauth-authorization-server", headers, peer=peer)
    assert answer.json["issuer"] == issuer
    assert answer["Cache-Control"] == "no-store"


def test_an_error_of_ours_tells_nothing(
    front: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may quote what was sent."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("ctk_secret")

    monkeypatch.setattr(front.authority, "authenticate", broken)
    answer = front.post("/introspect", "ctk_x", token="y")
    assert answer.status == 500
    assert b"ctk_secret" not in answer.body
    assert "could not be answered" in caplog.text


def test_every_setting_is_in_the_manual() -> None:
    """gateway.rst names each, and none that there is not; its defaults are those of the code."""
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "gateway.rst").read_text()
    named = set(re.findall(r"\bCLUSTERTOKEN_GATEWAY_([A-Z_]*[A-Z])\b", page))
    assert named == {one.name.upper() for one in fields(GatewayOptions)}
    assert "bytes of ``X-Auth-Claims``; 2048," in page
    assert "not in force everywhere; 5\n" in page
    assert (GatewayOptions().claims_limit, GatewayOptions().confirm_timeout) == (2048, 5)
