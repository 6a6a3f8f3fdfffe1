"""The code flow against an issuer that says whatever a test wants: what is accepted, what not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from joserfc.jwk import RSAKey
from werkzeug.wrappers import Request, Response

from flask_clustertoken import token_required
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import PendingLogin, begin, labels
from flask_clustertoken.keycloak.web import views
from flask_clustertoken.stores.base import HeadIs
from tests.keycloak.app import create_app
from tests.keycloak.flow import HTML, Flow
from tests.keycloak.issuer import Issuer

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture(params=["session", "cookie"])
def app(request: pytest.FixtureRequest, issuer: Issuer, config: Make) -> Iterator[Flask]:
    made = create_app(config(issuer.url, store=request.param))
    yield made
    state_of(made).authority.close()


@pytest.fixture
def flow(app: Flask, issuer: Issuer) -> Flow:
    made = Flow(app, issuer)
    made.begin()
    made.issue()
    return made


def test_what_a_login_asks_for(flow: Flow) -> None:
    """Code flow with PKCE, state and nonce; each is new for each login."""
    first = flow.query
    assert first["response_type"] == "code"
    assert first["client_id"] == "app"
    assert first["scope"] == "openid"
    assert first["redirect_uri"] == "http://localhost/keycloak/callback"
    assert first["code_challenge_method"] == "S256"
    flow.begin()
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 32
        assert flow.query[name] != first[name]


def test_what_a_login_becomes(flow: Flow) -> None:
    """The subject is ``sub``; roles are claims; the session is a label; ``auth_time`` is kept."""
    answer = flow.come_back()

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/me"
    assert answer.headers["Cache-Control"] == "no-store"
    me = flow.client.get("/me").json
    assert me["subject"] == "alice"
    assert me["kind"] == "login"
    assert me["roles"] == ["editor"]
    assert me["claims"]["client_roles"] == {"app": ["cook"]}
    assert me["claims"]["name"] == "Alice Anders"
    assert me["labels"][0] == labels.sid_label(flow.issuer.issuer, "sid-1")
    assert time.time() - 20 < me["authenticated_at"] < time.time() - 4


def test_what_the_exchange_sends(flow: Flow) -> None:
    """The verifier of the challenge, the same redirect URI, our session and our host."""
    import base64
    import hashlib

    flow.come_back()

    digest = hashlib.sha256(flow.form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert challenge == flow.query["code_challenge"]
    assert flow.form["redirect_uri"] == flow.query["redirect_uri"]
    assert flow.form["client_session_state"] == labels.session_state(
        flow.client.get("/me").json["labels"]
    )
    assert (
        flow.form["client_session_host"]
        == flow.client.application.extensions["keycloak"].options.node_host
    )
    assert flow.authorization.startswith("Basic ")


def test_a_strict_cookie(issuer: Issuer, config: Make) -> None:
    """A redirect would be part of the navigation that Keycloak began, and a browser would leave
    the cookie out for ever: a page goes on to the target."""
    app = create_app(config(issuer.url, CLUSTERTOKEN_COOKIE_SAMESITE="Strict"))
    flow = Flow(app, issuer)
    flow.begin("/page?a='b'&c=\"d<e>&f=%2F;é")
    flow.issue()

    answer = flow.come_back()

    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    where = "/page?a=%27b%27&amp;c=%22d%3Ce%3E&amp;f=%2F;%C3%A9"
    assert f'<meta http-equiv="refresh" content="0; url={where}">' in answer.text
    cookies = [one for one in answer.headers.getlist("Set-Cookie") if "clustertoken=" in one]
    assert "SameSite=Strict" in cookies[0]
    assert flow.logged_in
    state_of(app).authority.close()


def test_the_answer_is_used_once(flow: Flow) -> None:
    """The same callback again belongs to no login."""
    assert flow.come_back().status_code == 303
    asked = len(flow.issuer.asked)

    # (The back button: whoever is logged in is not told that something is wrong.)
    again = flow.come_back()
    assert (again.status_code, again.headers["Location"]) == (303, "/")
    assert len(flow.issuer.asked) == asked
    flow.client.delete_cookie("clustertoken")
    assert flow.come_back().status_code == 400


def test_a_callback_of_another_browser(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """An answer that this browser did not ask for logs nobody in (login CSRF)."""
    victim = Flow(app, issuer)
    victim.query = flow.query

    assert victim.come_back().status_code == 400
    assert not victim.logged_in


@pytest.mark.parametrize("state", ["", "x", "no-such-state-at-all", "../..", "é" * 20, "a" * 5000])
def test_a_state_that_is_not_ours(flow: Flow, state: str) -> None:
    """Refused with a page that says so."""
    answer = flow.come_back(state=state)

    assert answer.status_code == 400
    assert "Try again" in answer.text
    assert not flow.logged_in


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("access_denied", 403),
        ("login_required", 403),
        ("temporarily_unavailable", 503),
        ("server_error", 503),
        ("<script>alert(1)</script>", 403),
        ("x" * 500, 403),
    ],
)
def test_keycloak_says_no(flow: Flow, error: str, status: int) -> None:
    """A clear page, nothing of the query in it, and no loop."""
    answer = flow.come_back(code=..., error=error, error_description="<b>boo</b>")

    assert answer.status_code == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Try again" in answer.text
    assert "<script>" not in answer.text
    assert "boo" not in answer.text
    assert not flow.logged_in


def test_a_page_of_the_apps_own(issuer: Issuer, config: Make) -> None:
    """What it says of a login that failed is kept by no cache, though it does not say so."""
    app = create_app(config(issuer.url))
    app.register_error_handler(403, lambda error: ("we are sorry", 403))
    flow = Flow(app, issuer)
    flow.begin()

    answer = flow.come_back(code=..., error="access_denied")

    assert (answer.status_code, answer.text) == (403, "we are sorry")
    assert answer.headers["Cache-Control"] == "no-store"
    state_of(app).authority.close()


def test_no_code(flow: Flow) -> None:
    """An answer with neither a code nor an error is refused."""
    assert flow.come_back(code=...).status_code == 403


def test_another_issuers_answer(flow: Flow) -> None:
    """RFC 9207: the answer names who sent it."""
    assert flow.come_back(iss="https://evil.example/realms/demo").status_code == 403
    assert not flow.logged_in


WRONG_IDENTITY: list[tuple[str, Any]] = [
    ("iss", "https://other.example/realms/demo"),
    ("iss", ...),
    ("aud", "other-app"),
    ("aud", ["other-app", "third"]),
    ("aud", ...),
    ("azp", "other-app"),
    ("nonce", "another"),
    ("nonce", ...),
    ("exp", 1),
    ("exp", ...),
    ("exp", "soon"),
    ("iat", ...),
    ("iat", 4_000_000_000),
    ("sub", ...),
    ("sub", ""),
    ("sub", 7),
    ("typ", "Logout"),
    ("typ", ...),
    ("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
    ("auth_time", "yesterday"),
]


@pytest.mark.parametrize(("claim", "value"), WRONG_IDENTITY)
def test_every_claim_of_the_id_token(flow: Flow, claim: str, value: Any) -> None:
    """An ID token with a claim that is wrong, missing or of another type logs nobody in."""
    claims = flow.issuer.id_token(flow.query["nonce"], **{claim: value})
    flow.issue(identity=flow.issuer.sign(claims))

    answer = flow.come_back()

    assert answer.status_code == 403
    assert not flow.logged_in


def test_an_id_token_that_somebody_else_signed(flow: Flow) -> None:
    """By an unknown key, without a key, with the public key as a password."""
    claims = flow.issuer.id_token(flow.query["nonce"])
    other = RSAKey.generate_key(2048, {"kid": "one"})
    forged = [
        flow.issuer.sign(claims, key=other),
        flow.issuer.forge_none(claims),
        flow.issuer.forge_symmetric(claims),
        "x.y.z",
    ]
    for text in forged:
        flow.begin()
        flow.issue(identity=text)
        assert flow.come_back().status_code == 403
        assert not flow.logged_in


@pytest.mark.parametrize(
    ("claim", "value"),
    [("sub", "bob"), ("iss", "https://other.example"), ("typ", "Refresh"), ("exp", 1)],
)
def test_the_access_token_is_verified_too(flow: Flow, claim: str, value: Any) -> None:
    """It says the roles, so it has to be genuine and the same person's."""
    claims = flow.issuer.access_token(**{claim: value})
    flow.issue(access=flow.issuer.sign(claims))

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


