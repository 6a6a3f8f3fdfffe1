"""What Keycloak's addresses make of what they are sent: the good, the bad and the repeated."""

from __future__ import annotations

import functools
import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.wrappers import Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels
from flask_clustertoken.keycloak.web import deadline, messages
from flask_clustertoken.tokens import Token
from tests.keycloak.app import create_app
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until

Make = Callable[..., dict[str, Any]]
ADMIN = {
    "k_logout": "LOGOUT",
    "k_push_not_before": "PUSH_NOT_BEFORE",
    "k_test_available": "TEST_AVAILABILITY",
}
_OTHER = RSAKey.generate_key(2048, {"kid": "other"})
_SAME_NAME = RSAKey.generate_key(2048, {"kid": "one"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def apps(issuer: Issuer, config: Make) -> Iterator[list[Flask]]:
    """Two nodes of one realm, in one process."""
    made = [create_app(config(issuer.url)) for _ in range(2)]
    yield made
    for app in made:
        state_of(app).authority.close()


@pytest.fixture
def app(apps: list[Flask]) -> Flask:
    return apps[0]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


class Login:
    """A login of Keycloak's session *sid*, and whether it still stands."""

    def __init__(
        self, app: Flask, issuer: Issuer, sid: str, subject: str = "alice", state: str = "state"
    ) -> None:
        self._authority = state_of(app).authority
        made = (
            labels.sid_label(issuer.issuer, sid),
            labels.session_label(issuer.issuer, "app", state),
        )
        self.text = self._authority.issue_login(subject, labels=made).text

    def stands(self, on: Flask | None = None) -> bool:
        authority = self._authority if on is None else state_of(on).authority
        return isinstance(authority.authenticate(self.text), Token)


def post(client: FlaskClient, name: str, text: str) -> int:
    return client.post(f"/keycloak/{name}", data=text, content_type="text/plain").status_code


def post_token(client: FlaskClient, text: str) -> Any:
    return client.post("/keycloak/backchannel-logout", data={"logout_token": text})


# -- good ------------------------------------------------------------------------------


def test_a_logout_by_keycloaks_session_id(
    apps: list[Flask], client: FlaskClient, issuer: Issuer
) -> None:
    """Ends the logins of that session on every node, and no other."""
    ended, other = Login(apps[0], issuer, "sid-1"), Login(apps[0], issuer, "sid-2", state="x")
    message = issuer.admin_message(adapterSessionIds=...)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert [ended.stands(app) for app in apps] == [False, False]
    assert [other.stands(app) for app in apps] == [True, True]


def test_a_logout_by_our_session_id(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """The id that we gave as ``client_session_state`` ends that one login."""
    ended = Login(app, issuer, "sid-7", state="state-7")
    other = Login(app, issuer, "sid-8", state="state-8")
    message = issuer.admin_message(adapterSessionIds=["state-7"], keycloakSessionIds=...)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert not ended.stands()
    assert other.stands()


def test_a_logout_that_arrives_before_its_login(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """It wins all the same: a label covers what is issued later."""
    from flask_clustertoken.errors import RevokedMeanwhile

    assert post(client, "k_logout", issuer.sign(issuer.admin_message())) == 200

    with pytest.raises(RevokedMeanwhile):
        Login(app, issuer, "sid-1")


def test_a_logout_of_everybody(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """Without ids it ends every login; whoever logs in afterwards is in."""
    before = [Login(app, issuer, f"sid-{one}", state=f"s{one}") for one in range(3)]
    message = issuer.admin_message(
        adapterSessionIds=..., keycloakSessionIds=..., notBefore=int(time.time())
    )

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert not any(one.stands() for one in before)
    assert Login(app, issuer, "sid-9", state="s9").stands()
    assert app.extensions["keycloak"].not_before.stored().assigned == message["notBefore"]


def test_a_logout_of_everybody_lowers_nothing(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """A logout-all that names an earlier time than a push leaves that one as it is."""
    pushed = int(time.time()) - 5
    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=pushed)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200
    login = Login(app, issuer, "sid-1")
    message = issuer.admin_message(adapterSessionIds=..., keycloakSessionIds=..., notBefore=7)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    times = app.extensions["keycloak"].not_before.stored()
    assert (times.assigned, times.floor) == (pushed, pushed)
    assert not login.stands()


def test_pushes_at_the_same_moment(
    apps: list[Flask], issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes are told at once: whoever comes second goes by what the first one wrote."""
    now = int(time.time())
    mine, theirs = (app.extensions["keycloak"].not_before for app in apps)
    usual = mine.stored

    def stored() -> Any:
        found = usual()
        monkeypatch.setattr(mine, "stored", usual)
        theirs.push(now - 10.0, [], "theirs")
        return found

    monkeypatch.setattr(mine, "stored", stored)
    mine.push(now - 100.0, [], "mine")

    assert usual().floor == now - 10
    assert usual().assigned == now - 100
    assert usual().number == 2


def test_the_same_push_at_two_nodes(apps: list[Flask], issuer: Issuer) -> None:
    """Keycloak tells one host after the other, each by a message of its own: the second ends no
    login that was made in between, nor does a lower one between them."""
    now = int(time.time())
    for app, value in ((apps[0], now), (apps[1], now), (apps[0], 0), (apps[1], now)):
        message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=value)
        assert post(app.test_client(), "k_push_not_before", issuer.sign(message)) == 200
        if app is apps[0] and value:
            login = Login(apps[0], issuer, "sid-1")

    assert [login.stands(app) for app in apps] == [True, True]


def test_a_not_before_of_an_older_version(app: Flask) -> None:
    """It stored a number alone."""
    not_before = app.extensions["keycloak"].not_before
    key = not_before._keys.not_before
    state_of(app).authority.store.put(key, b"1700000000.0", None)

    assert not_before.stored().for_bearers == 1_700_000_000
    not_before.push(0.0, [], "lower")
    assert not_before.stored().for_bearers == 1_700_000_000


def test_pushing_a_not_before(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """A later one ends every login; a lower one brings nothing back and lowers the bar for
    logins to come."""
    before = Login(apps[0], issuer, "sid-1")
    now = int(time.time())
    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=now)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200
    assert [before.stands(app) for app in apps] == [False, False]
    after = Login(apps[0], issuer, "sid-2", state="s2")

    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=0)
    assert post(client, "k_push_not_before", issuer.sign(message)) == 200

    assert not before.stands()
    assert after.stands()
    assert apps[1].extensions["keycloak"].not_before.stored().assigned == 0


def test_an_availability_test_does_nothing(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """It is answered, and ends no login."""
    login = Login(app, issuer, "sid-1")

    message = issuer.admin_message("TEST_AVAILABILITY")

    assert post(client, "k_test_available", issuer.sign(message)) == 200
    assert login.stands()


def test_unknown_sessions_are_a_success(client: FlaskClient, issuer: Issuer) -> None:
    """A logout of sessions that nobody has here is answered by 200."""
    ids = {"adapterSessionIds": ["nobody"], "keycloakSessionIds": []}

    assert post(client, "k_logout", issuer.sign(issuer.admin_message(**ids))) == 200


def test_a_logout_of_many_sessions(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """More sessions than fit into one transaction, on every node."""
    sids = [f"a-session-{number}" for number in range(450)]
    first, last = Login(apps[0], issuer, sids[0]), Login(apps[0], issuer, sids[-1], state="x")
    message = issuer.admin_message(keycloakSessionIds=sids)

    assert post(client, "k_logout", issuer.sign(message)) == 200

    assert [first.stands(app) for app in apps] == [False, False]
    assert [last.stands(app) for app in apps] == [False, False]


def test_a_logout_token_by_session(apps: list[Flask], client: FlaskClient, issuer: Issuer) -> None:
    """``sid`` ends that session's logins alone, whatever ``sub`` says besides."""
    ended, other = Login(apps[0], issuer, "sid-1"), Login(apps[0], issuer, "sid-2", state="x")

    answer = post_token(client, issuer.sign(issuer.logout_token(), typ="logout+jwt"))

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert [ended.stands(app) for app in apps] == [False, False]
    assert other.stands()


def test_a_logout_token_by_subject(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """``sub`` alone ends every login of the person, and the person may log in again."""
    ended = [Login(app, issuer, f"sid-{one}", state=f"s{one}") for one in range(2)]
    other = Login(app, issuer, "sid-b", "bob", "sb")

    answer = post_token(client, issuer.sign(issuer.logout_token(sid=...)))

    assert answer.status_code == 200
    assert not any(one.stands() for one in ended)
    assert other.stands()
    assert Login(app, issuer, "sid-3", state="s3").stands()


# -- repeated --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADMIN)
def test_a_repeated_message_does_nothing(apps: list[Flask], issuer: Issuer, name: str) -> None:
    """The same message again, at another node, is a success that ends no later login."""
    first, second = (app.test_client() for app in apps)
    message = issuer.admin_message(ADMIN[name])
    if name == "k_logout":
        message |= {"notBefore": int(time.time())}
        del message["adapterSessionIds"], message["keycloakSessionIds"]
    text = issuer.sign(message)
    assert post(first, name, text) == 200
    login = Login(apps[0], issuer, "sid-later", state="later")

    assert post(second, name, text) == 200

    assert login.stands()
    assert login.stands(apps[1])


def test_a_repeated_logout_token_does_nothing(apps: list[Flask], issuer: Issuer) -> None:
    """The same for a logout token."""
    first, second = (app.test_client() for app in apps)
    text = issuer.sign(issuer.logout_token(sid=...))
    assert post_token(first, text).status_code == 200
    login = Login(apps[0], issuer, "sid-later", state="later")

    assert post_token(second, text).status_code == 200

    assert login.stands(apps[1])


@pytest.mark.parametrize("name", ADMIN)
def test_one_id_for_two_messages(apps: list[Flask], issuer: Issuer, name: str) -> None:
    """Another message under a used id is refused, at every node."""
    first, second = (app.test_client() for app in apps)
    message = issuer.admin_message(ADMIN[name], id="used")
    assert post(first, name, issuer.sign(message)) == 200
    login = Login(apps[0], issuer, "sid-2", state="other")
    more = {"keycloakSessionIds": ["sid-2"]} if name == "k_logout" else {}
    other = issuer.admin_message(
        ADMIN[name], id="used", expiration=message["expiration"] + 1, **more
    )

    assert post(second, name, issuer.sign(other)) == 400

    assert login.stands()


def test_a_failed_store_is_no_replay(
    app: Flask, client: FlaskClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose revocation the store did not take is obeyed when it comes again."""
    from flask_clustertoken.errors import StoreUnavailable

    login = Login(app, issuer, "sid-1")
    store = state_of(app).authority.store
    text = issuer.sign(issuer.admin_message())

    def fails(*_: object, **__: object) -> Any:
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", fails)
        assert post(client, "k_logout", text) == 503
    assert login.stands()

    assert post(client, "k_logout", text) == 200
    assert not login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_a_slow_store(
    app: Flask, client: FlaskClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each call takes long, and all of them longer than Keycloak waits: it is answered in time
    that this did not work yet, and what it asked for is done a little later."""
    login = Login(app, issuer, "sid-1")
    changed = name not in ("k_test_available",)
    store = state_of(app).authority.store
    gate = threading.Event()
    slow = {each: getattr(store, each) for each in ("append", "get_many")}
    for each, usual in slow.items():
        monkeypatch.setattr(store, each, functools.partial(_behind, gate, usual))
    monkeypatch.setattr(messages, "ANSWER_WITHIN", 0.2)

    if name == "backchannel-logout":
        answer = post_token(client, issuer.sign(issuer.logout_token()))
        assert (answer.status_code, answer.json["error"]) == (400, "temporarily_unavailable")
    else:
        assert post(client, name, issuer.sign(issuer.admin_message(ADMIN[name]))) == 503

    # (Who waited for the store would have been told that it worked, when the gate gave up.)
    gate.set()
    if changed:
        wait_until(lambda: not login.stands(), 5)


def _behind(gate: threading.Event, call: Callable[..., Any], *given: Any, **more: Any) -> Any:
    gate.wait(20)
    return call(*given, **more)


def test_keycloaks_keys_are_slow(
    issuer: Issuer, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where its keys have to be fetched first; and not more of them wait than fit."""
    app = create_app(config(issuer.url))
    gate = threading.Event()
    monkeypatch.setattr(issuer, "mad", lambda request: _behind(gate, Response))
    monkeypatch.setattr(messages, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(deadline, "AT_ONCE", 2)
    before = set(threading.enumerate())
    text = issuer.sign(issuer.admin_message())

    statuses = [post(app.test_client(), "k_logout", text) for _ in range(6)]

    assert statuses == [503] * 6
    under_way = set(threading.enumerate()) - before
    assert sum(one.name == "clustertoken-message" for one in under_way) <= 2
    gate.set()
    state_of(app).authority.close()


# -- bad -------------------------------------------------------------------------------

NO_TIMES = [float("nan"), float("inf"), 10**400]
WRONG: dict[str, list[Any]] = {
    "id": [..., "", 7, None, [], "x" * 2000, "\ud800"],
    "expiration": [..., "soon", None, True, 0, -1, int(time.time()) + 10**6, [1], *NO_TIMES],
    "resource": [..., "other-app", None, 7, ["app"], ""],
    "action": [..., "TEST", None, 7, "logout", ["LOGOUT"]],
}
WRONG_LOGOUT: dict[str, list[Any]] = {
    "adapterSessionIds": ["state-1", 7, {}, [1], [None], [""], ["x" * 2000]],
    "keycloakSessionIds": ["sid-1", 7, {"sid-1": 1}, [["sid-1"]], [""], ["\ud800"]],
    "notBefore": ["now", -1, 10**12, [], True, *NO_TIMES],
}


def bad_messages() -> Iterator[tuple[str, str, Any]]:
    for name in ADMIN:
        for field, values in WRONG.items():
            yield from ((name, field, value) for value in values)
    for field, values in WRONG_LOGOUT.items():
        yield from (("k_logout", field, value) for value in values)
    for value in (..., None, "now", -1, True, 10**12, *NO_TIMES):
        yield ("k_push_not_before", "notBefore", value)


def test_every_field_of_an_admin_message(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """A message with a field that is wrong, missing or of another type is refused by 400 and
    does nothing."""
    login = Login(app, issuer, "sid-1")
    for name, field, value in bad_messages():
        message = issuer.admin_message(ADMIN[name], **{field: value})
        status = post(client, name, issuer.sign(message))
        assert status == 400, (name, field, value, status)
    assert login.stands()


@pytest.mark.parametrize(("name", "action"), list(itertools.product(ADMIN, ADMIN.values())))
def test_an_address_obeys_its_own_action(
    client: FlaskClient, issuer: Issuer, name: str, action: str
) -> None:
    """Another action's message is refused."""
    expected = 200 if ADMIN[name] == action else 400

    assert post(client, name, issuer.sign(issuer.admin_message(action))) == expected


def test_other_tokens_of_keycloak_are_no_messages(
    app: Flask, client: FlaskClient, issuer: Issuer
) -> None:
    """An access token, an ID token and a logout token are signed with the same key."""
    login = Login(app, issuer, "sid-1")
    for claims in (issuer.access_token(), issuer.id_token("n"), issuer.logout_token()):
        for name in ADMIN:
            assert post(client, name, issuer.sign(claims)) == 400
    for claims in (issuer.access_token(), issuer.id_token("n"), issuer.admin_message()):
        assert post_token(client, issuer.sign(claims)).status_code == 400
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_signatures(app: Flask, client: FlaskClient, issuer: Issuer, name: str) -> None:
    """Signed by an unknown key, by one of the same name, with a symmetric or no algorithm, or
    broken: refused."""
    login = Login(app, issuer, "sid-1")
    token = name == "backchannel-logout"
    claims = issuer.logout_token() if token else issuer.admin_message(ADMIN[name])
    good = issuer.sign(claims)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for text in (
        issuer.sign(claims, key=_OTHER),
        issuer.sign(claims, key=_SAME_NAME),
        issuer.forge_none(claims),
        issuer.forge_symmetric(claims),
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}..{signature}",
        good + ".",
        "...",
        "",
        "ÄÖÜ.é.ß",
        "x",
    ):
        if token:
            assert post_token(client, text).status_code == 400, text
        else:
            assert post(client, name, text) == 403, text
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_a_megabyte(app: Flask, client: FlaskClient, issuer: Issuer, name: str) -> None:
    """What is longer than any message is not read: 413."""
    login = Login(app, issuer, "sid-1")
    claims = issuer.admin_message("LOGOUT", junk="x" * 1_000_000)
    text = issuer.sign(claims)

    if name == "backchannel-logout":
        answer = post_token(client, text)
        assert answer.status_code == 413
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.mimetype == "text/plain"
    else:
        assert post(client, name, text) == 413
    chunked = client.post(
        f"/keycloak/{name}",
        input_stream=io.BytesIO(text.encode()),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert chunked.status_code == 413
    assert login.stands()


@pytest.mark.parametrize("name", [*ADMIN, "backchannel-logout"])
def test_only_post_and_only_the_exact_path(client: FlaskClient, issuer: Issuer, name: str) -> None:
    """Other verbs are 405, other paths 404; nothing is redirected."""
    text = issuer.sign(issuer.admin_message())
    for verb in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
        assert client.open(f"/keycloak/{name}", method=verb, data=text).status_code == 405
    for path in (f"/{name}", f"/x/keycloak/{name}", f"/keycloak/{name}/", f"/keycloak/x{name}"):
        assert client.post(path, data=text).status_code == 404


WRONG_TOKEN: dict[str, list[Any]] = {
    "iss": [..., "https://other.example/realms/demo", None, 7, ""],
    "aud": [..., "other-app", None, 7, [], ["other-app"], [7]],
    "iat": [..., "now", None, int(time.time()) + 10_000, True],
    "exp": [..., "soon", None, 0, int(time.time()) - 100, int(time.time()) + 10**6, *NO_TIMES],
    "jti": [..., "", None, 7, "x" * 2000],
    "events": [..., {}, None, [], "x", {"other": {}}]
    + [{"http://schemas.openid.net/event/backchannel-logout": one} for one in ("", None, [], 1)],
    "nonce": ["n", "", None],
    "sid": ["", 7, [], "x" * 2000, "x" * 1020, "\ud800"],
    "sub": ["", 7, [], "x" * 2000, "\ud800"],
}


def test_every_claim_of_a_logout_token(app: Flask, client: FlaskClient, issuer: Issuer) -> None:
    """A logout token with a claim that is wrong, missing or of another type: 400, ``no-store``,
    and nothing happens."""
    login = Login(app, issuer, "sid-1")
    for claim, values in WRONG_TOKEN.items():
        for value in values:
            token = issuer.sign(issuer.logout_token(**{claim: value}))
            answer = post_token(client, token)
            assert answer.status_code == 400, (claim, value)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.json["error"] == "invalid_request"
    neither = issuer.sign(issuer.logout_token(sub=..., sid=...))
    assert post_token(client, neither).status_code == 400
    for typ in ("at+jwt", "secevent+jwt", "id_token"):
        answer = post_token(client, issuer.sign(issuer.logout_token(), typ=typ))
        assert answer.status_code == 400, typ
    assert login.stands()


def test_what_a_logout_token_may_hold_besides(client: FlaskClient, issuer: Issuer) -> None:
    """Several audiences, unknown claims and further events are no fault."""
    events = {"http://schemas.openid.net/event/backchannel-logout": {}, "revoke": True}
    for changes in (
        {"aud": ["other", "app"]},
        {"something": {"else": 1}},
        {"events": {**events}},
        {"sub": ...},
        {"sid": "unknown"},
    ):
        answer = post_token(client, issuer.sign(issuer.logout_token(**changes)))
        assert answer.status_code == 200, changes


def test_how_a_logout_token_is_sent(client: FlaskClient, issuer: Issuer) -> None:
    """One form field, in the body."""
    text = issuer.sign(issuer.logout_token())
    url = "/keycloak/backchannel-logout"

    assert client.post(f"{url}?logout_token={text}").status_code == 400
    assert client.post(url, json={"logout_token": text}).status_code == 400
    assert client.post(url, data=text, content_type="text/plain").status_code == 400
    twice = f"logout_token={text}&logout_token={text}"
    kind = "application/x-www-form-urlencoded"
    assert client.post(url, data=twice, content_type=kind).status_code == 400
    assert post_token(client, "a.b.c.d.e").status_code == 400


def test_keycloak_is_down_when_its_message_comes(
    app: Flask, client: FlaskClient, config: Make
) -> None:
    """Without keys nothing is believed: 503, in time, and nothing happens."""
    gone = create_app(config("http://127.0.0.1:9"))
    began = time.monotonic()

    status = post(gone.test_client(), "k_logout", "eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.e30.AA")

    assert status == 503
    assert time.monotonic() - began < 5
    state_of(gone).authority.close()
