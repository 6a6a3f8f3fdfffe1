"""``keycloak.json`` as it is: what is honoured, what is refused, what is named."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.exceptions import BadRequest

from flask_clustertoken import ClusterToken, fresh_login_required, require_token, token_required
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak import Keycloak, KeycloakUnavailable, role_required
from flask_clustertoken.keycloak.options import bare_host, from_config, read_options
from tests.keycloak.app import Make, create_app
from tests.keycloak.flow import HTML, Flow
from tests.keycloak.issuer import Issuer
from tests.keycloak.posting import Login

GOOD: dict[str, Any] = {
    "realm": "demo",
    "auth-server-url": "https://login.example/auth/",
    "ssl-required": "external",
    "resource": "app",
    "credentials": {"secret": "s3cret"},
    "confidential-port": 0,
}


def test_a_file_from_keycloak() -> None:
    """What Keycloak's page offers for download is read as it is."""
    options = read_options(GOOD)

    assert options.realm == "demo"
    assert options.client_id == "app"
    assert options.auth_server_url == "https://login.example/auth"
    assert options.client_auth == "client_secret_basic"
    assert options.principal_attribute == "sub"
    assert options.not_honoured == {}
    assert "s3cret" not in repr(options)


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """``${env.NAME:default}`` in any value, also inside; a missing one is named."""
    monkeypatch.setenv("KC_HOST", "kc.example")
    data = GOOD | {
        "auth-server-url": "https://${env.KC_HOST}:${env.KC_PORT:8443}/",
        "credentials": {"secret": "${env.KC_SECRET:hidden}"},
    }

    options = read_options(data)

    assert options.auth_server_url == "https://kc.example:8443"
    assert options.secret == "hidden"
    with pytest.raises(ConfigurationError, match="NOT_SET"):
        read_options(GOOD | {"resource": "${env.NOT_SET}"})


@pytest.mark.parametrize("name", ["realm", "resource", "auth-server-url", "credentials"])
def test_what_is_needed(name: str) -> None:
    """Each is missed by its name."""
    data = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(ConfigurationError, match=name):
        read_options(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("realm", 7),
        ("realm", " "),
        ("auth-server-url", "login.example"),
        ("auth-server-url", "ftp://login.example"),
        ("auth-server-url", "//login.example"),
        ("auth-server-url", "https://user:pw@login.example"),
        ("auth-server-url", "https://login.example/?x"),
        ("bearer-only", "yes"),
        ("token-minimum-time-to-live", "soon"),
        ("token-minimum-time-to-live", 1.5),
        ("connection-timeout-millis", 10**18),
        ("socket-timeout-millis", str(2**31)),
        ("register-node-period", 10**20),
        ("min-time-between-jwks-requests", -(10**20)),
        ("connection-pool-size", 10_001),
        ("credentials", "secret"),
        ("credentials", {"jwt": {}}),
        ("credentials", {"secret": ""}),
        ("no-such-option", 1),
        ("token-store", "cookie"),
    ],
)
def test_what_is_wrong(name: str, value: Any) -> None:
    """It stops the start, and is named."""
    with pytest.raises(ConfigurationError, match=name.split("-")[0]):
        read_options(GOOD | {name: value})


def test_numbers_are_as_large_as_javas() -> None:
    """Whoever wrote the largest one for "never" starts as before."""
    never = 2**31 - 1
    options = read_options(
        GOOD
        | {"connection-timeout-millis": never, "public-key-cache-ttl": never}
        | {"register-node-period": -1, "connection-pool-size": 10_000}
    )
    assert options.connect_timeout == never / 1000
    assert options.public_key_cache_ttl == never
    assert (options.register_node_period, options.connection_pool_size) == (-1, 10_000)


def test_what_is_not_honoured() -> None:
    """Each option of Keycloak's adapters is honoured, needless, or named with what to do."""
    data = GOOD | {
        "enable-cors": True,
        "cors-max-age": 1000,
        "truststore": "x.jks",
        "disable-trust-manager": True,
        "expose-token": False,
        "enable-pkce": True,
        "ignore-oauth-query-parameter": True,
        "realm-public-key": "MIIB",
        "policy-enforcer": {},
        "enable-basic-auth": "false",
        "ssl-required": "ALL",
        "connection-ttl-millis": 5000,
    }

    named = read_options(data).not_honoured

    assert set(named) == {
        "enable-cors",
        "cors-max-age",
        "truststore",
        "disable-trust-manager",
        "realm-public-key",
        "policy-enforcer",
        "ssl-required",
        "connection-ttl-millis",
    }
    assert all(named.values())