def test_a_lightweight_access_token(flow: Flow) -> None:
    """It names nobody; the ID token beside it does."""
    access = flow.issuer.access_token(sub=..., sid=..., preferred_username=...)
    flow.issue(access=flow.issuer.sign(access))

    assert flow.come_back().status_code == 303

    assert flow.client.get("/me").json["subject"] == "alice"


@pytest.mark.parametrize(
    ("claim", "value"), [("sid", "\ud800"), ("sid", "x" * 1020), ("sub", "\ud800")]
)
def test_what_cannot_be_a_label(flow: Flow, claim: str, value: str) -> None:
    """An id that no store could hold is refused like any other nonsense."""
    access = {claim: value} if claim == "sub" else {}
    flow.issue(
        identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"], **{claim: value})),
        access=flow.issuer.sign(flow.issuer.access_token(**access)),
    )

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


@pytest.mark.parametrize(
    "when", [float("inf"), 10**400, 4_000_000_000], ids=["infinite", "huge", "ahead"]
)
def test_a_password_entered_at_no_time(flow: Flow, when: Any) -> None:
    """Keycloak's clock may be ahead, and its claims odd: no error of the server's."""
    flow.issue(identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"], auth_time=when)))

    assert flow.come_back().status_code in (303, 403)


def test_a_login_under_way_of_another_version(app: Flask, flow: Flow) -> None:
    """What its cookie holds may have other fields: it belongs to no login that we know of."""
    adapter = app.extensions["keycloak"]
    state = flow.query["state"]
    text = adapter.sealer.seal({"state": state, "more": 1}, "login", state)
    cookie = next(iter(flow.client._cookies.values()))
    flow.client.set_cookie(cookie.key, text, path=cookie.path)

    assert flow.come_back().status_code == 400


def test_a_login_under_way_shows_no_secret() -> None:
    """Not even in a traceback with values."""
    pending = begin("/page", "http://localhost/callback", SystemClock())

    assert pending.verifier not in repr(pending)
    assert pending.state not in repr(pending)
    assert pending.nonce not in repr(pending)


def test_a_login_takes_too_long(app: Flask, issuer: Issuer, monkeypatch: Any) -> None:
    """Half an hour at Keycloak's page, and not for ever; a few seconds of clock are forgiven."""
    flow = Flow(app, issuer)
    for later, status in ((-100, 400), (-30, 303), (1700, 303), (1900, 400)):
        flow.client.delete_cookie("clustertoken")

        def begun(*given: Any, by: float = later) -> PendingLogin:
            made = begin(*given)
            return replace(made, began_at=made.began_at - by)

        with monkeypatch.context() as patch:
            patch.setattr(views, "begin", begun)
            flow.begin()
        flow.issue()
        assert flow.come_back().status_code == status, later


def test_what_the_options_make_of_a_login(issuer: Issuer, config: Make) -> None:
    """``principal-attribute`` names who it is, ``use-resource-role-mappings`` whose roles count,
    and the host that Keycloak is told is the one that was set."""
    options = {"principal-attribute": "preferred_username", "use-resource-role-mappings": True}
    app = create_app(config(issuer.url, options=options, KEYCLOAK_NODE_HOST="Web7"))
    flow = Flow(app, issuer)
    flow.begin()
    access = issuer.access_token(preferred_username="ali")
    flow.issue(access=issuer.sign(access))
    flow.come_back()

    me = flow.client.get("/me").json

    assert me["claims"]["principal"] == "ali"
    assert me["roles"] == ["cook"]
    assert flow.client.get("/edit").status_code == 403
    assert flow.form["client_session_host"] == "web7"
    state_of(app).authority.close()


def test_a_login_waits_for_its_host(app: Flask, issuer: Issuer) -> None:
    """Keycloak drops the host of a login if it does not know it yet: nobody is sent before."""
    order: list[str] = []

    class Registering:
        pid = 0

        def before_login(self) -> None:
            order.extend(["waited", *issuer.asked])

        def leave(self) -> None:
            pass

    app.extensions["keycloak"].registration.registrar = Registering()

    assert Flow(app, issuer).begin().status_code == 303

    assert order == ["waited"]


def test_a_login_older_than_the_not_before(app: Flask, flow: Flow) -> None:
    """A login to come is judged by Keycloak's clock against Keycloak's clock."""
    adapter = app.extensions["keycloak"]
    adapter.not_before.push(time.time() + 5, [], "pushed")

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


def test_a_users_own_not_before_is_its_own(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """It comes with one person's response, and refuses nobody else."""
    flow.issue(**{"not-before-policy": int(time.time()) + 10})
    assert flow.come_back().status_code == 403

    other = Flow(app, issuer)
    other.begin()
    other.issue()
    assert other.come_back().status_code == 303
    assert other.logged_in


def test_a_logout_during_the_exchange(app: Flask, flow: Flow) -> None:
    """It wins, whatever the order: the login is not made, and its tokens are not kept."""
    authority = state_of(app).authority
    made = flow.issuer.token

    def answer(request: Request) -> Response:
        found = made(request)
        authority.revoke_labels([labels.sid_label(flow.issuer.issuer, "sid-1")])
        return found

    flow.issuer.token = answer

    back = flow.come_back()

    assert back.status_code == 403
    assert "ended while" in back.text
    assert not flow.logged_in
    adapter = app.extensions["keycloak"]
    kept = adapter.keys.session(labels.sid_label(flow.issuer.issuer, "sid-1"))
    assert state_of(app).authority.store.scan(kept) == []
    assert not [one for one in back.headers.getlist("Set-Cookie") if "_kc0=" in one]
    # A session that lives on would log in with the same id for ever: it is ended at Keycloak.
    adapter.background.drain()
    assert any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)


def test_everybody_logged_out_during_the_exchange(app: Flask, flow: Flow) -> None:
    """A mark that falls between the callback and the login covers the login."""
    made = flow.issuer.token

    def answer(request: Request) -> Response:
        state_of(app).authority.revoke_all()
        return made(request)

    flow.issuer.token = answer

    assert flow.come_back().status_code == 403
    assert not flow.logged_in
    # The next attempt is not covered, so the person's session at Keycloak need not end.
    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)


