"""What a refusal answers: statuses, challenges, JSON and HTML, the app's own handlers."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, abort, redirect, request

from flask_clustertoken import ClusterToken, Refusal, fresh_login_required, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import (
    ClusterTokenError,
    KeyMissing,
    NotAllowed,
    StoreError,
    StoreUnavailable,
)
from flask_clustertoken.extension import safe_target
from tests.extension.parts import (
    SECRET,
    MakeApp,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    app, tokens = make_app()

    @app.get("/write")
    @token_required(scopes=["read", "write"])
    def write() -> str:
        return "written"

    return app, tokens


def stale(app: Flask, clock: ManualClock) -> dict[str, str]:
    """Headers of a good login, on a node that cannot vouch for it any more."""
    store = watch(app)
    headers = cookie(login_text(app))
    store.cut_off()
    clock.advance(11)
    return headers


def test_nobody_logged_in_is_401(site: tuple[Flask, ClusterToken]) -> None:
    """No credentials: 401, a bare challenge without an error code (RFC 6750, 3.1)."""
    answer = site[0].test_client().get("/me")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tokens"'
    assert answer.json == {
        "error": "unauthorized",
        "message": "You need to be logged in.",
        "reason": "missing",
    }


def test_bad_credentials_are_401_invalid_token(site: tuple[Flask, ClusterToken]) -> None:
    """Malformed, unknown, expired and revoked are one and the same challenge."""
    app, _ = site
    client = app.test_client()
    ended = login_text(app)
    client.post("/logout", headers=cookie(ended))

    for headers in (bearer("ctk_x"), bearer("x"), cookie("x"), cookie(ended)):
        answer = client.get("/me", headers=headers)
        assert answer.status_code == 401
        challenge = answer.www_authenticate
        assert (challenge.type, challenge.parameters) == (
            "bearer",
            {"realm": "tokens", "error": "invalid_token"},
        )


def test_too_little_scope_is_403(site: tuple[Flask, ClusterToken]) -> None:
    """The challenge names what would have been enough."""
    app, _ = site

    answer = app.test_client().get("/write", headers=bearer(api_text(app, "robot", "read")))

    assert answer.status_code == 403
    assert answer.www_authenticate.parameters == {
        "realm": "tokens",
        "error": "insufficient_scope",
        "scope": "read write",
    }
    assert answer.json is not None
    assert answer.json["error"] == "insufficient_scope"


def test_a_login_too_old_asks_for_the_password(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """RFC 9470's error code: logging in again helps, another token does not."""
    app, _ = site
    headers = cookie(login_text(app))

    @app.get("/vault")
    @fresh_login_required(10)
    def vault() -> str:
        return "gold"

    clock.advance(11)
    answer = app.test_client().get("/vault", headers=headers)

    assert answer.status_code == 401
    assert answer.www_authenticate.parameters["error"] == "insufficient_user_authentication"


