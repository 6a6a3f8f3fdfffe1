"""``/introspect``: what a service learns of a token, and for how long it may believe it."""

from __future__ import annotations

import base64
import threading

import pytest

from flask_clustertoken.authority.proving import UNBOUND_GRACE
from flask_clustertoken.settings.limits import DAY
from tests.doubles import Cluster, store_of
from tests.gateway.parts import COOKIE, Door, door


@pytest.fixture
def caller(front: Door) -> str:
    return front.api_token("introspect")


def test_a_good_login_is_described(front: Door, caller: str) -> None:
    """RFC 7662's names; the app's claims stand apart, for one may be called ``active``."""
    answer = front.post(
        "/introspect", caller, token=front.login("Zoë", {"active": False, "role": "editor"})
    )

    assert answer.status == 200
    said = answer.json
    assert said["active"] is True
    assert said["sub"] == "Zoë"
    assert said["claims"] == {"active": False, "role": "editor"}
    assert said["kind"] == "login"
    assert said["exp"] > said["iat"]
    assert len(said["jti"]) == 24


def test_a_good_api_token_is_described(front: Door, caller: str) -> None:
    """With its scopes, in one text."""
    said = front.post("/introspect", caller, token=front.api_token("read", "write")).json
    assert (said["active"], said["scope"], said["token_type"]) == (True, "read write", "Bearer")
    assert "exp" not in said


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_a_hint_changes_nothing(front: Door, caller: str, hint: str) -> None:
    """It is one, and may be wrong (RFC 7662, 2.1)."""
    answer = front.post("/introspect", caller, token=front.login(), token_type_hint=hint)
    assert answer.json["active"] is True


@pytest.mark.parametrize("why", ["garbage", "revoked", "expired", "locked", "realm", "cut", "long"])
def test_of_what_is_not_good_nothing_is_said(
    front: Door, caller: str, cluster: Cluster, why: str
) -> None:
    """One answer for all reasons, kept by nobody."""
    text = front.login()
    if why == "revoked":
        front.authority.revoke_subject("alice")
    elif why == "locked":
        front.authority.locking.lock(subject="alice", message="a secret of the office")
    elif why == "expired":
        cluster.clock.advance(8 * DAY)
        cluster.step()
    elif why == "realm":
        text = _of_another_realm()
    elif why == "long":
        text = text * 40
    elif why != "garbage":
        text = text[:-3]
    else:
        text = "garbage"

    answer = front.post("/introspect", caller, token=text)
    assert (answer.status, answer.json) == (200, {"active": False})
    assert answer["Cache-Control"] == "no-store"


def _of_another_realm() -> str:
    """A login of a realm with the same secret: whoever asks here learns nothing of it."""
    other = Cluster()
    try:
        return other.node(REALM="elsewhere").issue_login("alice").text
    finally:
        other.close()


def test_an_answer_is_kept_while_the_node_can_vouch_for_it(
    front: Door, caller: str, cluster: Cluster
) -> None:
    """Whole seconds of the lease, never more: a cache does not outlive the bound."""
    text = front.login()
    cluster.step()
    cluster.clock.advance(0.5)

    ages = []
    for _ in range(10):
        left = front.authority.follower().lease_end - cluster.clock.monotonic()
        answer = front.post("/introspect", caller, token=text)
        assert answer.max_age <= left
        ages.append(answer.max_age)
        cluster.clock.advance(1)

    assert ages == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert front.post("/introspect", caller, token=text).status == 503


def test_an_answer_is_not_kept_longer_than_the_token_lives(
    cluster: Cluster, caller: str, front: Door
) -> None:
    """Nor than the operator allows."""
    text = front.login()
    cluster.clock.advance(7 * DAY - 3)
    cluster.step()
    assert front.post("/introspect", caller, token=text).max_age == 3

    short = door(cluster, gateway={"GATEWAY_MAX_AGE": 2})
    never = door(cluster, gateway={"GATEWAY_MAX_AGE": 0})
    cluster.step()
    fresh = front.login("bob")
    assert short.post("/introspect", caller, token=fresh).max_age == 2
    assert never.post("/introspect", caller, token=fresh)["Cache-Control"] == "no-store"


