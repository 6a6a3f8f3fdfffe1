"""Making and ending logins, and API tokens: what the browser is told and what the store knows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask, jsonify

from flask_clustertoken import ClusterToken, current_token, require_token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import RevokedMeanwhile, StoreUnavailable, ValueTooLarge
from flask_clustertoken.extension import state_of
from tests.extension.parts import (
    COOKIE,
    DAY,
    MakeApp,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    return build(make_app)


def build(make_app: MakeApp, **settings: Any) -> tuple[Flask, ClusterToken]:
    app, tokens = make_app(**settings)

    @app.post("/everywhere")
    def everywhere() -> Any:
        return jsonify(ended=tokens.logout_everywhere() is not None)

    @app.post("/elsewhere")
    def elsewhere() -> Any:
        return jsonify(ended=tokens.logout_everywhere(keep_current=True) is not None)

    @app.post("/session-login")
    def session_login() -> str:
        return tokens.login("alice", remember=False).id

    @app.post("/robots")
    def robots() -> str:
        return tokens.issue_api_token(require_token().subject, "robot").text

    return app, tokens


def accepted(app: Flask, text: str) -> bool:
    return app.test_client().get("/me", headers=cookie(text)).status_code == 200


def test_the_cookie_is_as_safe_as_it_can_be(site: tuple[Flask, ClusterToken]) -> None:
    """Set and cleared with the same attributes: Secure, HttpOnly, SameSite, for this host."""
    app, _ = site
    client = app.test_client()

    (made,) = client.post("/login/alice").headers.getlist("Set-Cookie")
    (ended,) = client.post("/logout").headers.getlist("Set-Cookie")

    rest = {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    assert made.startswith(f"{COOKIE}=1.")
    attributes = {one for one in made.split("; ")[1:] if not one.startswith("Expires=")}
    assert attributes == rest | {f"Max-Age={7 * DAY}"}
    assert ended.startswith(f"{COOKIE}=;")
    assert set(ended.split("; ")[1:]) == rest | {
        "Max-Age=0",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    }


def test_the_cookie_as_it_was_set_up(make_app: MakeApp) -> None:
    """Domain, path, SameSite and Partitioned go into the cookie, and the name follows."""
    app, _ = build(
        make_app,
        COOKIE_NAME="sid",
        COOKIE_DOMAIN="example.com",
        COOKIE_PATH="/app",
        COOKIE_SAMESITE="None",
        COOKIE_PARTITIONED=True,
    )

    (made,) = app.test_client().post("/login/alice").headers.getlist("Set-Cookie")

    assert made.startswith("__Secure-sid=")
    for part in ("Domain=example.com", "Path=/app", "SameSite=None", "Partitioned", "Secure"):
        assert part in made.split("; ")


def test_the_cookies_name_does_not_depend_on_the_request(
    site: tuple[Flask, ClusterToken],
) -> None:
    """Name and ``Secure`` come from the settings: behind any proxy they are the same."""
    app, _ = site

    for base in ("http://localhost", "https://app.example"):
        answer = app.test_client().post("/login/alice", base_url=base)
        assert len(texts_set(answer, COOKIE)) == 1
        assert "Secure" in answer.headers["Set-Cookie"]


def test_the_token_is_in_no_other_place(site: tuple[Flask, ClusterToken]) -> None:
    """The text leaves in Set-Cookie alone: in no body, no URL and no other header."""
    app, _ = site

    answer = app.test_client().post("/login/alice")

    (text,) = texts_set(answer)
    assert text not in answer.text
    others = [value for name, value in answer.headers if name != "Set-Cookie"]
    assert not any(text in value for value in others)


def test_a_login_may_end_with_the_browser(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """``remember=False``: no Max-Age, and it stays so when it is renewed or made anew."""
    app, _ = site
    client = app.test_client()

    first = client.post("/session-login").headers["Set-Cookie"]
    clock.advance(2 * DAY)
    renewed = client.get("/me").headers["Set-Cookie"]
    remade = client.post("/elsewhere").headers["Set-Cookie"]

    for one in (first, renewed, remade):
        assert one.startswith(COOKIE)
        assert "Max-Age" not in one
        assert "Expires" not in one


def test_a_login_ends_the_one_that_came_with_it(site: tuple[Flask, ClusterToken]) -> None:
    """A new token at each login, and the old one ends with it: nothing can be fixated."""
    app, _ = site
    client = app.test_client()
    old = texts_set(client.post("/login/alice"))[0]
    new = texts_set(client.post("/login/alice"))[0]

    assert old != new
    assert not accepted(app, old)
    assert accepted(app, new)


def test_logout_ends_the_login_and_clears_the_cookie(site: tuple[Flask, ClusterToken]) -> None:
    """After logout a kept copy of the cookie is worth nothing."""
    app, _ = site
    client = app.test_client()
    (text,) = texts_set(client.post("/login/alice"))

    answer = client.post("/logout")

    assert answer.json == {"ended": True}
    assert texts_set(answer) == [""]
    assert not accepted(app, text)


def test_logout_without_a_login_is_fine(site: tuple[Flask, ClusterToken]) -> None:
    """Whoever is not logged in is logged out: no error, nothing in the store."""
    app, _ = site
    store = watch(app)

    answer = app.test_client().post("/logout")

    assert answer.json == {"ended": False}
    assert not store.calls["append"]


def test_logout_clears_the_cookie_also_in_trouble(site: tuple[Flask, ClusterToken]) -> None:
    """The store cannot be told: the cookie goes all the same, and the answer is a 503."""
    app, _ = site
    store = watch(app)
    client = app.test_client()
    client.post("/login/alice")
    client.get("/me")
    store.cut_off()

    answer = client.post("/logout")

    assert answer.status_code == 503
    assert texts_set(answer) == [""]


@pytest.mark.parametrize("path", ["/logout", "/everywhere"])
def test_a_logout_that_ended_nothing_says_so(site: tuple[Flask, ClusterToken], path: str) -> None:
    """Where the token cannot even be judged, nobody is told that the login has ended."""
    app, _ = site
    store = watch(app)
    headers = cookie(login_text(app))
    state_of(app).authority.remembered.clear()
    store.cut_off()

    answer = app.test_client().post(path, headers=headers)

    assert answer.status_code == 503
    assert texts_set(answer) == [""]


def test_a_stale_node_can_still_end_a_login(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """The signature held and the store takes the revocation: that is all a logout needs."""
    app, _ = site
    text = login_text(app)
    follower = state_of(app).authority.follower()
    clock.advance(11)
    follower._tried = clock.monotonic()  # a step was just tried, in vain
    client = app.test_client()
    assert client.get("/me", headers=cookie(text)).status_code == 503

    assert client.post("/logout", headers=cookie(text)).json == {"ended": True}
    clock.advance(1)
    assert not accepted(app, text)


def test_everywhere_ends_every_login_and_no_api_token(site: tuple[Flask, ClusterToken]) -> None:
    """All browsers of this subject are out, robots go on, and others are not touched."""
    app, _ = site
    mine = [login_text(app) for _ in range(3)]
    robot, bobs = api_text(app), login_text(app, "bob")

    answer = app.test_client().post("/everywhere", headers=cookie(mine[0]))

    assert answer.json == {"ended": True}
    assert texts_set(answer) == [""]
    assert [accepted(app, text) for text in mine] == [False, False, False]
    assert accepted(app, bobs)
    assert app.test_client().get("/me", headers=bearer(robot)).status_code == 200
    assert accepted(app, login_text(app)), "a login of after is good"


def test_keeping_the_current_one_makes_it_new(site: tuple[Flask, ClusterToken]) -> None:
    """``keep_current``: this browser gets another token with the same claims and labels."""
    app, _ = site
    old = login_text(app, claims={"role": "editor"}, labels=["provider:1"])
    other = login_text(app)

    @app.get("/what")
    def what() -> Any:
        return jsonify(claims=current_token.claims, labels=current_token.labels)

    answer = app.test_client().post("/elsewhere", headers=cookie(old))
    (new,) = texts_set(answer)

    assert not accepted(app, old)
    assert not accepted(app, other)
    told = app.test_client().get("/what", headers=cookie(new)).json
    assert told == {"claims": {"role": "editor"}, "labels": ["provider:1"]}


@pytest.mark.parametrize("path", ["/login/alice", "/logout", "/everywhere", "/elsewhere"])
def test_a_bearer_token_neither_makes_nor_ends_logins(
    site: tuple[Flask, ClusterToken], path: str
) -> None:
    """403 with any bearer token, good or bad, with a cookie beside it or not."""
    app, _ = site
    login = login_text(app)

    for headers in (bearer(api_text(app)), bearer("nonsense"), bearer("x") | cookie(login)):
        answer = app.test_client().post(path, headers=headers)
        assert answer.status_code == 403
        assert answer.json == {
            "error": "insufficient_scope",
            "message": "A bearer token neither makes nor ends logins.",
        }
        assert not texts_set(answer)
    assert accepted(app, login)


def test_an_api_token_makes_no_api_tokens(site: tuple[Flask, ClusterToken]) -> None:
    """Only a login makes API tokens; what it makes names its maker."""
    app, _ = site
    client = app.test_client()

    assert client.post("/robots", headers=bearer(api_text(app))).status_code == 403
    made = client.post("/robots", headers=cookie(login_text(app, "bob")))
    assert made.status_code == 200
    assert client.get("/me", headers=bearer(made.text)).json == {"subject": "bob", "kind": "api"}


def test_an_api_token_is_shown_once_and_may_end(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Its ``repr`` hides the text, its lifetime is a number or a timedelta, and it is listed."""
    app, tokens = site
    with app.app_context():
        issued = tokens.issue_api_token("alice", "nightly", ["read"], timedelta(hours=1))
        forever = tokens.issue_api_token("alice", "forever")
        listed = {token.name: token for token in tokens.tokens_of("alice")}

    assert issued.text not in repr(issued)
    assert listed["nightly"].expires_at == int(clock.time()) + 3600
    assert listed["nightly"].scopes == ("read",)
    assert listed["forever"].expires_at is None
    clock.advance(400 * DAY)
    client = app.test_client()
    assert client.get("/me", headers=bearer(issued.text)).status_code == 401
    assert client.get("/me", headers=bearer(forever.text)).status_code == 200