def test_a_node_that_cannot_know_is_503(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Stale: 503 with Retry-After, the cookie is kept, and only protected views are affected."""
    app, _ = site
    headers = stale(app, clock)
    client = app.test_client()

    answer = client.get("/me", headers=headers)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json is not None
    assert answer.json["reason"] == "stale"
    assert not texts_set(answer)
    assert client.get("/maybe", headers=headers).text == "nobody"
    assert client.get("/public", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("image/png", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        (BROWSER, "text/html"),
        ("text/*", "text/html"),
    ],
)
def test_json_or_html_by_accept(
    site: tuple[Flask, ClusterToken], accept: str | None, mimetype: str
) -> None:
    """A browser gets a page; whoever does not say that it wants one gets JSON."""
    headers = {"Accept": accept} if accept else {}

    answer = site[0].test_client().get("/me", headers=headers)

    assert answer.status_code == 401
    assert answer.mimetype == mimetype
    assert "You need to be logged in." in answer.text
    assert "WWW-Authenticate" in answer.headers


def test_refusals_are_not_kept_by_caches(site: tuple[Flask, ClusterToken]) -> None:
    """A refusal is for one request: no cache keeps it, no browser guesses what it is."""
    answer = site[0].test_client().get("/me")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Cookie" in answer.headers["Vary"]


def test_handlers_of_the_app_and_the_blueprint_answer(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """``errorhandler(401)`` of the app or the nearer blueprint answers, and knows the reason."""
    app, _ = site
    inner = Blueprint("inner", "inner", url_prefix="/inner")

    @inner.get("/")
    @token_required
    def index() -> str:
        return "in"

    @inner.errorhandler(401)
    def inner_401(error: Any) -> tuple[str, int]:
        return f"inner {error.reason}", 401

    @app.errorhandler(401)
    def app_401(error: Any) -> tuple[str, int]:
        return f"app {error.reason}", 401

    @app.errorhandler(403)
    def app_403(error: Any) -> tuple[str, int]:
        return f"app {error.scopes}", 403

    @app.errorhandler(503)
    def app_503(error: Any) -> tuple[str, int]:
        return f"app {error.reason}", 503

    app.register_blueprint(inner)
    client = app.test_client()

    assert client.get("/me").text == "app missing"
    assert client.get("/inner/").text == "inner missing"
    robot = bearer(api_text(app))
    assert client.get("/write", headers=robot).text == "app ('read', 'write')"
    app.extensions["clustertoken"].authority.following.lease_end = float("-inf")
    app.extensions["clustertoken"].authority.follower().stop()
    assert client.get("/me", headers=robot).text == "app stale"


def test_trouble_of_the_store_is_503(site: tuple[Flask, ClusterToken]) -> None:
    """A login that the store cannot take is answered with Retry-After and no cookie."""
    app, _ = site
    watch(app).cut_off()

    answer = app.test_client().post("/login/alice")

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert not texts_set(answer)


def test_trouble_of_the_store_goes_through_the_apps_503(
    site: tuple[Flask, ClusterToken],
) -> None:
    """It is a 503 like any other: the app's handler answers."""
    app, _ = site
    watch(app).cut_off()
    app.register_error_handler(503, lambda error: ("sorry", 503))

    assert app.test_client().post("/login/alice").text == "sorry"


def test_a_blueprint_may_answer_trouble_of_the_store(make_app: MakeApp) -> None:
    """Its ``errorhandler(503)`` is nearer than the app's."""
    app, tokens = make_app()
    watch(app).cut_off()
    auth = Blueprint("auth", "auth")
    auth.post("/in")(lambda: tokens.login("alice").id)
    auth.errorhandler(503)(lambda error: ("the blueprint is sorry", 503))
    app.register_blueprint(auth)

    assert app.test_client().post("/in").text == "the blueprint is sorry"


def test_trouble_of_the_store_is_logged_and_told_to_the_apps_handler(
    site: tuple[Flask, ClusterToken], caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns nothing of it, so the log does: the error, and the driver's behind it."""
    app, _ = site
    causes: list[BaseException | None] = []

    @app.get("/shelf")
    def shelf() -> str:
        raise StoreUnavailable("no answer from the disk") from OSError("no space left")

    @app.errorhandler(503)
    def sorry(error: Exception) -> tuple[str, int]:
        causes.append(error.__cause__)
        return "sorry", 503

    assert app.test_client().get("/shelf").text == "sorry"
    (record,) = [one for one in caplog.records if one.name == "flask_clustertoken"]
    assert record.levelname == "WARNING"
    assert "StoreUnavailable: no answer from the disk" in record.message
    assert "OSError: no space left" in record.message
    (cause,) = causes
    assert isinstance(cause, StoreUnavailable)
    assert isinstance(cause.__cause__, OSError)


def test_a_node_that_cannot_sign_says_so_in_the_log(
    site: tuple[Flask, ClusterToken], caplog: pytest.LogCaptureFixture
) -> None:
    """To the client it is a 503 like any other; the operator has a key file to copy."""
    app, _ = site

    @app.get("/sign")
    def sign() -> str:
        raise KeyMissing("the signing key abc is not on this node")

    assert app.test_client().get("/sign").status_code == 503
    (record,) = [one for one in caplog.records if one.name == "flask_clustertoken"]
    assert record.levelname == "ERROR"
    assert "the signing key abc is not on this node" in record.message


def test_a_stale_nodes_503_has_what_went_wrong_as_its_cause(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Where the look at the token failed, the app's handler can say why."""
    app, _ = site
    store = watch(app)
    headers = bearer(api_text(app))
    app.extensions["clustertoken"].authority.remembered.clear()
    store.cut_off(OSError("no route"))
    causes: list[BaseException | None] = []

    @app.errorhandler(503)
    def sorry(error: Exception) -> tuple[str, int]:
        causes.append(error.__cause__)
        return "sorry", 503

    assert app.test_client().get("/me", headers=headers).text == "sorry"
    (cause,) = causes
    assert "no route" in f"{cause} {cause and cause.__cause__}"


@pytest.mark.parametrize("handled", [StoreError, ClusterTokenError])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_apps_handler_of_our_errors_stays(
    when: str, handled: type[Exception], tmp_path: Any, clock: ManualClock
) -> None:
    """A handler for ``StoreError``, or for the root of our errors, is the app's to have."""
    app = Flask("own", instance_path=str(tmp_path))
    app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET=SECRET)

    def mine(error: Exception) -> tuple[str, int]:
        return "mine", 503

    if when == "before":
        app.register_error_handler(handled, mine)
    tokens = ClusterToken(app, clock=clock)
    if when == "after":
        app.register_error_handler(handled, mine)
    watch(app).cut_off()
    app.post("/login")(lambda: tokens.login("alice").id)

    assert app.test_client().post("/login").text == "mine"


@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailable("down"), 503), (NotAllowed("a robot"), 403)]
)
def test_errors_of_the_library_are_http_answers(
    site: tuple[Flask, ClusterToken], error: Exception, status: int
) -> None:
    """Raised anywhere in a view they are answered, never a 500."""
    app, _ = site

    @app.get("/raise")
    def fail() -> str:
        raise error

    assert app.test_client().get("/raise").status_code == status