def test_the_time_is_counted_from_before_the_judgement(
    front: Door, caller: str, cluster: Cluster
) -> None:
    """A lease that was prolonged while a token was judged vouches for nothing of before."""
    text = front.login()
    cluster.step()
    cluster.clock.advance(4)
    front.authority.authenticate(caller, "api")
    authenticate = front.authority.authenticate

    def slowly(asked: str, *args: object, **more: object) -> object:
        found = authenticate(asked, *args, **more)  # type: ignore[arg-type]
        if asked == text:
            cluster.step()
        return found

    front.authority.authenticate = slowly  # type: ignore[method-assign, assignment]
    assert front.post("/introspect", caller, token=text).max_age == 6


def test_where_staleness_is_gone_by_nothing_is_kept(cluster: Cluster) -> None:
    """With WHEN_STALE=accept an answer may be wrong without a bound: nobody passes it on."""
    there = door(cluster, WHEN_STALE="accept")
    caller, text = there.api_token("introspect"), there.login()
    there.post("/introspect", caller, token=text)
    store_of(there.authority).cut()
    cluster.clock.advance(30)

    answer = there.post("/introspect", caller, token=text)
    assert answer.json["active"] is True
    assert answer["Cache-Control"] == "no-store"


def test_a_stale_gateway_never_says_inactive(front: Door, caller: str, cluster: Cluster) -> None:
    """It does not know: 503, with the time to ask again."""
    text = front.login()
    front.post("/introspect", caller, token=text)
    store_of(front.authority).cut()
    cluster.clock.advance(11)

    answer = front.post("/introspect", caller, token=text)
    assert answer.status == 503
    assert answer["Retry-After"]
    assert "active" not in answer.json


def test_a_token_that_cannot_be_judged_is_a_503(front: Door, caller: str) -> None:
    """The record of a first sight cannot be read."""
    text = front.login()
    front.post("/introspect", caller, token=front.login("bob"))
    front.authority.remembered.clear()
    front.authority.authenticate(caller, "api")
    store_of(front.authority).cut()
    answer = front.post("/introspect", caller, token=text)
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")


# -- bound to a device -----------------------------------------------------------------


@pytest.fixture
def bound(front: Door) -> tuple[str, str]:
    """A login that is bound to a device, and the proof that its browser was given."""
    issued = front.authority.bind(front.authority.issue_login("alice").token, "A" * 44)
    return issued.text, front.authority.proving.proof(issued.token)[0]


def test_of_a_bound_login_both_texts_are_needed(
    front: Door, caller: str, bound: tuple[str, str]
) -> None:
    """One alone is what somebody has who took a copy."""
    text, proof = bound
    other = front.authority.bind(front.authority.issue_login("bob").token, "B" * 44)
    others = front.authority.proving.proof(other.token)[0]

    both = front.post("/introspect", caller, token=text, bound_token=proof)
    assert (both.json["active"], both.json["bound"], both.json["sub"]) == (True, True, "alice")
    for alone in (
        {"token": text},
        {"token": text, "bound_token": ""},
        {"token": text, "bound_token": others},
        {"token": text, "bound_token": "garbage"},
        {"token": proof, "bound_token": text},
        {"token": proof},
    ):
        assert front.post("/introspect", caller, **alone).json == {"active": False}
    plain = front.post("/introspect", caller, token=front.login(), bound_token=proof)
    assert plain.json["active"] is True
    assert "bound" not in plain.json


def test_an_answer_is_not_kept_longer_than_the_proof_is_good(
    front: Door, caller: str, bound: tuple[str, str], cluster: Cluster
) -> None:
    """Behind it the browser has to show that it has the key."""
    text, proof = bound
    cluster.clock.advance(front.authority.settings.bound_lifetime - 3)
    cluster.step()
    answer = front.post("/introspect", caller, token=text, bound_token=proof)
    assert (answer.json["active"], answer.max_age) == (True, 3)
    cluster.clock.advance(100)
    cluster.step()
    answer = front.post("/introspect", caller, token=text, bound_token=proof)
    assert answer.json == {"active": False}


def test_an_answer_is_not_kept_longer_than_a_login_counts_unbound(cluster: Cluster) -> None:
    """Where every login has to be bound, ``/auth`` refuses it behind that moment."""
    there = door(cluster, DEVICE_BOUND="require")
    caller, text = there.api_token("introspect"), there.login()
    cluster.clock.advance(UNBOUND_GRACE + there.authority.proving.tolerance - 3)
    cluster.step()
    answer = there.post("/introspect", caller, token=text)
    assert (answer.json["active"], answer.max_age) == (True, 3)
    robot = there.post("/introspect", caller, token=there.api_token("read"))
    assert robot.max_age > 3

    cluster.clock.advance(3)
    assert there.auth(text).status == 401
    assert there.post("/introspect", caller, token=text).json == {"active": False}


