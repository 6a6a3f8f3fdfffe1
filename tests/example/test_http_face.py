"""The example's HTTP face: what scripts may rely on."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app.tokens import tokens

from .conftest import MakeApp, log_in

ALICE = {"username": "alice", "password": "alice"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_form_logs_in_with_a_redirect(client: FlaskClient) -> None:
    """A form gets 303 and the cookie; without HTTPS here, so without the Secure flag."""
    answer = client.post("/login", data={"username": "alice", "password": "alice"})

    assert (answer.status_code, answer.location) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("clustertoken=1.")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "Max-Age=" in cookie


def test_a_login_can_end_with_the_browser(client: FlaskClient) -> None:
    """Whoever ticks "forget me" gets a cookie without an end of its own."""
    form = {"username": "alice", "password": "alice", "forget": "1"}
    assert "Max-Age" not in client.post("/login", data=form).headers["Set-Cookie"]


def test_json_logs_in_with_200(client: FlaskClient) -> None:
    """A JSON body gets 200 and the cookie."""
    answer = client.post("/login", json={"username": "bob", "password": "bob"})

    assert answer.status_code == 200
    assert answer.json["subject"] == "bob"
    assert client.get("/api/me").json["subject"] == "bob"


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/devices", "/devices"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_a_login_leads_to_pages_of_this_site_only(
    client: FlaskClient, target: str, goes_to: str
) -> None:
    """``next`` is followed only within this origin."""
    form = {"username": "alice", "password": "alice", "next": target}
    assert client.post("/login", data=form).location == goes_to


@pytest.mark.parametrize("name", ["alice", "nobody", "", "alice\0", "é" * 500])
def test_a_wrong_password_is_401(client: FlaskClient, name: str) -> None:
    """Neither a wrong password nor an unknown name gets a cookie, as a form or as JSON."""
    given = {"username": name, "password": "wrong"}
    for answer in (client.post("/login", json=given), client.post("/login", data=given)):
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers


def test_me_has_the_promised_fields(client: FlaskClient) -> None:
    """Who one is, until when, and which worker says so; times are whole seconds."""
    log_in(client)
    me = client.get("/api/me").json

    assert set(me) == {"subject", "kind", "token_id", "issued_at", "expires_at", "node"}
    assert (me["subject"], me["kind"]) == ("alice", "login")
    assert me["node"] == {"name": "here", "pid": os.getpid()}
    assert isinstance(me["issued_at"], int)
    assert isinstance(me["expires_at"], int)


@pytest.mark.parametrize("headers", [{}, HTML], ids=["program", "browser"])
def test_me_without_a_login_is_401_and_says_why(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    """The API answers JSON to anybody: 401 with ``error`` and ``reason``."""
    answer = client.get("/api/me", headers=headers)
    assert answer.status_code == 401
    assert (answer.json["error"], answer.json["reason"]) == ("unauthorized", "missing")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    log_in(client)
    cookie = client.get_cookie("clustertoken")
    assert cookie is not None
    client.post("/logout")
    client.set_cookie("clustertoken", cookie.value)
    assert client.get("/api/me", headers=headers).json["reason"] == "revoked"


def test_logging_out_clears_the_cookie(client: FlaskClient) -> None:
    """200 for a program, 303 for a form, and harmless for somebody who is not logged in."""
    log_in(client)
    answer = client.post("/logout")
    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert client.post("/logout").status_code == 200
    assert client.post("/logout", headers=HTML).status_code == 303


def test_logging_out_everywhere_ends_all_logins(app: Flask) -> None:
    """And with ``keep`` all but this browser's."""
    one, two = app.test_client(), app.test_client()
    log_in(one)
    log_in(two)
    kept = one.post("/logout-everywhere", json={"keep": True})
    assert kept.json["confirmed"] is True
    assert one.get("/api/me").status_code == 200
    assert two.get("/api/me").status_code == 401

    log_in(two)
    assert one.post("/logout-everywhere").status_code == 200
    assert one.get("/api/me").status_code == 401
    assert two.get("/api/me").status_code == 401
    assert two.post("/logout-everywhere").status_code == 401