def test_tokens_of_a_subject_are_listed_and_ended_one_by_one(
    site: tuple[Flask, ClusterToken],
) -> None:
    """A user sees their logins and ends any of them, and no other one ends with it."""
    app, tokens = site
    texts = [login_text(app) for _ in range(3)]
    with app.app_context():
        pages = tokens.tokens_of("alice")
        ids = [token.id for token in pages]
        assert pages.recorded
        assert len(ids) == 3
        assert [token.id for token in pages] == ids, "they can be gone through twice"
        revocation = tokens.revoke(ids[0])
        assert revocation.confirm(0)
        assert sorted(one.id for one in pages) == sorted(ids[1:]), "and are read anew"
        assert sorted(one.id for one in tokens.tokens_of("alice")) == sorted(ids[1:])
        with pytest.raises(ValueError, match="id"):
            tokens.revoke(texts[0])

    assert sum(accepted(app, text) for text in texts) == 2


def test_labels_subjects_and_everything_can_be_ended(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Each of the revoking calls ends what it names, and only that."""
    app, tokens = site
    robot = api_text(app)

    def robot_works() -> bool:
        return app.test_client().get("/me", headers=bearer(robot)).status_code == 200

    with app.app_context():
        labelled = login_text(app, labels=["provider:7"])
        tokens.revoke_label("provider:7")
        assert not accepted(app, labelled)
        with pytest.raises(RevokedMeanwhile):
            login_text(app, labels=["provider:7"])  # also those that come later

        alice, bob = login_text(app), login_text(app, "bob")
        tokens.revoke_subject("alice")
        assert (accepted(app, alice), accepted(app, bob), robot_works()) == (False, True, True)

        tokens.not_before(datetime.fromtimestamp(clock.time() - 10, timezone.utc))
        assert accepted(app, bob)
        tokens.revoke_all()
        assert (accepted(app, bob), robot_works()) == (False, True)
        tokens.revoke_subject("alice", kinds=["login", "api"])
        assert not robot_works()


def test_a_revocation_during_the_login_wins(site: tuple[Flask, ClusterToken]) -> None:
    """From ``login_begins`` on, a revocation beats the login: 401, no cookie, no record."""
    app, tokens = site

    @app.post("/slow")
    def slow() -> str:
        since = tokens.login_begins()
        tokens.revoke_subject("alice")  # meanwhile, somewhere else
        return tokens.login("alice", since=since).id

    answer = app.test_client().post("/slow")

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["reason"] == "revoked"
    assert not texts_set(answer)
    assert not list(state_of(app).authority.tokens_of("alice"))


def test_without_since_the_first_look_of_the_request_counts(
    site: tuple[Flask, ClusterToken],
) -> None:
    """Whoever looked at ``current_token`` before it checked the password is safe too."""
    app, tokens = site
    login_text(app, "warm-up")

    @app.post("/slow")
    def slow() -> str:
        bool(current_token)
        tokens.revoke_subject("alice")
        return tokens.login("alice").id

    assert app.test_client().post("/slow").status_code == 401


def test_the_limit_of_logins(make_app: MakeApp, clock: ManualClock) -> None:
    """``TOKEN_LIMIT`` ends the oldest, or refuses the new one with a 403 that says why."""
    ending, _ = build(make_app, TOKEN_LIMIT=2)
    texts = []
    for _ in range(3):
        texts.append(login_text(ending))
        clock.advance(1)
    assert [accepted(ending, text) for text in texts] == [False, True, True]

    app, _ = make_app("refusing", TOKEN_LIMIT=1, WHEN_LIMIT="refuse")
    assert app.test_client().post("/login/alice").status_code == 200
    refused = app.test_client().post("/login/alice")
    assert refused.status_code == 403
    assert refused.json is not None
    assert refused.json["error"] == "token_limit"
    assert "log out elsewhere" in refused.json["message"]
    assert "WWW-Authenticate" not in refused.headers, "no other token would do"
    assert not texts_set(refused)


BIG = {"note": "x" * 4000}


def test_claims_that_fit_no_cookie_are_refused_before_anything_is_written(
    make_app: MakeApp,
) -> None:
    """With the token store ``cookie``: an error that names the remedy, no cookie, no entry."""
    app, tokens = build(make_app, TOKEN_STORE="cookie")
    store = watch(app)

    @app.post("/big")
    def big() -> str:
        with pytest.raises(ValueTooLarge, match="TOKEN_STORE='session'"):
            tokens.login("alice", BIG)
        return "refused"

    login_text(app, "warm-up")
    store.calls.clear()
    answer = app.test_client().post("/big")

    assert answer.text == "refused"
    assert not texts_set(answer)
    assert not store.calls["add"] + store.calls["append"] + store.calls["put"]


def test_the_session_store_carries_big_claims(site: tuple[Flask, ClusterToken]) -> None:
    """With the token store ``session`` the cookie holds a reference, whatever the claims are."""
    app, _ = site
    text = login_text(app, claims=BIG)

    assert accepted(app, text)
    assert len(text) < 400


def test_the_token_store_cookie_in_full(make_app: MakeApp, clock: ManualClock) -> None:
    """Claims travel in the cookie, nothing is recorded or read, and every ending still works."""
    app, tokens = build(make_app, TOKEN_STORE="cookie")
    store = watch(app)

    @app.get("/role")
    def role() -> str:
        return str(current_token.claims.get("role"))

    first, second = (login_text(app, claims={"role": "editor"}) for _ in range(2))
    state_of(app).authority.remembered.clear()
    store.calls.clear()
    client = app.test_client()

    assert client.get("/role", headers=cookie(first)).text == "editor"
    assert not store.calls["get"] + store.calls["get_many"], "validating reads no store"
    with app.app_context():
        pages = tokens.tokens_of("alice")
        assert (list(pages), pages.recorded) == ([], False)

    clock.advance(2 * DAY)
    renewed = texts_set(client.get("/me", headers=cookie(first)))[0]
    assert client.get("/role", headers=cookie(renewed)).text == "editor"
    client.post("/logout", headers=cookie(renewed))
    assert [accepted(app, text) for text in (first, renewed, second)] == [False, False, True]
    client.post("/everywhere", headers=cookie(second))
    assert not accepted(app, second)


def test_login_wants_a_text_as_subject(site: tuple[Flask, ClusterToken]) -> None:
    """A user's id is converted by the app, so that 1 and "1" are never two people."""
    app, tokens = site

    with app.test_request_context():
        for subject in (1, "", None):
            with pytest.raises((TypeError, ValueError), match="subject"):
                tokens.login(subject)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="claims"):
            tokens.login("alice", {"when": datetime.now(timezone.utc)})


def test_shared_data_and_readiness(site: tuple[Flask, ClusterToken]) -> None:
    """What servers share is there by name, and readiness never raises."""
    app, tokens = site
    store = watch(app)

    with app.app_context():
        assert tokens.readiness().fresh
        tokens.shared("jobs").set("nightly", {"at": 3})
        assert tokens.shared("jobs").get("nightly") == {"at": 3}
        store.cut_off()
        with pytest.raises(StoreUnavailable):
            tokens.shared("jobs").get("nightly")
        tokens.readiness()
