"""Who is logged in where, and the end of it: what a list shows is what its button ends."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import RevokedMeanwhile
from flask_clustertoken.tokens import Token
from tests.extension.parts import MakeApp

from .parts import HTML, Desk, fill, fill_database, ids_in, make_desk, next_in, people_in

STRANGE = [
    "<script>alert(1)</script>",
    "../../x?y=1&z=%2e#a",
    "x" * 1000,
    "שלום עולם",
    "\u202egnp.exe",
    'O\'Brien "quoted" & co',
    "名前 😀",
]


def every_id(desk: Desk, path: str, **args: Any) -> list[str]:
    """What all pages of a list show."""
    page = desk.get(path, **args)
    found = ids_in(page.text)
    while more := next_in(page.text):
        page = desk.get(more)
        assert page.status_code == 200
        found += ids_in(page.text)
    return found


def form_of(page: str) -> dict[str, Any]:
    """What the page's form would send, without what is to be ticked."""
    fields: dict[str, Any] = {}
    form = page.partition('<form class="ct-stack" method="post"')[2].partition("</form>")[0]
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    return fields


@pytest.mark.parametrize("subject", STRANGE)
def test_whatever_people_are_called_they_are_found_and_ended(memory: Desk, subject: str) -> None:
    """By the exact name, at once; what they are called does nothing on the page."""
    browser = memory.browser(subject)
    page = memory.get("/people", q=subject)
    exact = page.text.partition('id="exact-list"')[2].partition("</ul>")[0]
    assert escape(subject, quote=False) in exact.replace("&#34;", '"').replace("&#39;", "'")
    assert "<script>alert" not in page.text
    listed = memory.get("/tokens", subject=subject)
    assert len(ids_in(listed.text)) == 1
    assert "<script>alert" not in listed.text
    asked = memory.get("/tokens/end", subject=subject, kind="login")
    assert "1 recorded token will end" in asked.text
    shown = memory.outcome(memory.post("/tokens/end", subject=subject, kind="login"))
    assert "In force on the one node" in shown
    assert "<script>alert" not in shown
    assert not memory.is_in(browser)
    assert "<script>alert" not in memory.get("/audit").text


def test_one_login_is_ended_and_the_others_stay(desk: Desk) -> None:
    """By its own button: the page that asks names it, and the one behind it says where it holds."""
    first, second = desk.browser("bob"), desk.browser("bob")
    program = desk.authority.issue_api_token("bob", "ci")
    page = desk.get("/tokens", subject="bob")
    assert len(ids_in(page.text)) == 3
    own_page = first.get("/me", base_url="https://localhost")
    assert own_page.status_code == 200
    (login, *_) = [one.id for one in desk.authority.tokens_of("bob") if one.kind == "login"]
    asked = desk.get("/tokens/end", id=login, ticked=1)
    assert "1 recorded token will end" in asked.text
    shown = desk.outcome(desk.post("/tokens/end", id=login, ticked="1"))
    assert "1 token ended." in shown
    assert "In force on the one node" in shown
    assert sorted([desk.is_in(first), desk.is_in(second)]) == [False, True]
    assert desk.authority.authenticate(program.text, "api")


def test_nothing_ticked_ends_nothing(memory: Desk) -> None:
    """And not everything: the form says that something was to be ticked."""
    bob = memory.browser("bob")
    asked = memory.get("/tokens/end", subject="bob", ticked=1)
    assert "0 recorded tokens will end" in asked.text
    assert "Nothing was left to end" in memory.outcome(
        memory.post("/tokens/end", subject="bob", ticked="1")
    )
    assert memory.is_in(bob)


def test_ones_own_login_is_not_among_them_unless_ticked(desk: Desk) -> None:
    """Of oneself, of everybody, of a label: the browser that asked stays in, and others do not."""
    for form in ({"subject": "admin"}, {}, {"prefix": "a"}):
        other, bob = desk.browser("admin"), desk.browser("bob")
        page = desk.get("/tokens", **form)
        assert "Your own login here is not among them" in page.text
        own = desk.authority.tokens_of("admin")
        assert len(list(own)) == 2
        asked = desk.get("/tokens/end", **form)
        assert 'name="own"' in asked.text
        shown = desk.outcome(desk.post("/tokens/end", **form_of(asked.text)))
        assert "In force" in shown
        assert desk.is_in(desk.admin)
        assert not desk.is_in(other)
        assert desk.is_in(bob) == ("prefix" in form or "subject" in form)
    ticked = desk.post("/tokens/end", everybody="1", own="1")
    assert ticked.status_code == 303
    assert not desk.is_in(desk.admin)


