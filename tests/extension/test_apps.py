"""The extension object and the apps it is put on: factories, settings, several at a time."""

from __future__ import annotations

import gc
import threading
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_clustertoken import ClusterToken, current_token, require_token, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.extension import state_of
from flask_clustertoken.stores.memory import MemoryStore
from tests.extension.parts import (
    COOKIE,
    SECRET,
    MakeApp,
    add_views,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)


def test_one_extension_serves_the_apps_of_a_factory(clock: ManualClock, tmp_path: Path) -> None:
    """One ClusterToken is put on any number of apps, and each has its own logins."""
    tokens = ClusterToken(clock=clock)

    def create_app(name: str) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / name))
        app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET=SECRET)
        tokens.init_app(app)
        add_views(app, tokens)
        return app

    one, other = create_app("one"), create_app("other")
    client = one.test_client()
    client.post("/login/alice")
    text = client.get_cookie(COOKIE, path="/")

    assert text is not None
    assert client.get("/me").json == {"subject": "alice", "kind": "login"}
    assert other.test_client().get("/me", headers=cookie(text.value)).status_code == 401
    for app in (one, other):
        state_of(app).authority.close()


def test_the_extension_keeps_no_app(clock: ManualClock, tmp_path: Path) -> None:
    """An app that nobody uses any more is gone, although its ClusterToken lives on."""
    tokens = ClusterToken(clock=clock)
    app = Flask("short-lived", instance_path=str(tmp_path))
    app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_SECRET=SECRET)
    tokens.init_app(app)
    gone = weakref.ref(app)

    del app
    gc.collect()

    assert gone() is None


def test_init_app_twice_is_an_error(make_app: MakeApp) -> None:
    """A second ClusterToken on one app is refused: two would judge each request."""
    app, tokens = make_app()

    with pytest.raises(ConfigurationError, match="already"):
        tokens.init_app(app)
    with pytest.raises(ConfigurationError, match="already"):
        ClusterToken(app)


def test_an_app_without_the_extension_says_so() -> None:
    """Whoever forgets init_app is told, in one sentence."""
    app = Flask("bare")
    tokens = ClusterToken()

    with app.app_context(), pytest.raises(RuntimeError, match="init_app"):
        tokens.readiness()


def test_importing_and_making_an_app_opens_nothing(make_app: MakeApp) -> None:
    """Before the first look there is no call to the store and no thread."""
    threads = threading.active_count()
    app, _ = make_app()
    store = watch(app)

    assert app.test_client().get("/public").status_code == 200
    assert not store.calls
    assert threading.active_count() == threads


def test_the_store_in_memory_starts_no_thread(make_app: MakeApp) -> None:
    """Tests with ``memory:`` have no thread beside them, also after a login."""
    threads = threading.active_count()
    app, _ = make_app()
    client = app.test_client()

    client.post("/login/alice")

    assert client.get("/me").status_code == 200
    assert threading.active_count() == threads


def test_two_apps_under_one_dispatcher_do_not_meddle(make_app: MakeApp) -> None:
    """Each of two mounted apps judges its own cookie, and neither touches the other's."""
    root, _ = make_app("root", COOKIE_NAME="root")
    mounted, _ = make_app("mounted", COOKIE_NAME="mounted")
    client = Client(DispatcherMiddleware(root, {"/sub": mounted}))

    client.post("/login/alice")
    client.post("/sub/login/bob")

    assert client.get("/me").json["subject"] == "alice"  # type: ignore[index]
    assert client.get("/sub/me").json["subject"] == "bob"  # type: ignore[index]
    client.post("/logout")
    assert client.get("/me").status_code == 401
    assert client.get("/sub/me").status_code == 200


def test_an_app_mounted_inside_another_judges_for_itself(make_app: MakeApp) -> None:
    """An app inside the other's middleware has its own request token, the outer stays unread."""
    outer, _ = make_app("outer")
    inner, _ = make_app("inner", COOKIE_NAME="inner")
    middleware = state_of(outer).middleware
    middleware.wsgi_app = DispatcherMiddleware(middleware.wsgi_app, {"/inner": inner})
    store = watch(outer)

    response = outer.test_client().post("/inner/login/bob")

    assert texts_set(response, "__Host-inner")
    assert not texts_set(response)
    assert not store.calls