def test_clients_without_a_secret() -> None:
    """A public client, a bearer-only one, and one with a signed secret."""
    bare = {key: value for key, value in GOOD.items() if key != "credentials"}

    assert read_options(bare | {"public-client": True}).client_auth == "none"
    assert read_options(bare | {"bearer-only": True}).client_auth == "none"
    signed = GOOD | {"credentials": {"secret-jwt": {"secret": "x", "algorithm": "HS256"}}}
    assert read_options(signed).client_auth == "client_secret_jwt"
    with pytest.raises(ConfigurationError, match="secret-jwt"):
        read_options(GOOD | {"credentials": {"secret-jwt": {"secret": "x", "algorithm": "RS256"}}})
    with pytest.raises(ConfigurationError, match="register-node-at-startup"):
        read_options(bare | {"public-client": True, "register-node-at-startup": True})


def test_settings_of_our_own(tmp_path: Path) -> None:
    """``KEYCLOAK_`` in the app's settings; what is unknown is named."""

    def read(**config: Any) -> Any:
        given = {f"KEYCLOAK_{name}": value for name, value in config.items()}
        return from_config(
            given, root=str(tmp_path), instance=str(tmp_path / "i"), token_store="session"
        )

    (tmp_path / "keycloak.json").write_text(json.dumps(GOOD))
    assert read().client_id == "app"
    assert read(OPTIONS={"resource": "other"}, FILE="keycloak.json").client_id == "other"
    assert read(TIMEOUT=2, NODE_HOST="Web1").node_host == "web1"
    assert read(TIMEOUT=2).read_timeout == 2
    assert read(TIMEOUT=0.5).connect_timeout == 0.5
    assert read(SCOPE="profile openid").scope == "profile openid"
    for name, value in (
        ("FILE", "missing.json"),
        ("FLIE", "x"),
        ("LOGOUT", "never"),
        ("NODE_HOST", "web1:8000"),
        ("OPTIONS", "x"),
        ("URL_PREFIX", "https://x.example"),
        ("AFTER_LOGOUT", "https://x.example/"),
        ("AFTER_LOGOUT", "//x.example/"),
        ("AFTER_LOGOUT", "bye"),
        ("TIMEOUT", 0),
        ("TIMEOUT", -3),
        ("TIMEOUT", "soon"),
        ("TIMEOUT", True),
        ("TIMEOUT", 4000),
        ("TIMEOUT", float("nan")),
        ("SCOPE", "profile"),
        ("SCOPE", ""),
    ):
        with pytest.raises(ConfigurationError, match=f"KEYCLOAK_{name}"):
            read(**{name: value})
    (tmp_path / "keycloak.json").write_text("[")
    with pytest.raises(ConfigurationError, match="KEYCLOAK_FILE"):
        read()


@pytest.mark.parametrize("host", ["", "a b", "a:1", "http://a", "-a", "a/", "a" * 300, "ü"])
def test_hosts_are_bare(host: str) -> None:
    """Keycloak compares bare names, and puts them into a URL."""
    with pytest.raises(ConfigurationError):
        bare_host(host)


def test_the_order_of_things() -> None:
    """The core first, and each once."""
    app = Flask("x")
    app.config["KEYCLOAK_OPTIONS"] = GOOD
    with pytest.raises(RuntimeError, match="ClusterToken"):
        Keycloak(app)
    app.config |= {"CLUSTERTOKEN_STORE": "memory:", "CLUSTERTOKEN_SECRET": "s" * 40}
    ClusterToken(app)
    Keycloak(app)
    with pytest.raises(ConfigurationError, match="already"):
        Keycloak(app)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", None])
def test_how_the_clients_assertion_is_signed(
    issuer: Issuer, config: Make, algorithm: str | None
) -> None:
    """``credentials.secret-jwt.algorithm``: Keycloak refuses any other than the client's own."""
    secret = {"secret": "x" * 64} | ({"algorithm": algorithm} if algorithm else {})
    app = create_app(config(issuer.url, options={"credentials": {"secret-jwt": secret}}))
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue()
    flow.come_back()

    head = flow.form["client_assertion"].split(".")[0]
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    assert header["alg"] == (algorithm or "HS256")
    state_of(app).authority.close()


# -- a relative address ----------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


def test_a_relative_address_needs_trusted_hosts(config: Make) -> None:
    """Else whoever sends a request could name the server whose keys are believed."""
    with pytest.raises(ConfigurationError, match="KEYCLOAK_ORIGINS"):
        create_app(config("/auth"))


