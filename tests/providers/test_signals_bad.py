"""What is refused of a transmitter, and with which code: fields, signatures, sizes."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from flask_clustertoken.clock import ManualClock
from tests.providers.listener import Listener
from tests.providers.transmitter import CAEP, SSF, TransmitterDouble

Listen = Callable[..., Listener]

SESSION_REVOKED = f"{CAEP}session-revoked"
NO_NUMBERS: list[Any] = ["soon", None, True, [], {}, float("nan"), float("inf"), 10**400]
ODD_SUBJECTS: list[Any] = [
    None,
    7,
    "alice",
    [],
    {},
    {"format": 7},
    {"format": None, "sub": "alice"},
    {"format": "complex", "user": "alice"},
    {"format": "complex", "session": [1]},
    {"format": "aliases", "identifiers": "alice"},
    {"format": "aliases", "identifiers": ["alice"]},
    {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}] * 100},
]

WRONG: dict[str, tuple[str, list[Any]]] = {
    "iss": ("invalid_issuer", [..., "", None, 7, [], "https://elsewhere.example"]),
    "aud": ("invalid_audience", [..., "", None, 7, [], ["other"], [["app"]], {"app": 1}, "app "]),
    "iat": ("invalid_request", [..., int(time.time()) + 3600, 0, -1, *NO_NUMBERS]),
    "jti": ("invalid_request", [..., "", None, 7, [], "x" * 513, "\ud800"]),
    "events": (
        "invalid_request",
        [
            ...,
            None,
            7,
            [],
            {},
            [SESSION_REVOKED],
            SESSION_REVOKED,
            {SESSION_REVOKED: None},
            {SESSION_REVOKED: "x"},
            {SESSION_REVOKED: []},
            {"": {}},
            {f"{SESSION_REVOKED}{n}": {} for n in range(100)},
        ],
    ),
    "sub": ("invalid_request", ["alice", None, 7]),
    "exp": ("invalid_request", [int(time.time()) + 100, None]),
    "sub_id": ("invalid_request", ODD_SUBJECTS),
}


@pytest.fixture
def pushed(listen: Listen) -> Listener:
    return listen(credentials=..., delivery="push", audience="app")


def error(answer: Any) -> str:
    assert answer.status_code == 400, answer.status_code
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Language"] == "en"
    said = json.loads(answer.data)
    assert set(said) == {"err", "description"}
    return str(said["err"])


@pytest.mark.parametrize("field", WRONG)
def test_every_field(pushed: Listener, transmitter: TransmitterDouble, field: str) -> None:
    """Wrong, missing or of another type: 400 with the code of RFC 8935, and nothing is ended."""
    login = pushed.login()
    code, values = WRONG[field]
    for value in values:
        if field == "sub_id" and value is None:
            continue  # (None is no subject at all: below)
        text = transmitter.signed(transmitter.revoked(**{field: value}))
        assert error(pushed.push(text)) == code, value
    assert login.stands()


@pytest.mark.parametrize("typ", [..., "JWT", "logout+jwt", "at+jwt", "", 7, None, {}])
def test_another_kind_of_token(pushed: Listener, transmitter: TransmitterDouble, typ: Any) -> None:
    """Its header does not say that it is a SET (RFC 8417, 2.3)."""
    login = pushed.login()

    answer = pushed.push(transmitter.signed(transmitter.revoked(), typ=typ))

    # (What is no text at all makes no header.)
    odd = typ is not ... and not isinstance(typ, str)
    assert error(answer) == ("invalid_key" if odd else "invalid_request")
    assert login.stands()


def test_an_event_about_nobody(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """It is acknowledged, and ends nothing: what it means is for the app."""
    login = pushed.login()
    for subject in (..., None, {"format": "email", "email": "alice@example.org"}):
        text = transmitter.signed(transmitter.revoked(sub_id=subject))
        assert pushed.push(text).status_code == 202
    assert login.stands()


def test_subjects_of_somebody_else(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """A transmitter is believed about its own people alone."""
    login = pushed.login()
    odd: list[Any] = [7, None, "", "x" * 2000, "\ud800", [], {}]
    subjects = [
        {"format": "iss_sub", "iss": "https://elsewhere.example", "sub": "alice"},
        *({"format": "iss_sub", "iss": transmitter.issuer, "sub": one} for one in odd),
        *({"format": "iss_sub", "iss": one, "sub": "alice"} for one in odd),
        *({"format": "opaque", "id": one} for one in odd),
    ]
    for subject in subjects:
        text = transmitter.signed(transmitter.revoked(sub_id=subject))
        assert pushed.push(text).status_code in (202, 400), subject
    assert login.stands()


_OTHER = RSAKey.generate_key(2048, {"kid": "other"})
_SAME_NAME = RSAKey.generate_key(2048, {"kid": "one"})


def test_signatures(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """By an unknown key, one of the same name, a symmetric or no algorithm, or broken."""
    login, claims = pushed.login(), transmitter.revoked()
    good = transmitter.signed(claims)
    head, body, signature = good.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for text, code in (
        (transmitter.signed(claims, key=_OTHER), "invalid_key"),
        (transmitter.signed(claims, key=_SAME_NAME), "invalid_key"),
        (transmitter.forge_none(claims), "invalid_key"),
        (transmitter.forge_symmetric(claims), "invalid_key"),
        (f"{head}.{body}.{flipped}", "invalid_key"),
        ("a.b.c.d.e", "invalid_key"),
        (f"{head}.{body}", "invalid_request"),
        (f"{head}..{signature}", "invalid_key"),
        ("ÄÖÜ.é.ß", "invalid_request"),
        ("x", "invalid_request"),
        ("", "invalid_request"),
        (json.dumps(claims), "invalid_request"),
    ):
        assert error(pushed.push(text)) == code, text
    assert login.stands()


def test_other_tokens_of_the_same_server(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """A logout token, an ID token and an access token are signed with the same key."""
    login = pushed.login()
    for claims in (
        transmitter.logout_token(),
        transmitter.id_token("n"),
        transmitter.access_token(aud="app"),
    ):
        assert error(pushed.push(transmitter.sign(claims))) == "invalid_request"
    assert login.stands()


def test_a_set_is_no_logout_token(transmitter: TransmitterDouble, pushed: Listener) -> None:
    """Nor is a logout token that says it is a SET: it has an end."""
    login = pushed.login()
    assert error(pushed.push(transmitter.signed(transmitter.logout_token()))) == "invalid_request"
    assert login.stands()


def test_older_than_what_is_remembered(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """A SET has no end: for as long as its id is remembered it is good, and no longer."""
    node = listen(credentials=..., delivery="push", audience="app", remember=3600)
    text = transmitter.signed(transmitter.revoked())
    assert node.push(text).status_code == 202
    clock.advance(3599)
    assert node.push(text).status_code == 202  # (remembered: it does nothing)
    assert node.entries() == 1
    clock.advance(2)
    assert error(node.push(text)) == "invalid_request"
    assert node.entries() == 1


def test_a_megabyte(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """What is longer than any token is not read: 413, with a length or in chunks."""
    login = pushed.login()
    text = transmitter.signed(transmitter.revoked(junk="x" * 1_000_000))
    assert pushed.push(text).status_code == 413
    chunked = pushed.app.test_client().post(
        "/signals/events",
        input_stream=io.BytesIO(text.encode()),
        content_type="application/secevent+jwt",
        environ_overrides={"wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked"},
    )
    assert chunked.status_code == 413
    assert login.stands()


@pytest.mark.parametrize(
    "kind", ["application/jwt", "text/plain", "application/x-www-form-urlencoded", None]
)
def test_another_content_type(
    pushed: Listener, transmitter: TransmitterDouble, kind: str | None
) -> None:
    """RFC 8935, 2.1."""
    login, text = pushed.login(), transmitter.signed(transmitter.revoked())
    answer = pushed.app.test_client().post("/signals/events", data=text, content_type=kind)
    assert error(answer) == "invalid_request"
    assert login.stands()


def test_a_verification_that_nobody_asked_for(
    listen: Listen, transmitter: TransmitterDouble
) -> None:
    """With a state that is not ours: invalid_state. Without any it is the transmitter's own."""
    node = listen(delivery="push", push_url="https://app.example/signals/events")
    node.step()
    (state,) = transmitter.verifications
    for other, expected in (("made-up", 400), (f"x{state}", 400), (None, 202), (state, 202)):
        answer = node.push(transmitter.signed(transmitter.verification(other)))
        assert answer.status_code == expected, other
        if expected == 400:
            assert error(answer) == "invalid_state"
    subject = {"format": "opaque", "id": "s"}
    odd = transmitter.claims(f"{SSF}verification", subject, {"state": ["x"]})
    assert error(node.push(transmitter.signed(odd))) == "invalid_state"