UNREADABLE: list[dict[str, Any]] = [
    {},
    {"json": {"subject": "bob"}},
    {"data": "subject=bob", "content_type": "text/plain"},
    {"query_string": {"subject": "bob"}},
    {"query_string": {"subject": "bob"}, "data": {"everybody": "1"}},
    {"data": {"sub": "bob"}},
    {"data": {"sub": "bob", "everybody": "1"}},
    {"data": {"subject": ""}},
    {"data": {"kind": "api"}},
    {"data": {"own": "1"}},
    {"data": {"everybody": "0"}},
    {"data": {"subject": "bob", "kind": "logins"}},
    {"data": {"subject": "bob", "kind": ["login", "x"]}},
    {"data": {"subject": "bob", "everybody": "1"}},
    {"data": {"subject": "bob", "ticked": "1", "everybody": "1"}},
]


@pytest.mark.parametrize("sent", UNREADABLE)
def test_a_form_that_does_not_say_whose_tokens_end_ends_nobodys(
    memory: Desk, sent: dict[str, Any]
) -> None:
    """What cannot be read, is mistyped or stands elsewhere is no way of saying everybody."""
    browsers = [memory.browser("bob"), memory.browser("admin"), memory.admin]
    program = memory.authority.issue_api_token("bob", "ci")
    answer = memory.admin.post(
        "/console/tokens/end", headers=HTML, base_url="https://localhost", **sent
    )
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert all(memory.is_in(one) for one in browsers)
    assert memory.authority.authenticate(program.text, "api")
    assert memory.authority.history.newest().revoked == ()


@pytest.mark.parametrize("kinds", [["login"], ["api"], ["login", "api"], []])
def test_everybodys_tokens_end_by_the_form_of_the_page_that_asks(
    memory: Desk, kinds: list[str]
) -> None:
    """It says so in a field of its own, and which kinds; fields of an app's protection pass."""
    bob = memory.browser("bob")
    program = memory.authority.issue_api_token("bob", "ci")
    form = form_of(memory.get("/tokens/end", kind=kinds).text)
    assert form["everybody"] == ["1"]
    memory.outcome(memory.post("/tokens/end", **form, _csrf_token="x"))
    assert memory.is_in(memory.admin)
    assert memory.is_in(bob) == (kinds == ["api"])
    lives = isinstance(memory.authority.authenticate(program.text, "api"), Token)
    assert lives == (kinds == ["login"])
    assert "everybody" not in form_of(memory.get("/tokens/end", subject="bob").text)


def test_a_label_ends_all_logins_that_have_it(memory: Desk) -> None:
    with memory.app.test_request_context():
        marked = memory.authority.issue_login("bob", labels=["sso:1"]).token
        memory.authority.issue_login("bob")
    listed = memory.get("/tokens", label="sso:1")
    assert ids_in(listed.text) == [marked.id]
    memory.outcome(memory.post("/tokens/end", label="sso:1"))
    assert [one.id for one in memory.authority.tokens_of("bob")] != [marked.id]
    assert len(list(memory.authority.tokens_of("bob"))) == 1


@pytest.mark.parametrize("store", ["session", "cookie"])
def test_by_a_label_that_ones_own_login_has_it_ends_too_and_that_has_to_be_ticked(
    make_app: MakeApp, clock: ManualClock, store: str
) -> None:
    """A login behind the mark would be covered again: so it is said, and never done halfway."""
    desk = make_desk(make_app, clock, TOKEN_STORE=store)
    desk.admin, bob = desk.browser("admin", "sso:1"), desk.browser("bob", "sso:1")
    said = "By this label your own login here ends as well"
    asked = desk.get("/tokens/end", label="sso:1")
    assert said in asked.text
    assert re.search(r'name="own" value="1" required', asked.text)
    assert "that are made later end as well" in asked.text
    form = form_of(asked.text)
    assert "own" not in form
    for sent in (form, {**form, "kind": "login"}):
        refused = desk.post("/tokens/end", **sent)
        assert refused.status_code == 400
        assert said in refused.text
        assert 'role="alert"' in refused.text
    assert desk.is_in(desk.admin)
    assert desk.is_in(bob)

    assert desk.post("/tokens/end", **form, own="1").status_code == 303
    assert not desk.is_in(desk.admin)
    assert not desk.is_in(bob)
    with pytest.raises(RevokedMeanwhile):
        desk.authority.issue_login("carol", labels=["sso:1"])

    # With more said than the label it is one by one, and one's own login can stay.
    desk.admin, other = desk.browser("admin", "sso:2"), desk.browser("admin", "sso:2")
    asked = desk.get("/tokens/end", label="sso:2", subject="admin")
    assert said not in asked.text
    desk.outcome(desk.post("/tokens/end", **form_of(asked.text)))
    assert desk.is_in(desk.admin)
    assert desk.is_in(other) == (store == "cookie")


