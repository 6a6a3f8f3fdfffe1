"""``/global-token-revocation``: all tokens of a person end, and 204 says that they have."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from flask_clustertoken.clock import SystemClock
from tests.doubles import Cluster, store_of
from tests.gateway.parts import Answer, Door, door

ISSUER = "https://acme.okta.example"
URL = "https://auth.example"
AUDIENCE = f"{URL}/global-token-revocation"
OPAQUE = {"format": "opaque", "id": "alice"}

PEOPLE = {
    ("iss_sub", ISSUER, "00u1"): "alice",
    ("email", "alice@app.example"): ["alice", "alice.old"],
}


def people(sub_id: Mapping[str, str]) -> Any:
    """The app's mapping: its subject for what others call a person."""
    return PEOPLE.get(tuple(sub_id.values()))  # type: ignore[call-overload]


@pytest.fixture
def caller(front: Door) -> str:
    return front.api_token("revoke")


def test_everything_of_a_person_ends(front: Door, caller: str) -> None:
    """Logins and API tokens; nobody else's."""
    logins = [front.login() for _ in range(3)]
    bearer = front.api_token("read", subject="alice")
    other = front.login("bob")

    answer = front.end_person(caller, OPAQUE)
    assert (answer.status, answer.body) == (204, b"")
    assert [front.auth(text).status for text in logins] == [401] * 3
    assert front.auth(bearer=bearer).status == 401
    assert front.auth(other).status == 200
    assert front.auth(front.login()).status == 200


def test_204_only_where_it_is_refused_everywhere(cluster: Cluster) -> None:
    """A node that has not answered may still accept: 503, which says so."""
    cluster.clock = SystemClock()  # type: ignore[assignment]
    there = door(cluster, gateway={"GATEWAY_CONFIRM_TIMEOUT": 0.05})
    other = cluster.node()
    cluster.step()
    caller, text = there.api_token("revoke"), there.login()
    assert other.authenticate(text)

    answer = there.end_person(caller, OPAQUE)
    assert (answer.status, answer.json["error"]) == (503, "not_confirmed")
    assert answer["Retry-After"]
    assert other.authenticate(text)
    other.close()
    assert there.end_person(caller, OPAQUE).status == 204


def test_a_store_in_trouble_is_a_503(front: Door, caller: str) -> None:
    """Nothing is said to be done."""
    text = front.login()
    front.auth(text)
    front.post("/revoke", caller, token="garbage")
    store_of(front.authority).cut()
    assert front.end_person(caller, OPAQUE).status == 503


def test_only_callers_with_the_scope_may_end(front: Door) -> None:
    """It logs people out, so it is asked for by name."""
    text = front.login()
    assert front.end_person(None, OPAQUE).status == 401
    assert front.end_person(text, OPAQUE).status == 401
    assert front.end_person(front.api_token("introspect"), OPAQUE).status == 403
    assert front.auth(text).status == 200


# -- whom ------------------------------------------------------------------------------


def test_the_app_says_who_is_meant(cluster: Cluster) -> None:
    """One subject or several, or nobody."""
    there = door(cluster, subject_of=people)
    caller = there.api_token("revoke")
    texts = [there.login(), there.login("alice.old")]

    first = there.end_person(caller, {"format": "iss_sub", "iss": ISSUER, "sub": "00u1"})
    assert first.status == 204
    assert [there.auth(text).status for text in texts] == [401, 200]
    email = {"format": "email", "email": "alice@app.example"}
    assert there.end_person(caller, email).status == 204
    assert there.auth(texts[1]).status == 401
    nobody = there.end_person(caller, {"format": "email", "email": "x@app.example"})
    assert (nobody.status, nobody.json["error"]) == (404, "not_found")


def test_a_mapping_is_found_by_its_name(cluster: Cluster) -> None:
    """As the environment names it."""
    named = f"{__name__}:people"
    there = door(cluster, gateway={"GATEWAY_SUBJECTS": named})
    text = there.login()
    sub_id = {"format": "iss_sub", "iss": ISSUER, "sub": "00u1"}
    assert there.end_person(there.api_token("revoke"), sub_id).status == 204
    assert there.auth(text).status == 401


