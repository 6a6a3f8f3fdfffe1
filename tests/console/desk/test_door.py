"""The console's door: who gets in, what it takes to change anything, and what it hands out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask_wtf.csrf import CSRFProtect

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.console import Console
from flask_clustertoken.errors import ConfigurationError
from tests.extension.parts import MakeApp, WatchedStore

from .parts import HTML, Desk, inline_in, make_desk


def addresses(app: Flask) -> list[tuple[str, str]]:
    """Every path of the console with each of its methods, files that it needs included."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/console"):
            path = rule.rule.replace("<path:filename>", "clustertoken.css")
            found += [(path, method) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return found


CHANGING = [
    ("/tokens/end", {"subject": "bob"}),
    ("/tokens/new", {"subject": "bob", "name": "ci", "days": "30"}),
    ("/locks/set", {"what": "subject", "name": "bob", "ends": "0"}),
    ("/locks/lift", {"what": "subject", "name": "mallory"}),
    ("/keys/step", {"step": "stage"}),
    ("/files/delete", {"name": "a", "key": "b"}),
    ("/work", {"work": "x"}),
]


def test_an_app_does_not_start_where_nobody_said_who_gets_in(make_app: MakeApp) -> None:
    """Forgotten, it must not be everybody; and the message says what to write."""
    app, _ = make_app()
    for wrong in ({}, {"may": None}, {"may": "admin"}):
        with pytest.raises(ConfigurationError, match=r"may=lambda token") as told:
            Console(app, **wrong)  # type: ignore[arg-type]
        assert "may" in str(told.value)
    with pytest.raises(ConfigurationError, match="no path"):
        Console(app, may=lambda token: True, url_prefix="console")


def test_nobody_else_gets_in_at_any_address(memory: Desk) -> None:
    """An ordinary user, nobody, an administrator's API token: at every address, by each method."""
    bob = memory.browser("bob")
    nobody = memory.app.test_client()
    program = memory.authority.issue_api_token("admin", "ci", ["admin"]).text
    every = addresses(memory.app)
    assert len(every) > 18
    for path, method in every:
        asked: dict[str, Any] = {"method": method, "base_url": "https://localhost", "headers": HTML}
        assert bob.open(path, **asked).status_code == 403, (path, method)
        assert nobody.open(path, **asked).status_code == 401, (path, method)
        bearer = {**asked, "headers": {"Authorization": f"Bearer {program}"}}
        assert nobody.open(path, **bearer).status_code == 403, (path, method)
    assert {path for path, method in every if method == "POST"} == {
        f"/console{path}" for path, _ in CHANGING
    }


def test_what_another_site_sends_changes_nothing(memory: Desk) -> None:
    """By its Origin or by what the browser says of the page: 403, and bob is logged in."""
    bob = memory.browser("bob")
    keys = memory.authority.keys.held
    for path, form in CHANGING:
        for foreign in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
        ):
            answer = memory.admin.post(
                f"/console{path}", data=form, headers=foreign, base_url="https://localhost"
            )
            assert answer.status_code == 403, (path, foreign)
    assert memory.is_in(bob)
    assert memory.authority.keys.held == keys
    assert not [one for one in memory.authority.tokens() if one.kind == "api"]


def test_what_changes_anything_is_never_done_by_a_link(memory: Desk) -> None:
    """A GET of the same address shows what would be done, and does nothing."""
    bob = memory.browser("bob")
    for path, form in CHANGING:
        memory.get(path, **form)
    assert memory.is_in(bob)
    assert not [one for one in memory.authority.tokens() if one.kind == "api"]


def test_an_old_login_changes_nothing_until_the_password_was_asked_for(memory: Desk) -> None:
    """It still sees everything; the page that asks, and the act itself, want a fresh one."""
    bob = memory.browser("bob")
    memory.clock.advance(901)
    assert memory.get("/tokens", subject="bob").status_code == 200
    for path, form in CHANGING:
        for answer in (memory.post(path, **form), memory.get(path, **form)):
            if path == "/work" and answer.request.method == "GET":
                continue
            assert answer.status_code == 401, path
            assert "password again" in answer.text
    assert memory.is_in(bob)