def test_other_errors_are_left_alone(site: tuple[Flask, ClusterToken]) -> None:
    """An app's own 404, 401 and 403 are answered as they were before."""
    app, _ = site
    app.get("/own")(lambda: abort(401))

    assert app.test_client().get("/nowhere").status_code == 404
    own = app.test_client().get("/own")
    assert own.status_code == 401
    assert own.mimetype == "text/html"
    assert "WWW-Authenticate" not in own.headers


def test_the_unauthorized_handler_answers_instead(site: tuple[Flask, ClusterToken]) -> None:
    """It gets the refusal and gives any response; 403 and 503 are not its business."""
    app, tokens = site

    @tokens.unauthorized_handler
    def sorry(refusal: Refusal) -> tuple[dict[str, str], int]:
        return {"why": refusal.reason}, 418

    client = app.test_client()

    answer = client.get("/me")
    assert (answer.status_code, answer.json) == (418, {"why": "missing"})
    assert client.get("/write", headers=bearer(api_text(app))).status_code == 403
    cross = cookie(login_text(app)) | {"Origin": "https://evil.example"}
    assert client.post("/me", headers=cross).status_code == 403


def test_the_unauthorized_handler_may_be_async_or_raise(
    site: tuple[Flask, ClusterToken],
) -> None:
    """A coroutine function is awaited; what it aborts with is the answer."""
    app, tokens = site

    @tokens.unauthorized_handler
    async def sorry(refusal: Refusal) -> str:
        if "quiet" in request.args:
            abort(404)
        return "sorry"

    assert app.test_client().get("/me").text == "sorry"
    assert app.test_client().get("/me?quiet").status_code == 404


@pytest.fixture
def browsed(make_app: MakeApp) -> Flask:
    app, _ = make_app(LOGIN_VIEW="sign_in")

    @app.get("/sign-in")
    def sign_in() -> Any:
        return redirect(safe_target(request.args.get("next")))

    return app


def test_a_browser_is_sent_to_the_login_view(browsed: Flask) -> None:
    """A page that needs a login leads to the login, and from there back to the page."""
    client = browsed.test_client()

    answer = client.get("/me?a=1&b=2", headers={"Accept": BROWSER})

    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/me?a%3D1%26b%3D2"
    assert client.get(answer.location).location == "/me?a=1&b=2"


def test_only_pages_are_sent_to_the_login_view(browsed: Flask) -> None:
    """A program gets a 401. A form's POST is led to the login, and from there to its page."""
    client = browsed.test_client()
    form = {"Accept": BROWSER, "Referer": "http://localhost/form"}

    assert client.get("/me", headers={"Accept": "application/json"}).status_code == 401
    assert client.post("/me", headers={"Accept": "application/json"}).status_code == 401
    sent = client.post("/me", headers=form)
    assert (sent.status_code, sent.location) == (303, "/sign-in?next=/form")


def test_the_way_back_knows_where_the_app_is_mounted(browsed: Flask) -> None:
    """Below a prefix, ``next`` is the page's whole path."""
    answer = browsed.test_client().get(
        "/me", headers={"Accept": BROWSER}, base_url="http://localhost/app"
    )

    assert answer.location == "/app/sign-in?next=/app/me"


def test_a_stale_node_sends_nobody_to_log_in(browsed: Flask, clock: ManualClock) -> None:
    """503, not the login page: the login may be perfectly good."""
    headers = stale(browsed, clock) | {"Accept": BROWSER}

    answer = browsed.test_client().get("/me", headers=headers)

    assert answer.status_code == 503
    assert answer.mimetype == "text/html"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/page",
        "/page?next=https://evil.example",
        "/page#part",
        "/%2F/evil.example",
        "/a//b",
        "/@evil.example",
        "/ü",
    ],
)
def test_a_page_of_this_origin_is_a_safe_target(target: str) -> None:
    """Any path of our own is kept as it was."""
    with Flask("x").test_request_context():
        assert safe_target(target) == target


@pytest.mark.parametrize("url", ["http://localhost/page?x=1", "http://localhost"])
def test_an_address_of_this_origin_is_a_safe_target(url: str) -> None:
    """An absolute URL of this very origin is cut down to its path."""
    with Flask("x").test_request_context():
        assert safe_target(url) == (url.removeprefix("http://localhost") or "/")


@pytest.mark.parametrize(
    "target",
    [
        None,
        "",
        "page",
        "https://evil.example/",
        "http://evil.example",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\\/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/\x00/evil.example",
        "/\x7f",
        "http:evil.example",
        "http:/evil.example",
        "http:///evil.example",
        "https:localhost",
        "https://localhost/",  # another scheme is another origin
        "http://localhost:8080/",
        "http://localhost@evil.example/",
        "http://localhost.evil.example/",
        "http://evil.example#http://localhost/",
        "http://localhost//evil.example",
        "http://localhost/\\evil.example",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "http://[evil",
        "//[::1",
        "@evil.example",
        "\uff0f\uff0fevil.example",
    ],
)
def test_another_place_is_no_target(target: str | None) -> None:
    """Whatever a browser might read as another origin leads home instead."""
    with Flask("x").test_request_context():
        assert safe_target(target, "/home") == "/home"