def test_a_relative_address(issuer: Issuer, config: Make) -> None:
    """It is a path of the request's own origin, as the proxy says it; other hosts get nothing."""
    host = issuer.url.removeprefix("http://")
    app = create_app(config("/", KEYCLOAK_ORIGINS=[issuer.url]))
    client = app.test_client()
    bearer = {"Authorization": f"Bearer {issuer.sign(issuer.access_token())}"}

    answer = client.get("/keycloak/login", base_url=f"http://{host}")
    assert answer.headers["Location"].startswith(f"{issuer.issuer}/protocol/openid-connect/auth")
    assert f"http%3A%2F%2F127.0.0.1%3A{host.split(':')[1]}" in answer.headers["Location"]
    assert client.get("/me", base_url=f"http://{host}", headers=bearer).status_code == 200
    evil = client.get("/me", base_url="http://evil.example", headers=bearer)
    assert evil.status_code in (400, 503)
    # (Flask 3.1 refuses such a request by itself, older ones do not.)
    with (
        app.test_request_context("/", base_url="http://evil.example"),
        pytest.raises((KeycloakUnavailable, BadRequest)),
    ):
        app.extensions["keycloak"].provider()
    state_of(app).authority.close()


def test_another_port_of_our_host(issuer: Issuer, config: Make) -> None:
    """TRUSTED_HOSTS says nothing of ports: what listens behind another one of the same host is
    neither asked nor believed."""
    app = create_app(config("/", TRUSTED_HOSTS=["127.0.0.1", "app.example"]))
    adapter = app.extensions["keycloak"]
    bearer = {"Authorization": f"Bearer {issuer.sign(issuer.access_token(sub='root'))}"}

    answer = app.test_client().get("/me", base_url=issuer.url, headers=bearer)

    assert answer.status_code == 503
    assert issuer.asked == []
    for good in ("http://app.example", "https://app.example", "https://app.example:443"):
        with app.test_request_context("/", base_url=good):
            assert adapter.provider().front == good.removesuffix(":443")
    for bad in ("http://app.example:443", "https://app.example:80", "http://[::1]:6379"):
        with (
            app.test_request_context("/", base_url=bad),
            pytest.raises((KeycloakUnavailable, BadRequest)),
        ):
            adapter.provider()
    state_of(app).authority.close()


def test_origins_are_exact(issuer: Issuer, config: Make) -> None:
    """With KEYCLOAK_ORIGINS, scheme, host and port have to be one of them."""
    app = create_app(config("/auth", KEYCLOAK_ORIGINS="https://App.example,http://b.example:8080"))
    adapter = app.extensions["keycloak"]
    for good in ("https://app.example", "http://b.example:8080"):
        with app.test_request_context("/", base_url=good):
            assert adapter.provider().front == f"{good}/auth"
    for bad in ("http://app.example", "https://app.example:8443", "http://b.example"):
        with app.test_request_context("/", base_url=bad), pytest.raises(KeycloakUnavailable):
            adapter.provider()
    assert adapter.provider().front == "https://app.example/auth"
    for wrong in ("app.example", "https://app.example/x", "", [], 7, [7]):
        with pytest.raises(ConfigurationError, match="KEYCLOAK_ORIGINS"):
            create_app(config("/auth", KEYCLOAK_ORIGINS=wrong))
    state_of(app).authority.close()


def test_not_more_origins_than_an_app_has(config: Make) -> None:
    """Whoever invents hosts below a trusted domain does not fill the memory."""
    app = create_app(config("/", TRUSTED_HOSTS=[".app.example"]))
    adapter = app.extensions["keycloak"]
    for number in range(100):
        with app.test_request_context("/", base_url=f"http://h{number}.app.example"):
            adapter.provider()

    assert len(adapter.providers._known) <= 32
    state_of(app).authority.close()


@pytest.mark.parametrize("how", ["backend", "origins"])
def test_messages_to_a_hosts_own_address(issuer: Issuer, config: Make, how: str) -> None:
    """Keycloak calls a host where no browser comes: there its message is judged all the same,
    and ends the login that was made at the app's address."""
    if how == "backend":
        options = {"auth-server-url-for-backend-requests": issuer.url}
        app = create_app(
            config("/auth", TRUSTED_HOSTS=["app.example", "10.0.0.5"], options=options)
        )
    else:
        app = create_app(config("/", KEYCLOAK_ORIGINS=[issuer.url]))
    login = Login(app, issuer, "sid-1")
    client, at = app.test_client(), "http://10.0.0.5:8000"

    message = issuer.sign(issuer.admin_message("TEST_AVAILABILITY"))
    assert client.post("/keycloak/k_test_available", data=message, base_url=at).status_code == 200
    token = {"logout_token": issuer.sign(issuer.logout_token())}
    assert client.post("/keycloak/backchannel-logout", data=token, base_url=at).status_code == 200

    assert not login.stands()
    state_of(app).authority.close()


def test_another_address_for_us(issuer: Issuer, config: Make) -> None:
    """Browsers go to the one, our requests to the other."""
    options = {"auth-server-url-for-backend-requests": issuer.url}
    app = create_app(config("https://login.example", options=options))

    answer = app.test_client().get("/keycloak/login")

    assert answer.headers["Location"].startswith("https://login.example/realms/demo/protocol/")
    provider = app.extensions["keycloak"].provider()
    assert provider.endpoints().token.startswith(issuer.url)
    state_of(app).authority.close()