def test_whoever_is_locked_is_told_so(app: Flask, flow: Flow) -> None:
    """403 with the lock's message, once Keycloak has vouched for who it is; nothing is kept."""
    locking = state_of(app).authority.locking
    locking.lock(subject="alice", message="Please call the office <4711>.")

    back = flow.come_back()

    assert back.status_code == 403
    assert "Please call the office &lt;4711&gt;." in back.text
    assert "ended while" not in back.text
    assert not flow.logged_in
    kept = app.extensions["keycloak"].keys.session(labels.sid_label(flow.issuer.issuer, "sid-1"))
    assert state_of(app).authority.store.scan(kept) == []
    assert not [one for one in back.headers.getlist("Set-Cookie") if "_kc0=" in one]
    # A lock is no log-out: the session is Keycloak's, and other apps use it.
    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)

    locking.unlock(subject="alice")
    flow.begin()
    assert flow.come_back().status_code == 303
    assert flow.logged_in


def test_a_program_is_told_of_a_lock_in_json(app: Flask, flow: Flow) -> None:
    """By the names of every other refusal of a lock; without a message there is a usual one."""
    state_of(app).authority.locking.lock(everyone=True)
    query = {"code": "a-code", "state": flow.query["state"]}

    back = flow.client.get("/keycloak/callback", query_string=query)

    assert (back.status_code, back.headers["Cache-Control"]) == (403, "no-store")
    assert back.json == {
        "error": "locked",
        "message": "Access is locked at the moment.",
        "reason": "locked",
    }


