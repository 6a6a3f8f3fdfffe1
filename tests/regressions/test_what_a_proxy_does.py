"""What proxies, gateways and clients in between do to a request, each held down here.

P1 a cookie in double quotes or joined by a comma, P2 an ``Origin`` against a ``Host`` without
its port, P3 a proxy's own bearer token beside a good cookie, P4 ``app.wsgi_app`` put back.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_clustertoken.errors import ConfigurationError, ForeignOrigin
from flask_clustertoken.settings import Settings
from flask_clustertoken.wsgi import Cookie, cookies, gate
from tests.extension.parts import COOKIE, MakeApp, api_text, bearer, cookie, login_text, texts_set

# -- P1 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        '{name}="{text}"',
        '$Version="1"; {name}="{text}"; $Path="/"',
        '$Version="1"; {name}="{text}";$Path="/"',
        '{name}="{text}", a=b',
        "{name}={text},a=b",
        "{name}={text} , a=b",
        'z=1; {name}="{text}",a=b; c=d',
    ],
)
def test_p1_a_cookie_in_quotes_or_joined_by_a_comma_is_understood(
    make_app: MakeApp, header: str
) -> None:
    """Java's clients quote a value; gateways to HTTP/2 have joined cookies by a comma."""
    app, _ = make_app()

    answer = app.test_client().get(
        "/maybe", headers={"Cookie": header.format(name=COOKIE, text=login_text(app))}
    )

    assert answer.text == "alice"
    assert not texts_set(answer)


def test_p1_a_cookie_without_a_promise_is_found_behind_a_comma(make_app: MakeApp) -> None:
    """Where the name has no prefix, a sibling domain could plant the cookie itself anyhow."""
    app, _ = make_app(COOKIE_SECURE=False)

    answer = app.test_client().get(
        "/maybe", headers={"Cookie": f"a=b,clustertoken={login_text(app)}"}
    )

    assert answer.text == "alice"


@pytest.mark.parametrize("joint", [",", ", "])
def test_p1_no_sibling_domain_writes_a_cookie_of_ours_behind_a_comma(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, joint: str
) -> None:
    """A browser keeps ``__Host-`` as a name, and lets it stand in anybody's value: it is said once,
    not read."""
    app, _ = make_app()
    cookies._tell_of_commas.cache_clear()
    client = app.test_client()

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            answer = client.get(
                "/maybe", headers={"Cookie": f"x=1{joint}{COOKIE}={login_text(app, 'mallory')}"}
            )
            assert answer.text == "nobody"
            assert not texts_set(answer)

    said = [one.getMessage() for one in caplog.records if "comma" in one.getMessage()]
    assert len(said) == 1
    assert "mallory" not in said[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f'"{text}',
        lambda text: f'""{text}""',
        lambda text: f"'{text}'",
        lambda text: f"%22{text}%22",
        lambda text: text[:60],
        lambda text: text[:14],
        lambda text: text[:6],
        lambda text: text.upper(),
        lambda text: f"{text} {text}",
        lambda text: f"v1:{text}",
        lambda text: text + "=" * 9000,
    ],
)
def test_p1_nothing_that_a_proxy_may_have_done_deletes_a_cookie(
    make_app: MakeApp, change: Any
) -> None:
    """Wrapped, cut short, doubled: it is refused, and the browser keeps the good one."""
    app, _ = make_app()

    answer = app.test_client().get("/maybe", headers=cookie(change(login_text(app))))

    assert answer.text == "nobody"
    assert not texts_set(answer)