def test_api_tokens_are_made_shown_once_and_ended(client: FlaskClient) -> None:
    """The text comes with the answer that made it and never again."""
    log_in(client)
    made = client.post("/api/tokens", json={"name": "robot", "scopes": ["read"]})
    text, token = made.json["text"], made.json["token"]
    bearer = {"Authorization": f"Bearer {text}"}
    robot = client.application.test_client()

    assert made.status_code == 201
    assert text.startswith("ctk_")
    assert (token["name"], token["scopes"], token["created_by"]) == ("robot", ["read"], "alice")
    assert token["expires_at"] is None
    assert robot.get("/api/me", headers=bearer).json["kind"] == "api"
    listed = client.get("/api/tokens")
    assert listed.json["recorded"] is True
    assert {one["kind"] for one in listed.json["tokens"]} == {"login", "api"}
    assert text not in listed.text

    refused = robot.post("/api/tokens", headers=bearer, json={"name": "another"})
    assert refused.status_code == 403
    assert client.delete(f"/api/tokens/{token['id']}").status_code == 200
    assert robot.get("/api/me", headers=bearer).status_code == 401


def test_an_api_token_ends_itself_and_others_only_with_the_scope(client: FlaskClient) -> None:
    """Scopes limit what an API token may end."""
    log_in(client)
    login_id = client.get("/api/me").json["token_id"]
    robot = client.application.test_client()
    for scopes, status in (([], 403), (["tokens"], 200)):
        made = client.post("/api/tokens", json={"name": "robot", "scopes": scopes}).json
        bearer = {"Authorization": f"Bearer {made['text']}"}
        assert robot.delete(f"/api/tokens/{login_id}", headers=bearer).status_code == status
        assert robot.delete(f"/api/tokens/{made['token']['id']}", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        [],
        {},
        {"name": ""},
        {"name": 3},
        {"name": "x" * 81},
        {"name": "a\nb"},
        {"name": "\ud800"},
        {"name": "x", "scopes": "read"},
        {"name": "x", "scopes": [1]},
        {"name": "x", "scopes": ["two words"]},
        {"name": "x", "scopes": ['quo"ted']},
        {"name": "x", "scopes": ["back\\slash"]},
        {"name": "x", "scopes": ["x"] * 21},
    ],
)
def test_an_odd_api_token_is_not_made(client: FlaskClient, given: object) -> None:
    """400 for what is no name or no list of scopes."""
    log_in(client)
    assert client.post("/api/tokens", json=given).status_code == 400


def test_only_ones_own_tokens_end_unless_one_is_admin(app: Flask) -> None:
    """Another's token is not found; an admin may end any."""
    alice, bob, admin = (app.test_client() for _ in range(3))
    for client, name in ((alice, "alice"), (bob, "bob"), (admin, "admin")):
        log_in(client, name)
    token_id = alice.get("/api/me").json["token_id"]

    assert bob.delete(f"/api/tokens/{token_id}").status_code == 404
    assert alice.get("/api/me").status_code == 200
    assert admin.delete(f"/api/tokens/{token_id}").status_code == 200
    assert alice.get("/api/me").status_code == 401
    assert admin.delete("/api/tokens/nonsense").status_code == 404


def test_only_an_admin_logs_others_out(app: Flask) -> None:
    """``/api/subjects/<s>/logout`` is 403 for the others and 401 for nobody."""
    alice, admin = app.test_client(), app.test_client()
    assert alice.post("/api/subjects/bob/logout").status_code == 401
    log_in(alice)
    log_in(admin, "admin")

    assert alice.post("/api/subjects/bob/logout").status_code == 403
    assert alice.get("/people", headers=HTML).status_code == 403
    assert admin.post("/api/subjects/nobody/logout").status_code == 404
    answer = admin.post("/api/subjects/alice/logout")
    assert (answer.status_code, answer.json["confirmed"]) == (200, True)
    assert alice.get("/api/me").status_code == 401


def test_nobody_looks_at_a_token_on_the_public_page(client: FlaskClient) -> None:
    """``/public`` and ``/healthz`` set no cookie and no ``Vary``, whatever comes with them."""
    client.set_cookie("clustertoken", "garbage")
    for path in ("/public", "/healthz"):
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 200
        assert "Vary" not in answer.headers
        assert "Set-Cookie" not in answer.headers


def test_readyz_says_whether_this_worker_is_fresh(client: FlaskClient) -> None:
    """Four fields, and 200 while the store can be asked."""
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.json) == {"store", "fresh", "staleness_seconds", "applied"}
    assert answer.json["fresh"] is True