def test_two_apps_may_share_a_login(clock: ManualClock, tmp_path: Path) -> None:
    """Two deployments of one realm with one store: a login in one holds and ends in the other."""
    apps = []
    for deployment in ("qa", "production"):
        app = Flask(deployment, instance_path=str(tmp_path / deployment))
        app.config.update(
            CLUSTERTOKEN_STORE=f"directory:{tmp_path}/shared",
            CLUSTERTOKEN_SECRET=SECRET,
            CLUSTERTOKEN_DEPLOYMENT=deployment,
        )
        tokens = ClusterToken(app)
        add_views(app, tokens)
        apps.append(app)
    qa, production = apps
    text = login_text(qa)

    assert production.test_client().get("/me", headers=cookie(text)).status_code == 200
    assert production.test_client().post("/logout", headers=cookie(text)).status_code == 200
    assert qa.test_client().get("/me", headers=cookie(text)).status_code == 401
    for app in apps:
        state_of(app).authority.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LIFETIME", "a week"),
        ("LIFETIME", 0),
        ("RENEW_AFTER", 8 * 86_400),
        ("COOKIE_SECURE", "yes"),
        ("TOKEN_STORE", "both"),
        ("STORE", "nowhere:"),
        ("SECRET", "short"),
        ("TRUSTED_ORIGINS", ["https://app.example/path"]),
        ("COOKIE_SAMESITE", "lax"),
        ("COOKIE_NAME", "a b"),
        ("WHEN_STALE", "hope"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(make_app: MakeApp, key: str, value: Any) -> None:
    """The error names the key that is wrong, as it was written."""
    with pytest.raises(ConfigurationError, match=f"CLUSTERTOKEN_{key}"):
        make_app(**{key: value})


def test_an_unknown_setting_stops_the_start_and_is_answered_by_the_likely_one(
    make_app: MakeApp,
) -> None:
    """A misspelled key is named, and so is the one that was probably meant."""
    with pytest.raises(ConfigurationError, match=r"CLUSTERTOKEN_LIFETIM.*CLUSTERTOKEN_LIFETIME"):
        make_app(LIFETIM=60)


@pytest.mark.parametrize(
    "settings",
    [
        {"COOKIE_NAME": "__Host-x", "COOKIE_DOMAIN": "example.com"},
        {"COOKIE_NAME": "__host-x", "COOKIE_SECURE": False},
        {"COOKIE_NAME": "__secure-x", "COOKIE_SECURE": False},
        {"COOKIE_SAMESITE": "None", "COOKIE_SECURE": False},
        {"COOKIE_PARTITIONED": True, "COOKIE_SECURE": False},
    ],
)
def test_a_cookie_that_browsers_would_drop_stops_the_start(
    make_app: MakeApp, settings: dict[str, Any]
) -> None:
    """Name and attributes that contradict each other are an error, whatever the spelling."""
    with pytest.raises(ConfigurationError, match="COOKIE_"):
        make_app(**settings)


def test_durations_are_seconds_or_timedelta(make_app: MakeApp) -> None:
    """``3600`` and ``timedelta(hours=1)`` are the same."""
    one, _ = make_app("one", RENEW_AFTER=3600)
    other, _ = make_app("other", RENEW_AFTER=timedelta(hours=1))

    assert state_of(one).settings.renew_after == state_of(other).settings.renew_after == 3600


@pytest.mark.parametrize(
    "change", [{"CLUSTERTOKEN_LIFETIME": 3600}, {"CLUSTERTOKEN_LIFETIM": 1}], ids=["set", "new"]
)
def test_a_setting_changed_after_init_app_is_an_error(
    make_app: MakeApp, change: dict[str, Any]
) -> None:
    """What is set too late would be ignored without a word: the first request names it."""
    app, _ = make_app()
    app.config.update(change)

    for _ in range(2):
        with pytest.raises(ConfigurationError, match=next(iter(change))):
            app.test_client().get("/public")


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("TRUSTED_ORIGINS", ["https://a.example"], lambda one: one.append("https://b.example")),
        ("SECRET", [SECRET], lambda one: one.insert(0, "another secret, long enough as well")),
        ("STORE_OPTIONS", {"x": {"y": [1]}}, lambda one: one["x"]["y"].append(2)),
    ],
)
def test_a_setting_changed_in_place_is_an_error(
    monkeypatch: pytest.MonkeyPatch, make_app: MakeApp, key: str, value: Any, change: Any
) -> None:
    """The very list that was given is no longer the app's to write in."""
    if key == "STORE_OPTIONS":
        monkeypatch.setattr(
            "flask_clustertoken.cluster.runtime.open_store", lambda *a, **k: MemoryStore()
        )
    app, _ = make_app(**{key: value})
    change(value)

    with pytest.raises(ConfigurationError, match=f"CLUSTERTOKEN_{key}"):
        app.test_client().get("/public")


def test_settings_may_hold_what_cannot_be_copied(
    monkeypatch: pytest.MonkeyPatch, make_app: MakeApp
) -> None:
    """An option of a store may be any object, such as a TLS context or a lock."""
    monkeypatch.setattr(
        "flask_clustertoken.cluster.runtime.open_store", lambda *a, **k: MemoryStore()
    )
    app, _ = make_app(STORE_OPTIONS={"tls": {"lock": threading.Lock()}})

    assert app.test_client().get("/public").status_code == 200