def test_the_proxy_hands_both_cookies_on(front: Door, bound: tuple[str, str]) -> None:
    """As the browser sends them; without the second nobody is let in, and no cookie is touched."""
    text, proof = bound
    both = {"Cookie": f"{COOKIE}={text}; {COOKIE}-bound={proof}", "X-Original-Method": "GET"}
    assert front.ask("GET", "/auth", both).identity["Subject"] == "alice"
    alone = front.auth(text)
    assert (alone.status, alone.json["reason"]) == (401, "unproven")
    assert alone.identity["Subject"] == ""
    assert alone["Set-Cookie"] is None


# -- who may ask -----------------------------------------------------------------------


def test_only_callers_with_the_scope_may_ask(front: Door) -> None:
    """A token that anybody may have would be an oracle of everybody's tokens."""
    text = front.login()

    nobody = front.post("/introspect", None, token=text)
    assert (nobody.status, nobody["WWW-Authenticate"]) == (401, 'Bearer realm="tokens"')
    assert front.post("/introspect", "garbage", token=text).status == 401
    assert front.post("/introspect", text, token=text).status == 401
    other = front.post("/introspect", front.api_token("revoke"), token=text)
    assert other.status == 403
    assert 'scope="introspect"' in (other["WWW-Authenticate"] or "")


def test_a_cookie_is_no_caller(front: Door) -> None:
    """A page of any site may send it."""
    headers = {
        "Cookie": f"{COOKIE}={front.login()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert front.ask("POST", "/introspect", headers, body=b"token=x").status == 401


def test_a_revoked_caller_learns_nothing_more(front: Door, caller: str) -> None:
    """Its token ends like any other."""
    front.authority.revoke_subject("service", ["api"])
    assert front.post("/introspect", caller, token=front.login()).status == 401


@pytest.mark.parametrize(
    ("said", "status"),
    [("{user}:{token}", 200), (":{token}", 200), ("{token}", 401), ("user:", 401), ("\xff", 401)],
)
def test_libraries_that_know_basic_alone_may_ask(
    front: Door, caller: str, said: str, status: int
) -> None:
    """The API token is the password, as client_secret_basic has it."""
    pair = said.format(user="orders", token=caller).encode("latin-1")
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = f"token={front.login()}".encode()
    assert front.ask("POST", "/introspect", headers, body=body).status == status


# -- what is no question ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"", 400),
        ("application/x-www-form-urlencoded", b"token=", 400),
        ("application/x-www-form-urlencoded", b"token=a&token=b", 400),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 40), 400),
        ("application/x-www-form-urlencoded", b"token=\xff", 400),
        ("application/json", b'{"token": "a"}', 400),
        ("", b"token=a", 400),
        ("application/x-www-form-urlencoded", b"token=" + b"a" * 70_000, 413),
    ],
)
def test_what_is_no_question_is_refused(
    front: Door, caller: str, kind: str, body: bytes, status: int
) -> None:
    """With what to send instead."""
    headers = {"Authorization": f"Bearer {caller}", "Content-Type": kind}
    answer = front.ask("POST", "/introspect", headers, body=body)
    assert (answer.status, answer.json["error"]) == (status, "invalid_request")


def test_it_is_asked_by_post_alone(front: Door, caller: str) -> None:
    """A token in a URL stands in logs."""
    answer = front.ask("GET", f"/introspect?token={caller}")
    assert (answer.status, answer["Allow"]) == (405, "POST")


def test_many_threads_may_ask_at_once(front: Door, caller: str) -> None:
    """The gateway keeps nothing of one request for the next."""
    texts = {name: front.login(name) for name in "abcdefgh"}
    wrong: list[str] = []

    def ask(name: str) -> None:
        for _ in range(20):
            if front.post("/introspect", caller, token=texts[name]).json["sub"] != name:
                wrong.append(name)
            if front.auth(texts[name]).identity["Subject"] != name:
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in texts]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert not wrong