def test_readyz_is_503_where_the_store_is_gone(make_app: MakeApp, tmp_path: Path) -> None:
    """A store that cannot be opened leaves the process alive and not ready; cookies are kept."""
    blocked = tmp_path / "blocked"
    (blocked / "default.head").mkdir(parents=True)
    client = make_app(STORE=f"directory://{blocked}").test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json["fresh"] is False
    assert client.get("/healthz").status_code == 200
    assert client.get("/public", headers=HTML).status_code == 200
    assert client.post("/login", json={"username": "bob", "password": "bob"}).status_code == 503


def test_a_stale_worker_asks_kindly_for_patience(make_app: MakeApp, tmp_path: Path) -> None:
    """Pages are a 503 that says so, the cookie stays, and the login is there again afterwards."""
    app = make_app()
    client = app.test_client()
    log_in(client)
    follower = app.extensions["clustertoken"].authority.follower()
    shared = tmp_path / "instance" / "shared"
    shared.rename(shared.with_name("elsewhere"))
    follower.lease_end = float("-inf")
    for path in ("/", "/devices", "/tokens"):
        page = client.get(path, headers=HTML)
        assert page.status_code == 503
        assert "nothing is lost" in page.text
        assert "Set-Cookie" not in page.headers
        assert int(page.headers["Retry-After"]) > 0
    assert client.get("/api/me").json["reason"] == "stale"

    shared.with_name("elsewhere").rename(shared)
    follower.step()
    assert client.get("/", headers=HTML).status_code == 200


def test_pages_of_other_origins_press_no_button(client: FlaskClient) -> None:
    """A form that another site sends with the visitor's cookie does nothing."""
    log_in(client)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/logout-everywhere", "/tokens", "/devices/x/end", "/logout"):
            assert client.post(path, data={"name": "x"}, headers=headers).status_code == 403
    assert client.get("/api/me").status_code == 200
    assert len(client.get("/api/tokens").json["tokens"]) == 1