FILTERS: list[dict[str, Any]] = [
    {"subject": "bob"},
    {"subject": "bob", "kind": "login"},
    {"subject": "bob", "kind": "api"},
    {"prefix": "bo"},
    {"prefix": "bo", "kind": "api"},
    {"label": "sso:1"},
    {"label": "sso:1", "subject": "bo"},
    {"kind": "login"},
    {"kind": "api"},
    {"subject": "admin"},
    {"subject": "admin", "own": "1"},
    {},
]


@pytest.mark.parametrize("args", FILTERS)
def test_what_is_listed_is_what_the_button_ends(memory: Desk, args: dict[str, Any]) -> None:
    """Exactly, over all pages of the list; the page that asks says the same number."""
    made: dict[str, tuple[str, str]] = {}

    def make(subject: str, count: int, **more: Any) -> None:
        for _ in range(count):
            issued = memory.authority.issue_login(subject, **more)
            made[issued.token.id] = (issued.text, "login")

    with memory.app.test_request_context():
        make("bob", 60)
        make("bo", 3, labels=["sso:1"])
        make("admin", 2)
        make("carol", 2, labels=["sso:1"])
        for subject in ("bob", "bo", "admin"):
            issued = memory.authority.issue_api_token(subject, "ci")
            made[issued.token.id] = (issued.text, "api")
    listed = every_id(memory, "/tokens", **args)
    assert len(set(listed)) == len(listed)
    asked = memory.get("/tokens/end", **args)
    assert f"{len(listed)} recorded token" in asked.text
    answer = memory.post("/tokens/end", **form_of(asked.text))
    if "own" not in args:
        memory.outcome(answer)
    over = {
        token_id
        for token_id, (text, kind) in made.items()
        if not memory.authority.authenticate(text, kind)  # type: ignore[arg-type]
    }
    assert over == set(listed) & set(made)
    assert memory.is_in(memory.admin) == ("own" not in args)


def test_a_page_whose_tokens_vanish_is_no_error(desk: Desk) -> None:
    """Neither in the list, nor where it is asked, nor where it is done; nothing else ends."""
    with desk.app.test_request_context():
        for _ in range(120):
            desk.authority.issue_login("bob")
    kept = desk.browser("carol")
    first = desk.get("/tokens", subject="bob")
    more = next_in(first.text)
    shown = ids_in(first.text)
    assert len(shown) == 50
    desk.authority.revoke_subject("bob")
    second = desk.get(more)
    assert second.status_code == 200
    assert ids_in(second.text) == []
    assert "There are none" in second.text
    asked = desk.get("/tokens/end", id=shown, ticked=1)
    assert "0 recorded tokens" in asked.text
    done = desk.outcome(desk.post("/tokens/end", id=shown, ticked="1"))
    assert "0 tokens ended" in done
    assert desk.is_in(kept)


def test_many_are_ended_one_by_one_in_the_background(desk: Desk) -> None:
    """By a beginning of names there is no one entry: hundreds go in steps, and it is counted."""
    made = fill(desk.authority, (f"x{number % 7}" for number in range(10_000)), 950)
    kept = desk.browser("bob")
    asked = desk.get("/tokens/end", prefix="x")
    assert "950 recorded tokens will end" in asked.text
    shown = desk.outcome(desk.post("/tokens/end", prefix="x"))
    assert "950 tokens ended." in shown
    assert desk.is_in(kept)
    left = {one.id for one in desk.authority.tokens()}
    assert not left & {one.id for one in made}
    # Few entries of the feed, not one a token.
    revoked = desk.authority.history.newest().revoked
    assert sum(one.kind == "ids" for one in revoked) <= 20


def test_a_hundred_thousand_are_listed_by_small_steps(
    make_app: MakeApp, clock: ManualClock, tmp_path: Path
) -> None:
    """A person at once; a beginning by pages, each of which asks the store a few times."""
    desk = make_desk(make_app, clock, watched=True, STORE=f"directory://{tmp_path}/shared")
    names = (f"person-{number:06}" for number in range(100_000))
    fill_database(desk.authority, tmp_path / "shared" / "default.sqlite3", names)
    desk.get("/")
    desk.calls.clear()
    page = desk.get("/people", q="person-031415")
    assert 'id="exact-list"' in page.text
    assert sum(desk.calls.values()) < 60
    desk.calls.clear()
    page = desk.get("/tokens", subject="person-031415")
    assert len(ids_in(page.text)) == 1
    assert sum(desk.calls.values()) <= 12
    desk.calls.clear()
    page = desk.get("/tokens")
    assert len(ids_in(page.text)) == 50
    assert desk.calls["scan"] <= 2

    found: list[str] = []
    path, args = "/people", {"q": "person-0000"}
    pages = 0
    while True:
        desk.calls.clear()
        page = desk.get(path, **args)
        assert desk.calls["scan"] <= 45, pages
        found += people_in(page.text)
        pages += 1
        path, args = next_in(page.text), {}
        if not path:
            break
        assert "<progress" in page.text
    assert sorted(found) == [f"person-{number:06}" for number in range(100)]
    assert pages <= 8