def test_a_lock_is_told_to_nobody_whose_login_did_not_hold(app: Flask, flow: Flow) -> None:
    """An answer that is not Keycloak's says nothing of who is locked."""
    state_of(app).authority.locking.lock(everyone=True, message="Back at eight.")
    other = RSAKey.generate_key(2048, {"kid": "one"})
    flow.issue(identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"]), key=other))

    back = flow.come_back()

    assert back.status_code == 403
    assert "Back at eight." not in back.text


def test_a_login_that_was_locked_goes_to_no_login_page(app: Flask, flow: Flow) -> None:
    """Keycloak would send the browser straight back, and so on without end: 403 on the page."""
    flow.come_back()
    state_of(app).authority.locking.lock(subject="alice", message="Please call the office.")

    page = flow.client.get("/page", headers=HTML)

    assert page.status_code == 403
    assert "Please call the office." in page.text


def test_a_node_that_cannot_catch_up(
    app: Flask, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that lags is no logout: 503, and the session at Keycloak goes on."""
    authority = state_of(app).authority
    usual, others = authority.store.append, itertools.count()

    def append(entries: Any, changes: Any = (), **more: Any) -> Any:
        # What the store has besides is not known: where nothing was revoked, nothing need be.
        if any(isinstance(one, HeadIs) for one in changes) and next(others) == 0:
            authority.revoke_subject("bob")
        return usual(entries, changes, **more)

    with monkeypatch.context() as patch:
        patch.setattr(authority.store, "append", append)
        patch.setattr(authority.follower().reader, "reach", lambda seq: False)
        assert flow.come_back().status_code == 503

    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)
    assert not flow.logged_in


MAD: dict[str, Callable[[Request], Response]] = {
    "garbage": lambda request: Response(b"\xff\x00 garbage", 200),
    "html": lambda request: Response("<html>proxy error</html>", 502, mimetype="text/html"),
    "a list": lambda request: Response("[1, 2]", 200, mimetype="application/json"),
    "null": lambda request: Response("null", 200, mimetype="application/json"),
    "a redirect": lambda request: Response("", 302, headers={"Location": "http://127.0.0.1:9/"}),
    "too much": lambda request: Response("x" * 3_000_000, 200),
    "nothing": lambda request: Response("", 204),
    "empty object": lambda request: Response("{}", 200, mimetype="application/json"),
    "wrong types": lambda request: Response(
        '{"access_token": 1, "id_token": [], "issuer": 5, "jwks_uri": {}, "keys": "k"}'
    ),
}


@pytest.mark.parametrize("kind", MAD)
@pytest.mark.parametrize("step", ["discovery", "exchange", "keys"])
def test_keycloak_answers_garbage(issuer: Issuer, config: Make, kind: str, step: str) -> None:
    """At any step: a page that says so, 503, nobody is logged in, and nothing breaks."""
    app = create_app(config(issuer.url))
    flow = Flow(app, issuer)
    if step == "discovery":
        issuer.mad = MAD[kind]
        answer = flow.begin()
    else:
        flow.begin()
        flow.issue()
        if step == "exchange":
            issuer.token = MAD[kind]
        else:
            usual = issuer._respond

            def respond(request: Request) -> Response:
                return MAD[kind](request) if request.path.endswith("/certs") else usual(request)

            issuer._respond = respond  # type: ignore[method-assign]
        answer = flow.come_back()

    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers
    issuer.mad = None
    assert not flow.logged_in
    state_of(app).authority.close()


@pytest.mark.parametrize("step", ["discovery", "exchange"])
def test_keycloak_is_gone(config: Make, step: str) -> None:
    """Nobody listens at its address any more."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        flow = Flow(app, issuer)
        if step == "exchange":
            flow.begin()
    answer = flow.begin() if step == "discovery" else flow.come_back()

    assert answer.status_code == 503
    state_of(app).authority.close()


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//e"],
)
def test_only_targets_of_our_own(app: Flask, issuer: Issuer, target: str) -> None:
    """After the login a browser is sent to pages of this origin only."""
    flow = Flow(app, issuer)
    flow.begin(target)
    flow.issue()

    assert flow.come_back().headers["Location"] == "/"


def test_many_tabs(app: Flask, issuer: Issuer) -> None:
    """Each tab has a login of its own under way; very many do not fill the browser."""
    client = app.test_client()
    tabs = [Flow(app, issuer, client) for _ in range(3)]
    for tab in tabs:
        tab.begin()
    tabs[0].issue()

    assert tabs[0].come_back().status_code == 303
    for _ in range(20):
        answer = Flow(app, issuer, client).begin()
    sent = answer.request.headers.get("Cookie", "")
    assert sent.count("_kclogin_") <= 6


def test_ten_tabs_that_a_browser_opens_again(app: Flask, issuer: Issuer) -> None:
    """Only the oldest make room; once one has come back, the others are in as well."""
    client = app.test_client()
    tabs = [Flow(app, issuer, client) for _ in range(10)]
    for tab in tabs:
        tab.begin("/page")
    statuses = []
    for tab in [tabs[5], *tabs]:
        tab.issue()
        answer = tab.come_back()
        statuses.append(answer.status_code)

    assert statuses == [303] * 11


def test_logins_under_way_beside_large_cookies(app: Flask, issuer: Issuer) -> None:
    """What servers read of all cookies together is not exceeded: the callback must come in."""
    client = app.test_client()
    client.set_cookie("clustertoken_kc0", "x" * 3600)
    client.set_cookie("clustertoken_kc1", "x" * 3500)
    for _ in range(4):
        flow = Flow(app, issuer, client)
        flow.begin("/page?q=" + "".join(chr(65 + one * 7 % 26) + str(one) for one in range(250)))
    flow.issue()

    answer = flow.come_back()

    assert answer.status_code == 303
    assert len(answer.request.headers["Cookie"]) <= 8000


@pytest.mark.parametrize("length", [100, 750, 1500, 3000, 6000])
def test_a_page_with_a_long_address(app: Flask, issuer: Issuer, length: int) -> None:
    """It is come back to while that fits into a small cookie, else the login leads to the start;
    and however many there are, they leave room for the other cookies."""
    import secrets

    client = app.test_client()
    target = "/page?q=" + secrets.token_urlsafe(length)[: length - 8]
    for _ in range(5):
        flow = Flow(app, issuer, client)
        assert flow.begin(target).status_code == 303
    flow.issue()

    answer = flow.come_back()

    assert answer.headers["Location"] == (target if length <= 800 else "/")
    assert len(answer.request.headers["Cookie"]) <= 2900


def test_large_tokens(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """A person with very many roles logs in like anybody else, in both token stores."""
    roles = [f"a-role-with-a-long-name-{number}-{hash(number * 7919)}" for number in range(600)]
    access = issuer.access_token(realm_access={"roles": roles})
    flow.issue(access=issuer.sign(access))

    answer = flow.come_back()

    assert answer.status_code == 303
    cookies = answer.headers.getlist("Set-Cookie")
    assert sum(len(one) for one in cookies) < 7500
    me = flow.client.get("/me")
    assert me.status_code == 200
    assert len(me.json["roles"]) == 600
    assert flow.client.get("/token").status_code == 200


def test_tokens_in_several_cookies(issuer: Issuer, config: Make) -> None:
    """What does not fit into one cookie takes a second one; both go with the login."""
    import secrets

    app = create_app(config(issuer.url, store="cookie"))
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue(access=issuer.sign(issuer.access_token(noise=secrets.token_hex(1020))))

    answer = flow.come_back()

    names = [one.split("=")[0] for one in answer.headers.getlist("Set-Cookie")]
    assert {"clustertoken_kc0", "clustertoken_kc1"} <= set(names)
    assert flow.client.get("/token").status_code == 200
    gone = flow.client.post("/logout").headers.getlist("Set-Cookie")
    assert {"clustertoken", "clustertoken_kc0", "clustertoken_kc1"} <= {
        one.split("=")[0] for one in gone if "Max-Age=0" in one
    }
    state_of(app).authority.close()


def test_nothing_secret_is_stored_or_shown(
    app: Flask, flow: Flow, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """Neither store nor log nor cookies hold a token of Keycloak's in clear."""
    caplog.set_level("DEBUG")
    answer = flow.come_back()
    flow.client.get("/token")

    written = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    for text in (written.decode("latin-1"), caplog.text, str(answer.headers)):
        assert "a-refresh-token" not in text
        assert "eyJhbGciOiJSUzI1NiI" not in text


def test_a_protected_page(app: Flask) -> None:
    """A person is sent to the login and back to the page; a program is told 401."""
    client = app.test_client()

    person = client.get("/me?x=1", headers=HTML)
    assert person.status_code == 302
    assert person.headers["Location"] == "/keycloak/login?next=/me?x%3D1"
    assert client.get("/me").status_code == 401
    assert client.get("/me", headers={**HTML, "Authorization": "Bearer x"}).status_code == 401


def test_forms_htmx_and_turbo_get_to_keycloak_too(app: Flask) -> None:
    """As to a login view; Turbo, whose scripts cannot go to another origin, by the browser."""
    client = app.test_client()
    app.add_url_rule("/save", "save", token_required(lambda: "saved"), methods=["POST"])
    turbo = {"Accept": "text/html, application/xhtml+xml", "X-Turbo-Request-Id": "1"}
    back = {"Referer": "http://localhost/form", "HX-Current-URL": "http://localhost/form"}

    form = client.post("/save", headers=HTML | back)
    assert (form.status_code, form.location) == (303, "/keycloak/login?next=/form")
    part = client.get("/me", headers={"HX-Request": "true"} | back)
    assert part.status_code == 401
    assert part.headers["HX-Redirect"] == "/keycloak/login?next=/form"
    for headers in (turbo, turbo | {"Turbo-Frame": "news"}):
        answer = client.get(client.get("/me", headers=headers | back).location, headers=headers)
        assert answer.status_code == 200
        assert '<meta name="turbo-visit-control" content="reload">' in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers, "no login begins before the browser comes"


def test_a_program_is_told_so(issuer: Issuer, config: Make) -> None:
    """``autodetect-bearer-only``: by the headers of Keycloak's Java adapters."""
    app = create_app(config(issuer.url, options={"autodetect-bearer-only": True}))
    client = app.test_client()

    for header in (
        {"X-Requested-With": "XMLHttpRequest"},
        {"Faces-Request": "partial/ajax"},
        {"SOAPAction": "x"},
    ):
        assert client.get("/me", headers={**HTML, **header}).status_code == 401
    assert client.get("/me", headers=HTML).status_code == 302


def test_bearer_only(issuer: Issuer, config: Make) -> None:
    """There is no login page; everything else is there."""
    app = create_app(config(issuer.url, options={"bearer-only": True}))
    client = app.test_client()

    assert client.get("/keycloak/login").status_code == 404
    assert client.get("/me", headers=HTML).status_code == 401
    bearer = {"Authorization": f"Bearer {issuer.sign(issuer.access_token())}"}
    assert client.get("/me", headers=bearer).status_code == 200


def test_an_app_below_a_prefix(issuer: Issuer, config: Make) -> None:
    """Mounted at a path: the callback and its cookies are below it."""
    app = create_app(config(issuer.url))
    flow = Flow(app, issuer, app.test_client())
    mounted = {"SCRIPT_NAME": "/shop"}
    answer = flow.client.get("/keycloak/login", environ_overrides=mounted)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert "Path=/shop/keycloak" in cookie
    assert "%2Fshop%2Fkeycloak%2Fcallback" in answer.headers["Location"]
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    flow.query = {name: values[0] for name, values in query.items()}

    # The app's own start, not the host's.
    refused = flow.client.get("/keycloak/callback?state=x", headers=HTML, environ_overrides=mounted)
    assert '<a href="/shop/">' in refused.text
    flow.issue()
    back = flow.client.get(
        "/keycloak/callback",
        query_string={"code": "c", "state": flow.query["state"]},
        environ_overrides=mounted,
    )
    assert back.headers["Location"] == "/shop/"

    # (Of one's own with url_for(), by the setting, and as the default.)
    for target, expected in (("/shop/bye", "/shop/bye"), (None, "/shop/")):
        out = flow.client.post(
            "/keycloak/logout",
            data={"next": target} if target else {},
            environ_overrides=mounted,
        )
        query = parse_qs(urlsplit(out.headers["Location"]).query)
        assert query.get("post_logout_redirect_uri", [f"http://localhost{expected}"]) == [
            f"http://localhost{expected}"
        ]
        if not query:
            assert out.headers["Location"] == expected
    state_of(app).authority.close()