def test_another_site_logs_nobody_in(client: FlaskClient) -> None:
    """Nor does a foreign form log a visitor without a cookie in as somebody else."""
    form = {"username": "bob", "password": "bob"}
    answer = client.post("/login", data=form, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_pages_carry_no_script_and_forbid_it(client: FlaskClient) -> None:
    """Everything works without scripts, and the policy allows none but the library's own file."""
    log_in(client, "admin")
    client.get("/pages/sliding")
    for path in ("/", "/devices", "/tokens", "/people", "/pages/sliding", "/nowhere"):
        page = client.get(path, headers=HTML)
        own = path in ("/devices", "/tokens")
        assert re.findall("<script[^>]*>", page.text)[own:] == []
        assert "script-src 'self';" in page.headers["Content-Security-Policy"] or not own
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_recently_viewed_pages_are_few_and_newest_first(client: FlaskClient) -> None:
    """A page that is opened again moves up; the list has an end."""
    log_in(client)
    for slug in ("everywhere", "sliding", "revoked", "unsure", "sliding", "everywhere"):
        assert client.get(f"/pages/{slug}", headers=HTML).status_code == 200
    pages = [one["page"] for one in client.get("/api/recent").json["recent"]]
    assert pages == ["everywhere", "sliding", "unsure", "revoked"]
    assert client.get("/pages/none", headers=HTML).status_code == 404


def test_with_the_token_store_cookie_logins_are_not_recorded(make_app: MakeApp) -> None:
    """The list says so and shows API tokens only; ending one's own login works all the same."""
    client = make_app(TOKEN_STORE="cookie").test_client()
    log_in(client)
    client.post("/api/tokens", json={"name": "robot"})
    listed = client.get("/api/tokens").json
    assert listed["recorded"] is False
    assert [one["kind"] for one in listed["tokens"]] == ["api"]
    assert "not recorded" in client.get("/devices", headers=HTML).text
    own = client.get("/api/me").json["token_id"]
    assert client.delete(f"/api/tokens/{own}").status_code == 200
    assert client.get("/api/me").status_code == 401


def test_the_form_for_api_tokens_shows_the_text_once(client: FlaskClient) -> None:
    """The page that made it is kept by no cache; the next one has the name only."""
    log_in(client)
    page = client.post("/tokens", data={"name": "robot", "scopes": "read, write"}, headers=HTML)
    assert page.status_code == 201
    assert page.headers["Cache-Control"] == "no-store"
    assert "ctk_1." in page.text
    again = client.get("/tokens", headers=HTML)
    assert "ctk_1." not in again.text
    assert "robot" in again.text


def test_the_instance_folder_is_nobody_elses(app: Flask, client: FlaskClient) -> None:
    """Made by the example, it can be entered by its owner only."""
    log_in(client)
    assert stat.S_IMODE(Path(app.instance_path).stat().st_mode) == 0o700


def test_an_api_token_of_nobody_with_an_account_is_no_admin(app: Flask) -> None:
    """The command line makes API tokens for any subject; such a one is refused, not an error."""
    with app.app_context():
        issued = tokens.issue_api_token("carol", "robot", ["admin"])
    headers = {"Authorization": f"Bearer {issued.text}"}

    assert app.test_client().post("/api/subjects/alice/logout", headers=headers).status_code == 403
    with app.test_client() as client:
        with app.test_request_context():
            text = app.extensions["clustertoken"].authority.issue_login("carol").text
        client.set_cookie("clustertoken", text)
        assert client.get("/people", headers=HTML).status_code == 403


def test_the_answer_with_a_new_text_is_kept_by_no_cache(client: FlaskClient) -> None:
    """It is the only place where the text of an API token ever stands."""
    log_in(client)
    made = client.post("/api/tokens", json={"name": "robot"})
    assert made.headers["Cache-Control"] == "no-store"


def test_ending_this_device_is_logging_out(app: Flask) -> None:
    """The cookie goes, and the page after it is one for whoever is not logged in."""
    client, other = app.test_client(), app.test_client()
    log_in(client)
    log_in(other)
    mine, theirs = (one.get("/api/me").json["token_id"] for one in (client, other))

    assert client.post(f"/devices/{theirs}/end", headers=HTML).location == "/devices?said=ended"
    ended = client.post(f"/devices/{mine}/end", headers=HTML)

    assert (ended.status_code, ended.location) == (303, "/?said=logged-out")
    assert "Max-Age=0" in ended.headers["Set-Cookie"]
    assert other.get("/api/me").status_code == 401


def test_a_login_beyond_the_limit_says_so_on_the_login_page(make_app: MakeApp) -> None:
    """A form, with the name still in it; programs get JSON with a word of its own."""
    app = make_app(TOKEN_LIMIT=1, WHEN_LIMIT="refuse")
    log_in(app.test_client())

    page = app.test_client().post("/login", data=ALICE, headers=HTML)
    assert page.status_code == 403
    assert "as many devices as you may" in page.text
    assert 'value="alice"' in page.text
    assert app.test_client().post("/login", json=ALICE).json["error"] == "too_many_logins"


def test_who_is_locked_out_reads_why(app: Flask) -> None:
    """The lock's own message, to whoever has the password, and not that trying again helps."""
    with app.app_context():
        tokens.lock(subject="alice", message="Please <call> the office.")

    page = app.test_client().post("/login", data=ALICE, headers=HTML)
    assert page.status_code == 403
    assert "Please &lt;call&gt; the office." in page.text
    assert "Try again" not in page.text
    told = app.test_client().post("/login", json=ALICE)
    assert told.json == {"error": "locked", "message": "Please <call> the office."}
    wrong = app.test_client().post("/login", data={**ALICE, "password": "x"}, headers=HTML)
    assert (wrong.status_code, "office" in wrong.text) == (401, False)


def test_a_wrong_password_keeps_the_name(client: FlaskClient) -> None:
    """Only the password is to be typed again; what was typed is no markup."""
    page = client.post("/login", data={"username": 'a"<b>', "password": "x"}, headers=HTML)
    assert 'value="a&#34;&lt;b&gt;"' in page.text


def test_two_logins_of_one_browser_can_be_told_apart(app: Flask) -> None:
    """Each has its time and the end of its id."""
    client, other = app.test_client(), app.test_client()
    log_in(client)
    log_in(other)
    page = client.get("/devices", headers=HTML).text

    for one in (client, other):
        assert f"<code>…{one.get('/api/me').json['token_id'][-6:]}</code>" in page
    assert page.count(" UTC</time>") == 2


def test_every_class_that_a_page_names_has_a_style(app: Flask) -> None:
    """A class that nothing styles is a leftover, or a style that was forgotten."""
    root = Path(app.root_path)
    style = (root / "static" / "style.css").read_text()
    named = {
        word
        for page in (root / "templates").glob("*.html")
        for text in re.findall(r'class="([^"{]+)"', page.read_text())
        for word in text.split()
    }
    assert {word for word in named if not re.search(rf"\.{word}\b", style)} == set()