def test_with_the_token_store_cookie_it_is_said_what_cannot_be_listed(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """Lists show API tokens; a person, and everybody, can be logged out all the same."""
    desk = make_desk(make_app, clock, TOKEN_STORE="cookie")
    bob, carol = desk.browser("bob"), desk.browser("carol")
    desk.authority.issue_api_token("bob", "ci")
    for path, args in (
        ("/", {}),
        ("/people", {"q": "bob"}),
        ("/tokens", {"subject": "bob"}),
        ("/tokens/end", {"subject": "bob", "kind": "login"}),
    ):
        assert "Logins are not recorded here" in desk.get(path, **args).text, path
    assert len(ids_in(desk.get("/tokens", subject="bob").text)) == 1
    assert "End what this name may have" in desk.get("/people", q="carol").text
    desk.outcome(desk.post("/tokens/end", subject="bob", kind="login"))
    assert not desk.is_in(bob)
    assert desk.is_in(carol)
    desk.outcome(desk.post("/tokens/end", everybody="1", kind="login"))
    assert not desk.is_in(carol)
    assert desk.is_in(desk.admin)


@pytest.mark.parametrize("args", [{"prefix": "bo"}, {"subject": "bob", "label": "sso:1"}])
def test_where_logins_are_not_recorded_it_is_said_that_a_narrow_filter_ends_none(
    make_app: MakeApp, clock: ManualClock, args: dict[str, str]
) -> None:
    """Before and afterwards, and by what they can be ended; never that there were none."""
    desk = make_desk(make_app, clock, TOKEN_STORE="cookie")
    bob = desk.browser("bob", "sso:1")
    said = "so that by this none of them ends. They can be ended by exact person, by label"
    asked = desk.get("/tokens/end", **args)
    assert said in asked.text
    shown = desk.outcome(desk.post("/tokens/end", **form_of(asked.text)))
    assert said in shown
    assert "No API token was left to end." in shown
    assert "Nothing was left to end" not in shown
    assert desk.is_in(bob)

    shown = desk.outcome(desk.post("/tokens/end", **args, kind="login"))
    assert said in shown
    assert "left to end" not in shown

    # (A label is only a login's.)
    desk.authority.issue_api_token("bob", "ci")
    if "prefix" in args:
        shown = desk.outcome(desk.post("/tokens/end", **args))
        assert "1 token ended." in shown
        assert said in shown
    asked = desk.get("/tokens/end", **args, kind="api")
    assert said not in asked.text
    shown = desk.outcome(desk.post("/tokens/end", **args, kind="api"))
    assert said not in shown
    assert "Nothing was left to end" in shown


def test_a_search_that_finds_nothing_yet_goes_on_by_itself(
    make_app: MakeApp, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a script: the page asks again, shows how far it is, and stops where it finds one."""
    from flask_clustertoken.authority import selecting

    monkeypatch.setattr(selecting, "CALLS", 1)
    for name in ("page", "people", "count"):
        function = getattr(selecting.Selecting, name)
        monkeypatch.setitem(function.__kwdefaults__, "calls", 1)
    desk = make_desk(make_app, clock, STORE=f"directory://{tmp_path}/shared")
    fill(desk.authority, (f"person-{number:05}" for number in range(4000)), 4000)
    page = desk.get("/people", q="person-01234")
    refreshes = 0
    found = people_in(page.text)
    page = desk.get("/people", q="person-0123")
    while not (found := people_in(page.text)):
        target = re.search(r'http-equiv="refresh" content="\d+;url=/console([^"]*)"', page.text)
        assert target, page.text
        refreshes += 1
        page = desk.get(target[1].replace("&amp;", "&"))
    assert refreshes <= 5
    assert found[0].startswith("person-0123")
    assert parse_qs(urlsplit(next_in(page.text)).query).get("q", ["person-0123"]) == ["person-0123"]


def test_the_browser_of_somebody_ended_is_asked_to_log_in(memory: Desk) -> None:
    bob: FlaskClient = memory.browser("bob")
    memory.outcome(memory.post("/tokens/end", subject="bob"))
    assert bob.get("/me", headers=HTML, base_url="https://localhost").status_code == 401


@pytest.mark.parametrize("counted", ["9" * 4300, "-1", "x", ""])
def test_a_count_that_nobody_made_begins_anew(memory: Desk, counted: str) -> None:
    memory.browser("bob")
    page = memory.get("/tokens/end", subject="bob", after="000/" + "0" * 40, counted=counted)
    assert page.status_code == 200
    assert "1 recorded token will end" in page.text