def test_whoever_uses_the_settings_can_ask_whether_they_still_hold(make_app: MakeApp) -> None:
    """A command has no first request: it asks the app's state itself."""
    app, _ = make_app()
    given = state_of(app).given

    given.check(app)
    app.config["CLUSTERTOKEN_STORE"] = "directory:"
    with pytest.raises(ConfigurationError, match="CLUSTERTOKEN_STORE"):
        given.check(app)


def test_a_login_view_that_does_not_exist_is_an_error(make_app: MakeApp) -> None:
    """A wrong LOGIN_VIEW is told with the first request, not with the first logged-out user."""
    app, _ = make_app(LOGIN_VIEW="auth.sign_in")

    with pytest.raises(ConfigurationError, match=r"LOGIN_VIEW.*auth\.sign_in"):
        app.test_client().get("/public")


def test_flasks_own_environment_variables_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``FLASK_CLUSTERTOKEN_*`` reaches the extension through ``from_prefixed_env``, typed."""
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_STORE", "memory:")
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_SECRET", SECRET)
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_LIFETIME", "172800")
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_COOKIE_SECURE", "false")
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_TRUSTED_ORIGINS", '["https://a.example"]')
    app = Flask("env", instance_path=str(tmp_path))
    app.config.from_prefixed_env()

    ClusterToken(app)

    settings = state_of(app).settings
    assert (settings.lifetime, settings.cookie_secure) == (172_800, False)
    assert settings.trusted_origins == ("https://a.example",)
    assert settings.cookie.name == "clustertoken"


def test_a_wrong_environment_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``no`` is not JSON, so it stays a text, and a text is no bool."""
    monkeypatch.setenv("FLASK_CLUSTERTOKEN_COOKIE_SECURE", "no")
    app = Flask("env", instance_path=str(tmp_path))
    app.config.from_prefixed_env()

    with pytest.raises(ConfigurationError, match="CLUSTERTOKEN_COOKIE_SECURE"):
        ClusterToken(app)


def test_a_blueprint_is_guarded_by_its_before_request(make_app: MakeApp) -> None:
    """``require_token`` in a blueprint's hook protects its views and no others."""
    app, _ = make_app()
    admin = Blueprint("admin", "admin", url_prefix="/admin")

    @admin.before_request
    def only_with_scope() -> None:
        require_token(kind="api", scopes=["admin"])

    @admin.get("/")
    def index() -> str:
        return f"admin {current_token.subject}"

    app.register_blueprint(admin)
    client = app.test_client()

    assert client.get("/admin/").status_code == 401
    assert client.get("/admin/", headers=bearer(api_text(app))).status_code == 403
    right = client.get("/admin/", headers=bearer(api_text(app, "robot", "admin")))
    assert right.text == "admin robot"
    assert client.get("/maybe").text == "nobody"


def test_a_blueprint_is_guarded_by_a_protected_hook(make_app: MakeApp) -> None:
    """The decorator over a ``before_request`` protects what is behind; a preflight passes."""
    app, _ = make_app()
    admin = Blueprint("admin", "admin", url_prefix="/admin")

    @admin.before_request
    @token_required(scopes=["admin"])
    def admins_only() -> None:
        pass

    @admin.get("/")
    def index() -> str:
        return f"admin {current_token.subject}"

    app.register_blueprint(admin)
    client = app.test_client()

    assert client.get("/admin/").status_code == 401
    assert client.get("/admin/", headers=bearer(api_text(app))).status_code == 403
    assert client.get("/admin/", headers=cookie(login_text(app))).text == "admin alice"
    assert client.options("/admin/").status_code == 200


@pytest.mark.parametrize("whose", ["app", "blueprint"])
def test_require_token_as_a_hook_itself_is_an_error(make_app: MakeApp, whose: str) -> None:
    """Its token would be the response: the first request says so, also one of nobody's."""
    app, _ = make_app()
    blueprint = Blueprint("some", "some")
    (app if whose == "app" else blueprint).before_request(require_token)  # type: ignore[type-var]
    app.register_blueprint(blueprint)

    with pytest.raises(ConfigurationError, match="before_request"):
        app.test_client().get("/public")


def test_commands_are_there(make_app: MakeApp) -> None:
    """``flask tokens`` is a command of every app with the extension."""
    app, _ = make_app()

    assert "tokens" in app.cli.commands


def test_a_view_can_be_registered_by_hand(make_app: MakeApp) -> None:
    """``add_url_rule`` with a protected function keeps its name as the endpoint."""
    app, _ = make_app()

    @token_required
    def report() -> str:
        """The report."""
        return "report"

    app.add_url_rule("/report", view_func=report)

    assert report.__doc__ == "The report."
    assert "report" in app.view_functions
    assert app.test_client().get("/report").status_code == 401
