"""A provider in an app: its arguments, its labels, and who lets its messages pass."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import certifi
import pytest
from flask import Flask

from flask_clustertoken import ClusterToken
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.extension import require_token, state_of
from flask_clustertoken.providers import BackChannelLogout
from tests.keycloak.issuer import Issuer
from tests.providers.app import Login, bare_app, configuration, post_token, provider_of

ISSUER = "https://login.example/realms/demo"


def made(**changes: Any) -> BackChannelLogout:
    return BackChannelLogout(**{"issuer": ISSUER, "client_id": "shop", **changes})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("issuer", "login.example"),
        ("issuer", "ftp://login.example"),
        ("issuer", "https://"),
        ("issuer", "https://user:word@login.example"),
        ("issuer", "https://login.example?x=1"),
        ("issuer", "https://login.example#x"),
        ("issuer", "https://login.example:port"),
        ("issuer", "https://login .example"),
        ("issuer", None),
        ("client_id", ""),
        ("client_id", " "),
        ("client_id", "shop\n"),
        ("client_id", 5),
        ("client_id", None),
        ("name", "Mein OIDC"),
        ("name", ""),
        ("name", None),
        ("name", 7),
        ("name", "../x"),
        ("ca_bundle", "/nowhere/at/all.pem"),
        ("ca_bundle", __file__),
        ("ca_bundle", "a\0b"),
        ("ca_bundle", None),
        ("timeout", 0),
        ("timeout", 3600),
        ("timeout", True),
        ("timeout", "5"),
        ("timeout", None),
        ("timeout", float("nan")),
    ],
)
def test_arguments_that_cannot_be_meant(argument: str, value: Any) -> None:
    """The error names the argument and says what to write."""
    with pytest.raises(ConfigurationError, match=argument) as caught:
        made(**{argument: value})
    assert caught.value.remedy


def test_certificates_that_can_be_read(tmp_path: Path) -> None:
    """A file of them, by its name or path, or a folder, as OpenSSL has them."""
    for bundle in (certifi.where(), Path(certifi.where()), str(tmp_path), ""):
        made(ca_bundle=bundle)


@pytest.mark.parametrize("prefix", ["oidc", "//evil.example", 5])
def test_a_prefix_that_is_no_path(tmp_path: Path, prefix: Any) -> None:
    """Said when the addresses are added."""
    app = bare_app(f"directory://{tmp_path}/shared")
    with pytest.raises(ConfigurationError, match="url_prefix"):
        made(url_prefix=prefix).init_app(app)


def test_two_of_one_name(tmp_path: Path) -> None:
    """The second needs a name of its own."""
    app = bare_app(f"directory://{tmp_path}/shared")
    made().init_app(app)
    with pytest.raises(ConfigurationError, match="name"):
        made(issuer="https://other.example").init_app(app)
    made(issuer="https://other.example", name="other").init_app(app)


def test_it_needs_the_extension_first() -> None:
    """As for every adapter, and the error says so."""
    with pytest.raises(RuntimeError, match="init_app"):
        BackChannelLogout(Flask("bare"), issuer=ISSUER, client_id="shop")


def test_labels_of_a_login() -> None:
    """By the session, if there is one, and by the person; never by another provider's claims."""
    provider = made()
    assert provider.labels({"sub": "alice"}) == (provider.sub_label("alice"),)
    both = provider.labels({"iss": ISSUER, "sub": "alice", "sid": "s"})
    assert set(both) == {provider.sub_label("alice"), provider.sid_label("s")}
    for wrong in ({"sub": "alice", "iss": "https://evil.example"}, {}, {"sub": 7}, {"sub": ""}):
        with pytest.raises(ValueError, match=r"claims"):
            provider.labels(wrong)


def test_keys_in_clear_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Without encryption anybody on the way can end logins. On this host nobody is."""
    with caplog.at_level(logging.WARNING):
        for quiet in ("http://127.0.0.1:8080/x", "http://[::1]:1", "http://localhost", ISSUER):
            made(issuer=quiet)
        assert not caplog.records
        made(issuer="http://login.internal")
    assert "without encryption" in caplog.text


@pytest.mark.parametrize("first", [True, False])
def test_csrf_protection_lets_a_provider_in(issuer: Issuer, tmp_path: Path, first: bool) -> None:
    """With Flask-WTF's protection of all views, added before or after us."""
    from flask_wtf.csrf import CSRFProtect

    app = Flask("with-csrf")
    app.config.update(configuration(f"directory://{tmp_path}/shared"), SECRET_KEY="x")
    if first:
        CSRFProtect(app)
    ClusterToken(app)
    provider_of(issuer).init_app(app)
    provider_of(issuer, name="second").init_app(app)
    if not first:
        CSRFProtect(app)
    client = app.test_client()

    assert post_token(client, issuer.sign(issuer.logout_token())).status_code == 200
    assert post_token(client, issuer.sign(issuer.logout_token()), "second").status_code == 200
    state_of(app).authority.close()


def test_an_app_that_demands_a_login_everywhere(issuer: Issuer, tmp_path: Path) -> None:
    """Its provider is heard all the same."""
    app = bare_app(f"directory://{tmp_path}/shared")

    @app.before_request
    def closed() -> None:
        require_token()

    provider = provider_of(issuer)
    provider.init_app(app)
    login = Login(app, provider)

    assert post_token(app.test_client(), issuer.sign(issuer.logout_token())).status_code == 200
    assert not login.stands()
    state_of(app).authority.close()


def test_front_channel_ends_the_browsers_own_login(
    app: Flask, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """Only with the cookie, and with the very session that it is of."""
    mine, theirs = Login(app, provider), Login(app, provider, {"sub": "alice", "sid": "sid-1"})
    client = app.test_client()
    name = state_of(app).settings.cookie.name
    client.set_cookie(name, mine.text, domain="localhost")

    def visit(who: Any, **query: str) -> Any:
        return who.get("/oidc/frontchannel-logout", query_string=query)

    for query in (
        {},
        {"iss": issuer.issuer},
        {"sid": "sid-1"},
        {"iss": issuer.issuer, "sid": "sid-2"},
        {"iss": "https://evil.example", "sid": "sid-1"},
    ):
        assert visit(client, **query).status_code == 200
        assert mine.stands()
    assert visit(app.test_client(), iss=issuer.issuer, sid="sid-1").status_code == 200
    assert mine.stands()

    answer = visit(client, iss=issuer.issuer, sid="sid-1")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert issuer.url in answer.headers["Content-Security-Policy"]
    assert not mine.stands()
    assert theirs.stands()