@pytest.mark.parametrize("first", [True, False])
def test_csrf_protection_lets_keycloak_in(issuer: Issuer, config: Make, first: bool) -> None:
    """With Flask-WTF's protection of all views, added before or after us, signed messages need
    no form token. A person's logout does."""
    from flask_wtf.csrf import CSRFProtect

    app = Flask("with-csrf")
    app.config.update(config(issuer.url), SECRET_KEY="x")
    if first:
        CSRFProtect(app)
    ClusterToken(app)
    Keycloak(app)
    if not first:
        CSRFProtect(app)
    client = app.test_client()

    message = issuer.sign(issuer.admin_message("TEST_AVAILABILITY"))
    assert client.post("/keycloak/k_test_available", data=message).status_code == 200
    token = {"logout_token": issuer.sign(issuer.logout_token())}
    assert client.post("/keycloak/backchannel-logout", data=token).status_code == 200
    assert client.post("/keycloak/logout").status_code == 400
    state_of(app).authority.close()


@pytest.mark.parametrize("how", ["function", "decorator", "fresh", "role"])
def test_a_hook_before_the_whole_app(issuer: Issuer, config: Make, how: str) -> None:
    """An app that demands a login everywhere can still be logged in to, and is told of logouts,
    also where another hook reads what was sent."""
    app = Flask("closed")
    app.config.update(config(issuer.url))

    @app.before_request
    def read() -> None:
        request.get_data()

    ClusterToken(app)
    Keycloak(app)

    def demand() -> None:
        require_token()

    hooks: dict[str, Callable[[], Any]] = {
        "function": demand,
        "decorator": token_required(lambda: None),
        "fresh": fresh_login_required(max_age=3600)(lambda: None),
        "role": role_required("editor")(lambda: None),
    }
    app.before_request(hooks[how])

    @app.get("/page")
    def page() -> str:
        return "hello"

    client = app.test_client()
    assert client.get("/page", headers=HTML).location == "/keycloak/login?next=/page"
    assert client.get("/nowhere").status_code == 401
    flow = Flow(app, issuer)
    assert flow.begin("/page").location.startswith(issuer.url)
    flow.issue()
    assert flow.come_back().location == "/page"
    assert flow.client.get("/page").text == "hello"

    token = {"logout_token": issuer.sign(issuer.logout_token())}
    assert client.post("/keycloak/backchannel-logout", data=token).status_code == 200
    message = issuer.sign(issuer.admin_message())
    assert client.post("/keycloak/k_logout", data=message).status_code == 200
    assert flow.client.get("/page").status_code == 401
    state_of(app).authority.close()


@pytest.mark.parametrize("how", ["get_data", "form", "stream"])
def test_a_hook_that_reads_what_keycloak_sends(issuer: Issuer, config: Make, how: str) -> None:
    """What is still at hand is used; what is gone is no logout, and no error of the server's."""
    app = Flask("reading")
    app.config.update(config(issuer.url))

    @app.before_request
    def read() -> None:
        if how == "stream":
            request.stream.read()
        else:
            getattr(request, how)() if how == "get_data" else request.form

    ClusterToken(app)
    Keycloak(app)
    client = app.test_client()

    token = {"logout_token": issuer.sign(issuer.logout_token())}
    expected = 400 if how == "stream" else 200
    assert client.post("/keycloak/backchannel-logout", data=token).status_code == expected
    message = issuer.sign(issuer.admin_message())
    expected = 403 if how == "stream" else 200
    answer = client.post("/keycloak/k_logout", data=message, content_type="text/plain")
    assert answer.status_code == expected
    state_of(app).authority.close()


def test_apps_that_share_an_extension(issuer: Issuer, config: Make, tmp_path: Path) -> None:
    """Only the one with Keycloak goes to Keycloak: the other keeps its own login page."""
    tokens = ClusterToken()
    with_keycloak, other = Flask("with"), Flask("without")
    with_keycloak.config.update(config(issuer.url))
    tokens.init_app(with_keycloak)
    Keycloak(with_keycloak)
    other.config.update(
        CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET="s" * 40, CLUSTERTOKEN_LOGIN_VIEW="enter"
    )
    tokens.init_app(other)
    for app in (with_keycloak, other):
        app.add_url_rule("/enter", "enter", lambda: "a form")
        app.add_url_rule("/page", "page", token_required(lambda: "a page"))

    answers = [app.test_client().get("/page", headers=HTML) for app in (with_keycloak, other)]

    assert [one.location for one in answers] == [
        "/keycloak/login?next=/page",
        "/enter?next=/page",
    ]
    for app in (with_keycloak, other):
        state_of(app).authority.close()