# -- P2 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            {"Origin": "http://intranet:8080"},
            ["'http://intranet:8080'", "'intranet'", "$http_host"],
        ),
        ({"Origin": "https://app.example"}, ["'https://app.example'", "'intranet'", "pass on"]),
        (
            {"Origin": "https://app.example", "X-Forwarded-Host": "app.example"},
            ["'https://app.example'", "'intranet'", "ProxyFix(x_host=1)"],
        ),
        ({"Origin": "null"}, ["'null'", "Referrer-Policy"]),
        ({"Sec-Fetch-Site": "same-site"}, ["'same-site'"]),
        ({"Origin": "https://" + "x" * 5000}, ["xxx", "'intranet'"]),
        ({"Origin": "https://<script>"}, ["script"]),
    ],
)
@pytest.mark.parametrize("path", ["/me", "/login/bob"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_p2_a_refusal_names_the_origin_the_host_and_what_of_the_proxy_to_set(
    make_app: MakeApp, sent: dict[str, str], said: list[str], path: str, accept: str
) -> None:
    """Whoever reads it knows which of the two is wrong, and who has to say otherwise."""
    app, _ = make_app()

    answer = app.test_client().post(
        path, headers={**cookie(login_text(app)), "Host": "intranet", "Accept": accept, **sent}
    )

    assert answer.status_code == 403
    text = answer.text if accept == "text/html" else answer.json["message"]  # type: ignore[index]
    for one in [*said, "CLUSTERTOKEN_TRUSTED_ORIGINS"]:
        assert one in text.replace("&#39;", "'")
    assert "<script>" not in answer.text or accept != "text/html"
    assert len(text) < 1000


def test_p2_the_error_says_it_too(make_app: MakeApp) -> None:
    """An app that handles it itself can log what it says."""
    app, tokens = make_app()
    with (
        app.test_request_context(
            method="POST", headers={"Origin": "http://intranet:8080", "Host": "intranet"}
        ),
        pytest.raises(ForeignOrigin, match=r"'http://intranet:8080'.*'intranet'.*http_host"),
    ):
        tokens.login("alice")


# -- P3 --------------------------------------------------------------------------------

FOREIGN = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


def test_p3_a_proxys_own_bearer_leaves_the_cookie_in_force(make_app: MakeApp) -> None:
    """Where it is said how ours begin: to log in, to look and to log out behind such a proxy."""
    app, _ = make_app(BEARER_PREFIXES=["ctk_"])
    client = app.test_client()
    theirs = {"Authorization": FOREIGN}

    (text,) = texts_set(client.post("/login/alice", headers=theirs))
    assert client.get("/me", headers={**theirs, **cookie(text)}).json == {
        "subject": "alice",
        "kind": "login",
    }
    assert app.test_client().get("/me", headers=theirs).status_code == 401
    answer = client.post("/logout", headers={**theirs, **cookie(text)})
    assert answer.json == {"ended": True}
    assert texts_set(answer) == [""]
    assert client.get("/me", headers=cookie(text)).status_code == 401


def test_p3_beside_a_proxys_bearer_a_request_from_another_origin_is_refused(
    make_app: MakeApp,
) -> None:
    """It is the cookie that decides, so it is guarded like one."""
    app, _ = make_app(BEARER_PREFIXES=["ctk_"])
    headers = {"Authorization": FOREIGN, "Origin": "https://evil.example"}

    for path in ("/me", "/login/bob", "/logout"):
        answer = app.test_client().post(path, headers={**headers, **cookie(login_text(app))})
        assert answer.status_code == 403, path


def test_p3_our_own_bearer_still_decides(make_app: MakeApp) -> None:
    """Good or bad, and whatever the cookie says."""
    app, _ = make_app(BEARER_PREFIXES=["ctk_", "eyJ"])
    client = app.test_client()
    good = cookie(login_text(app))

    found = client.get("/me", headers={**good, **bearer(api_text(app, "robot"))}).json
    assert found == {"subject": "robot", "kind": "api"}
    assert client.get("/me", headers={**good, **bearer("ctk_bad")}).status_code == 401
    assert client.get("/me", headers={**good, "Authorization": FOREIGN}).status_code == 401


def test_p3_without_the_setting_it_is_said_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The bearer decides, as it always did; the log names the setting."""
    app, _ = make_app()
    gate.tell_of_bearers.cache_clear()
    client = app.test_client()

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            answer = client.get(
                "/me", headers={"Authorization": FOREIGN, **cookie(login_text(app))}
            )
            assert answer.status_code == 401
        assert client.post("/login/bob", headers={"Authorization": FOREIGN}).status_code == 403

    said = [one.getMessage() for one in caplog.records if "BEARER_PREFIXES" in one.getMessage()]
    assert len(said) == 1


@pytest.mark.parametrize("wrong", [["eyJ"], ["ctk_", ""], ["ctk_", "a b"], [5], 7])
def test_p3_prefixes_that_cannot_be_meant_stop_the_start(wrong: Any) -> None:
    """Such as a list without our own API tokens'."""
    with pytest.raises(ConfigurationError, match="CLUSTERTOKEN_BEARER_PREFIXES"):
        Settings.from_mapping({"CLUSTERTOKEN_BEARER_PREFIXES": wrong})


# -- P4 --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["as it was", "wrapped"])
def test_p4_a_wsgi_app_that_was_put_back_is_found_and_said(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """A login would be made and recorded, answered by 200, and its cookie never sent."""
    app, _ = make_app()
    before = type(app).wsgi_app.__get__(app)
    app.wsgi_app = before if how == "as it was" else ProxyFix(before)  # type: ignore[method-assign]

    for _ in range(2):
        answer = app.test_client().post("/login/alice")
        assert answer.status_code == 503
        assert not texts_set(answer)

    assert "app.wsgi_app" in caplog.text
    assert "replaced after init_app" in caplog.text


def _by_closure(inner: Any) -> Any:
    return lambda environ, start_response: inner(environ, start_response)


@pytest.mark.parametrize(
    "wrap", [ProxyFix, lambda inner: DispatcherMiddleware(inner, {}), _by_closure]
)
def test_p4_a_wrapped_wsgi_app_is_none_of_it(make_app: MakeApp, wrap: Any) -> None:
    """Neither a real request nor one that a test makes by hand is disturbed."""
    app, tokens = make_app()
    app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]

    with app.test_request_context("/maybe", method="POST"):
        app.preprocess_request()
        assert tokens.login("alice").subject == "alice"
        assert app.full_dispatch_request().get_data(as_text=True) == "alice"
    assert app.test_client().post("/login/alice").status_code == 200


def test_p4_the_look_is_over_with_the_first_request(make_app: MakeApp) -> None:
    """The app's own hooks stay, in their order, and no request pays for it again."""
    app, _ = make_app()
    called: list[int] = []
    app.before_request(lambda: called.append(1))
    app.before_request(lambda: called.append(2))

    app.test_client().get("/public")

    assert called == [1, 2]
    assert len(app.before_request_funcs[None]) == 2


def test_p1_the_flood_is_still_cut_off() -> None:
    """However they are joined."""
    header = ",".join(f"ct={number}" for number in range(1000))
    assert len(Cookie(name="ct", secure=False).values({"HTTP_COOKIE": header})) == 4


def test_p4_an_app_without_views_of_ours_is_watched_too() -> None:
    """Any view of it: it would be open to nobody, or to everybody."""
    from flask_clustertoken import ClusterToken

    app = Flask("bare")
    app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET="x" * 40)
    ClusterToken(app)
    app.wsgi_app = type(app).wsgi_app.__get__(app)  # type: ignore[method-assign]

    assert app.test_client().get("/").status_code == 503