def test_whoever_has_to_log_in_again_comes_back_to_the_question(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """With a login view: it is the page that asks which is come back to, and not lost."""
    desk = make_desk(make_app, clock, LOGIN_VIEW="log_in")
    desk.app.add_url_rule("/login", "log_in", lambda: "who are you?")
    clock.advance(901)
    answer = desk.get("/tokens/end", subject="bob", kind="login")
    assert answer.status_code == 302
    assert answer.headers["Location"] == (
        "/login?next=/console/tokens/end?subject%3Dbob%26kind%3Dlogin"
    )
    assert desk.post("/tokens/end", subject="bob").headers["Location"].startswith("/login")


def test_a_login_that_was_just_ended_changes_nothing(memory: Desk) -> None:
    """What changes anything asks the store itself."""
    bob = memory.browser("bob")
    memory.authority.revoke_subject("admin")
    assert memory.post("/tokens/end", subject="bob").status_code == 401
    assert memory.is_in(bob)


def test_what_changes_anything_asks_the_store_whether_the_login_stands(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """And what only shows something does not: this node's view knows it well enough."""
    desk = make_desk(make_app, clock, watched=True)
    desk.get("/tokens/new")
    desk.calls.clear()
    assert desk.get("/tokens/new").status_code == 200
    assert desk.calls["get_many"] + desk.calls["get"] == 0
    assert desk.post("/tokens/new").status_code == 400
    assert desk.calls["get_many"] + desk.calls["get"] == 1


PAGES = [
    ("/", {}),
    ("/people", {"q": "b"}),
    ("/tokens", {"subject": "bob"}),
    ("/tokens", {}),
    ("/tokens/end", {"subject": "bob"}),
    ("/tokens/end", {}),
    ("/tokens/new", {}),
    ("/api-tokens", {}),
    ("/locks", {}),
    ("/locks/new", {}),
    ("/locks/set", {"what": "everyone", "ends": "3600", "spared": "role:admin"}),
    ("/locks/lift", {"what": "subject", "name": "mallory"}),
    ("/keys", {}),
    ("/audit", {}),
    ("/audit", {"follow": "1"}),
    ("/revocations", {}),
    ("/revocations", {"follow": "1"}),
    ("/files", {}),
    ("/files/delete", {"name": "fonts", "key": "a.woff2"}),
]


@pytest.mark.parametrize(("path", "args"), PAGES)
def test_pages_hold_to_a_strict_policy(memory: Desk, path: str, args: dict[str, str]) -> None:
    """Nothing inline, nothing of elsewhere, kept by no cache; each page has its own title."""
    memory.browser("bob")
    memory.authority.issue_api_token("bob", "ci")
    memory.authority.files("fonts").put("a.woff2", b"x")
    memory.authority.revoke_subject("carol")
    memory.authority.locking.lock(subject="mallory", message="Please call the office.")
    memory.admin = memory.browser("admin", "role:admin")
    page = memory.get(path, **args)
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert inline_in(page.text) == []
    assert re.search(r"<title>\S.* – Console</title>", page.text)
    assert page.text.count("<h1>") == 1
    german = memory.admin.get(
        f"/console{path}",
        query_string=args,
        headers={**HTML, "Accept-Language": "de"},
        base_url="https://localhost",
    )
    assert '<html lang="de"' in german.text
    assert german.text != page.text


def test_a_page_that_asks_by_itself_keeps_no_login_alive(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """Somebody's screen in the corner is no use of the login."""
    desk = make_desk(make_app, clock, RENEW_AFTER=60, LIFETIME=3600)
    clock.advance(120)
    again = desk.get("/audit", follow="1", again="1")
    assert again.status_code == 200
    assert "Set-Cookie" not in again.headers
    assert "Set-Cookie" in desk.get("/audit").headers


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("/tokens", {"after": "../x"}),
        ("/tokens", {"subject": "x" * 2000}),
        ("/tokens", {"id": "nonsense"}),
        ("/tokens/end", {"id": ["A" * 24] * 1 + ["B" * 23]}),
        ("/people", {"q": "x" * 2000}),
        ("/people", {"after": "zzz"}),
        ("/audit", {"before": "x"}),
        ("/revocations", {"before": "x"}),
        ("/revocations", {"before": "9" * 19}),
        ("/revocations", {"before": "9" * 400}),
        ("/files", {"page": "x"}),
        ("/keys/step", {"step": "x"}),
        ("/locks", {"page": "x"}),
        ("/locks/set", {"what": "x", "ends": "0"}),
        ("/locks/set", {"what": "subject", "name": "", "ends": "0"}),
        ("/locks/set", {"what": "everyone", "name": "bob", "ends": "0", "spared": "role:admin"}),
        ("/locks/set", {"what": "subject", "name": "x" * 2000, "ends": "0"}),
        ("/locks/set", {"what": "subject", "name": "bob", "ends": "-1"}),
        ("/locks/set", {"what": "subject", "name": "bob", "ends": "0", "message": "x" * 501}),
        ("/locks/lift", {"what": "x"}),
    ],
)
def test_nonsense_in_an_address_is_a_page_that_says_so(
    memory: Desk, path: str, args: dict[str, Any]
) -> None:
    answer = memory.get(path, **args)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


def test_what_is_not_there_is_a_page_that_says_so(memory: Desk) -> None:
    assert memory.get("/work", work="x").status_code == 404
    assert memory.get("/files/get", name="a", key="b").status_code == 404
    assert memory.get("/files/delete", name="", key="").status_code == 404
    assert memory.get("/locks/lift", what="subject", name="bob").status_code == 404
    assert memory.post("/locks/lift", what="subject", name="bob").status_code == 404


def test_each_form_has_the_field_of_the_apps_own_protection(memory: Desk) -> None:
    """With Flask-WTF's CSRFProtect a form without it is refused, and each of ours has it."""
    memory.app.secret_key = "of these tests"
    CSRFProtect(memory.app)
    memory.authority.files("a").put("b", b"x")
    memory.browser("bob")
    memory.authority.locking.lock(subject="mallory")
    for path, args in (
        ("/tokens/end", {"subject": "bob"}),
        ("/tokens/new", {}),
        ("/locks/set", {"what": "subject", "name": "bob", "ends": "0"}),
        ("/locks/lift", {"what": "subject", "name": "mallory"}),
        ("/keys/step", {"step": "stage"}),
        ("/files/delete", {"name": "a", "key": "b"}),
    ):
        page = memory.get(path, **args).text
        field = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert field, path
        assert memory.post(path, **args).status_code == 400
    shown = memory.admin.post(
        "/console/tokens/end",
        data={"subject": "bob", "csrf_token": field[1]},
        headers={**HTML, "Referer": "https://localhost/console/"},
        base_url="https://localhost",
    )
    assert shown.status_code == 303


def test_a_store_in_trouble_is_said_and_not_an_empty_list(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """503 for who cannot be judged, and never "nobody has a token"."""
    desk = make_desk(make_app, clock, watched=True)
    store = desk.authority.runtime.store
    assert isinstance(store, WatchedStore)
    store.cut_off()
    for path in (
        "/",
        "/people",
        "/tokens",
        "/api-tokens",
        "/keys",
        "/audit",
        "/revocations",
        "/files",
    ):
        answer = desk.get(path)
        assert answer.status_code == 503, path
        assert "Nobody has a token" not in answer.text