def test_without_a_mapping_only_opaque_is_known(front: Door, caller: str) -> None:
    """An e-mail address is not taken for a subject: that would end nobody, and say 204."""
    answer = front.end_person(caller, {"format": "email", "email": "alice@app.example"})
    assert answer.status == 400
    assert "CLUSTERTOKEN_GATEWAY_SUBJECTS" in answer.json["error_description"]


@pytest.mark.parametrize(
    "sub_id",
    [
        None,
        "alice",
        {},
        {"id": "alice"},
        {"format": "opaque"},
        {"format": "opaque", "id": ""},
        {"format": "opaque", "id": 7},
        {"format": "opaque", "id": None},
        {"format": "opaque", "id": ["alice"]},
        {"format": "opaque", "id": "alice", "more": "x"},
        {"format": "opaque", "id": "\ud800"},
        {"format": ["opaque"], "id": "alice"},
        {"format": "iss_sub", "iss": ISSUER},
        {"format": "phone_number", "phone_number": "+1"},
        {"format": "aliases", "identifiers": [OPAQUE]},
        {"format": "opaque", "id": "x" * 2000},
    ],
)
def test_what_is_no_subject_identifier_is_refused(front: Door, caller: str, sub_id: object) -> None:
    """RFC 9493: each format has its members, and no other."""
    head = front.authority.store.head()
    answer = front.end_person(caller, sub_id)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert front.authority.store.head() == head


@pytest.mark.parametrize("body", [b" ", b"{", b"[]", b"[" * 50_000, b"\xff", b'{"sub_id": NaN}'])
def test_what_is_no_json_is_refused(front: Door, caller: str, body: bytes) -> None:
    """However deep it is."""
    headers = {"Authorization": f"Bearer {caller}", "Content-Type": "application/json"}
    assert front.ask("POST", "/global-token-revocation", headers, body=body).status == 400


def test_a_mapping_that_fails_is_no_success(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """500, and the log has why."""
    caplog.set_level(logging.CRITICAL)

    def broken(_: Mapping[str, str]) -> str:
        raise LookupError("the directory of people is down")

    there = door(cluster, subject_of=broken)
    answer = there.end_person(there.api_token("revoke"), OPAQUE)
    assert answer.status == 500
    assert "directory" not in answer.body.decode()


# -- signed JWTs -----------------------------------------------------------------------

RSA = RSAKey.generate_key(2048, parameters={"kid": "one"})
EC = ECKey.generate_key("P-256", parameters={"kid": "two"})


class Okta:
    """An issuer that signs what Okta signs, and what it should not."""

    def __init__(self, front: Door, clock: Any) -> None:
        self.front = front
        self.clock = clock

    def sign(
        self, *, key: Any = RSA, alg: str = "RS256", header: Any = None, **changed: Any
    ) -> str:
        now = int(self.clock.time())
        claims = {
            "iss": ISSUER,
            "sub": "0oa-client",
            "aud": AUDIENCE,
            "jti": "jti-1",
            "iat": now,
            "nbf": now - 300,
            "exp": now + 300,
            **changed,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        said = {"alg": alg, "kid": key.kid or "one", "typ": "global-token-revocation+jwt"}
        said = {name: one for name, one in {**said, **(header or {})}.items() if one is not None}
        return jwt.encode(said, claims, key, algorithms=[alg])

    def end(self, text: str | None = None, sub_id: object = OPAQUE, **changed: Any) -> Answer:
        return self.front.end_person(text or self.sign(**changed), sub_id)


@pytest.fixture
def okta(cluster: Cluster, tmp_path: Path) -> Okta:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(KeySet([RSA, EC]).as_dict(private=False)))
    settings = {"GATEWAY_ISSUER": ISSUER, "GATEWAY_JWKS": str(keys), "GATEWAY_URL": URL}
    there = door(cluster, gateway=settings)
    there.authority.follower()
    return Okta(there, cluster.clock)


def test_a_signed_jwt_ends_a_person(okta: Okta) -> None:
    """As Okta's Universal Logout calls it; API tokens go on to be good callers."""
    texts = [okta.front.login(), okta.front.login("bob")]
    assert okta.end().status == 204
    assert [okta.front.auth(text).status for text in texts] == [401, 200]
    bob = {"format": "opaque", "id": "bob"}
    assert okta.front.end_person(okta.front.api_token("revoke"), bob).status == 204


@pytest.mark.parametrize(
    "changed",
    [
        {"key": EC, "alg": "ES256"},
        {"header": {"typ": None}},
        {"header": {"typ": "JWT"}},
        {"aud": [AUDIENCE, "https://elsewhere.example"]},
        {"nbf": None, "iat": None},
        {"nbf": -1},
    ],
)
def test_what_is_fine_is_accepted(okta: Okta, changed: dict[str, Any]) -> None:
    """What the draft leaves open."""
    assert okta.end(**changed).status == 204


STRANGER = RSAKey.generate_key(2048, parameters={"kid": "one"})
UNKNOWN = RSAKey.generate_key(2048, parameters={"kid": "three"})


@pytest.mark.parametrize(
    "changed",
    [
        {"key": STRANGER},
        {"key": UNKNOWN},
        {"key": OctKey.generate_key(256, parameters={"kid": "one"}), "alg": "HS256"},
        {"header": {"typ": "logout+jwt"}},
        {"header": {"typ": "secevent+jwt"}},
        {"header": {"typ": "at+jwt"}},
        {"header": {"kid": None}},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": None},
        {"aud": URL},
        {"aud": f"{AUDIENCE}/"},
        {"aud": {AUDIENCE: 1}},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"exp": None},
        {"exp": 1},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 2**40},
        {"nbf": 2**40},
        {"iat": 2**40},
    ],
)
def test_what_is_not_the_issuers_or_not_for_us_is_refused(
    okta: Okta, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Every field wrong or missing; the log says why, and nothing is ended."""
    text = okta.front.login()
    answer = okta.end(**changed)
    assert answer.status == 401, answer.json
    assert okta.front.auth(text).status == 200
    assert "a signed JWT was refused" in caplog.text


def spelled(header: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def test_no_signature_is_no_proof(okta: Okta) -> None:
    """``none``, the public key as a shared one, a cut one, a megabyte, and what is no JWT."""
    good = okta.sign()
    head, payload, signature = good.split(".")
    none, shared = (spelled({"alg": alg, "kid": "one"}) for alg in ("none", "HS256"))
    public = RSA.as_pem(private=False)
    mac = hmac.digest(public, f"{shared}.{payload}".encode(), "sha256")
    for text in (
        f"{shared}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{good}x",
        "x" * 1_000_000,
        "a.b.c",
    ):
        assert okta.end(text).status == 401


def test_a_jwt_counts_once(okta: Okta) -> None:
    """Sent again it ends nothing that came since, and is answered as before."""
    signed = okta.sign()
    assert okta.end(signed).status == 204
    later = okta.front.login()
    head = okta.front.authority.store.head()

    assert okta.end(signed).status == 204
    assert okta.front.auth(later).status == 200
    # (The barrier that asks whether it is in force is an entry, too.)
    assert len(okta.front.authority.store.read(head).entries) == 1


def test_a_jwt_ends_nobody_but_whom_it_came_with(okta: Okta) -> None:
    """The body is not signed: whoever has seen a JWT could end everybody with it."""
    text = okta.front.login("bob")
    signed = okta.sign()
    assert okta.end(signed).status == 204
    assert okta.end(signed, {"format": "opaque", "id": "bob"}).status == 401
    assert okta.front.auth(text).status == 200
    assert okta.end(jti="jti-2", sub_id={"format": "opaque", "id": "bob"}).status == 204


def test_an_issuer_ends_its_own_people(cluster: Cluster, okta: Okta) -> None:
    """And not those of another one."""
    foreign = {"format": "iss_sub", "iss": "https://other.example", "sub": "00u1"}
    assert okta.end(sub_id=foreign).status == 403


def test_keys_are_read_again_for_a_new_one(okta: Okta, tmp_path: Path, cluster: Cluster) -> None:
    """A rotation at the issuer needs nothing here."""
    assert okta.end().status == 204
    assert okta.end(key=UNKNOWN, jti="2").status == 401
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([UNKNOWN]).as_dict(private=False)))
    cluster.clock.advance(2)
    assert okta.end(key=UNKNOWN, jti="3").status == 204


def test_without_keys_it_is_a_503(okta: Okta, tmp_path: Path) -> None:
    """Not the caller's fault."""
    (tmp_path / "keys.json").write_text("{}")
    assert okta.end().status == 503


def test_where_no_issuer_is_set_a_jwt_is_no_caller(front: Door, cluster: Cluster) -> None:
    """And is refused as any other text."""
    assert Okta(front, cluster.clock).end().status == 401
