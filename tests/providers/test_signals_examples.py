"""The specifications' examples, with our issuer, audience and time; and older spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.providers.listener import Listener, told
from tests.providers.transmitter import CAEP, RISC, TransmitterDouble

Listen = Callable[..., Listener]

REASON = {"initiating_entity": "policy", "reason_admin": {"en": "Landspeed Policy Violation"}}


@pytest.fixture
def pushed(listen: Listen) -> Listener:
    return listen(
        credentials=..., delivery="push", audience="https://sp.example.com/caep", find_subject=find
    )


def find(subject: Any) -> str | None:
    """Whom the app knows by what the examples name people by."""
    known = {"foo@example.com": "foo", "+1 206 555 0123": "caller", "acct:a@example.com": "acct"}
    names = (subject.get(name) for name in ("email", "phone_number", "uri"))
    return next((known[name] for name in names if name in known), None)


def iss_sub(sub: str) -> dict[str, Any]:
    return {"format": "iss_sub", "iss": "{iss}", "sub": sub}


#: What the example is, its event, its subject, the login that it ends (``None``: none).
EXAMPLES: list[tuple[str, str, Any, dict[str, Any], dict[str, Any] | None]] = [
    (
        "CAEP 1.0, 3.1: a session by its id",
        f"{CAEP}session-revoked",
        {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        {"event_timestamp": 1615304991},
        {"sub": "x", "sid": "dMTlD|1600802906337.16|16008.16"},
    ),
    (
        "CAEP 1.0, 3.1: session, user and tenant",
        f"{CAEP}session-revoked",
        {
            "format": "complex",
            "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
            "user": iss_sub("99beb27c-c1c2-4955-882a-e0dc4996fcbc"),
            "tenant": {"format": "opaque", "id": "123456789"},
        },
        REASON,
        {"sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc", "sid": "dMTlD|1600802906337.16|16008.16"},
    ),
    (
        "CAEP 1.0, 3.1: user, device and tenant",
        f"{CAEP}session-revoked",
        {
            "format": "complex",
            "user": iss_sub("jane.smith@example.com"),
            "device": iss_sub("e9297990-14d2-42ec-a4a9-4036db86509a"),
            "tenant": {"format": "opaque", "id": "123456789"},
        },
        REASON,
        {"sub": "jane.smith@example.com", "sid": "any"},
    ),
    (
        "CAEP 1.0, 3.2: claims of a token by its id",
        f"{CAEP}token-claims-change",
        {"format": "jwt_id", "iss": "{iss}", "jti": "f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"},
        {"claims": {"role": "ro-admin"}},
        None,
    ),
    (
        "CAEP 1.0, 3.2: a SAML assertion",
        f"{CAEP}token-claims-change",
        {"format": "saml_assertion_id", "issuer": "{iss}", "assertion_id": "_a75adf55-01d7"},
        {"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/role": "ro-admin"}},
        None,
    ),
    (
        "CAEP 1.0, 3.3: a new authenticator",
        f"{CAEP}credential-change",
        iss_sub("jane.smith@example.com"),
        {"credential_type": "fido2-roaming", "change_type": "create"},
        None,
    ),
    (
        "CAEP 1.0, 3.4: a higher level",
        f"{CAEP}assurance-level-change",
        iss_sub("jane.smith@example.com"),
        {"namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1"},
        None,
    ),
    (
        "CAEP 1.0, 3.5: a device alone",
        f"{CAEP}device-compliance-change",
        {
            "format": "complex",
            "device": iss_sub("e9297990-14d2-42ec-a4a9-4036db86509a"),
            "tenant": {"format": "opaque", "id": "123456789"},
        },
        {"current_status": "not-compliant", "previous_status": "compliant"},
        None,
    ),
    (
        "SSF 1.0, 4: an account that is enabled",
        f"{RISC}account-enabled",
        {"format": "email", "email": "foo@example.com"},
        {},
        None,
    ),
    (
        "SSF 1.0, 4: an account that is disabled, by a phone number",
        f"{RISC}account-disabled",
        {"format": "phone_number", "phone_number": "+1 206 555 0123"},
        {"reason": "hijacking"},
        {"sub": "caller"},
    ),
    (
        "SSF 1.0, 4: a format of one's own",
        f"{CAEP}token-claims-change",
        {"format": "catalog_item", "catalog_id": "c0384/winter/2354122"},
        {"claims": {"role": "ro-admin"}},
        None,
    ),
    (
        "RFC 9493, 3.2.8: aliases",
        f"{RISC}account-purged",
        {
            "format": "aliases",
            "identifiers": [
                {"format": "email", "email": "foo@example.com"},
                {"format": "did", "url": "did:example:123456/did/url/path?versionId=1"},
                iss_sub("145234573"),
            ],
        },
        {},
        {"sub": "145234573", "sid": "s"},
    ),
    (
        "RFC 9493, 3.2.1: an account by its URI",
        f"{RISC}credential-compromise",
        {"format": "account", "uri": "acct:a@example.com"},
        {"credential_type": "password"},
        {"sub": "acct"},
    ),
]


def test_every_session_of_a_person(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """Keycloak calls the session ALL where somebody was logged out altogether."""
    mine = [pushed.login({"sub": "alice", "sid": one}) for one in ("a", "b")]
    bobs = pushed.login({"sub": "bob", "sid": "c"})
    claims = transmitter.revoked("ALL", aud="https://sp.example.com/caep")

    assert pushed.push(transmitter.signed(claims)).status_code == 202

    assert [one.stands() for one in mine] == [False, False]
    assert bobs.stands()


def filled(value: Any, issuer: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(one, issuer) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, issuer) for one in value]
    return issuer if value == "{iss}" else value


@pytest.mark.parametrize(
    ("kind", "subject", "payload", "ends"),
    [one[1:] for one in EXAMPLES],
    ids=[one[0] for one in EXAMPLES],
)
def test_the_examples(
    pushed: Listener,
    transmitter: TransmitterDouble,
    kind: str,
    subject: Any,
    payload: dict[str, Any],
    ends: dict[str, Any] | None,
) -> None:
    """Each is acknowledged and told; it ends whom it names, and nobody else."""
    login = pushed.login(ends or {"sub": "jane.smith@example.com", "sid": "sid-1"})
    other = pushed.login({"sub": "somebody-else", "sid": "another"})
    subject = filled(subject, transmitter.issuer)
    claims = transmitter.claims(kind, subject, payload, aud="https://sp.example.com/caep")

    with told(pushed) as heard:
        assert pushed.push(transmitter.signed(claims)).status_code == 202

    (event,) = heard
    assert event.subject == subject
    assert event.ended is (ends is not None)
    assert login.stands() is (ends is None)
    assert other.stands()


OLDER: list[tuple[str, Any, Any]] = [
    ("RISC's draft", "risc", {"subject_type": "iss-sub", "iss": "{iss}", "sub": "alice"}),
    (
        "with a slash behind the issuer",
        "risc",
        {"subject_type": "iss_sub", "iss": "{iss}/", "sub": "alice"},
    ),
    ("SSE's", "caep", {"format": "iss_sub", "iss": "{iss}", "sub": "alice"}),
    (
        "SSE's complex one",
        "caep",
        {
            "user": {"format": "iss_sub", "iss": "{iss}", "sub": "alice"},
            "session": {"format": "opaque", "id": "sid-1"},
        },
    ),
]


@pytest.mark.parametrize(
    ("profile", "subject"), [one[1:] for one in OLDER], ids=[o[0] for o in OLDER]
)
def test_older_spellings(
    pushed: Listener, transmitter: TransmitterDouble, profile: str, subject: Any
) -> None:
    """The subject inside the event (as Google and Apple have it): it ends the same."""
    kind = f"{RISC}sessions-revoked" if profile == "risc" else f"{CAEP}session-revoked"
    login = pushed.login()
    payload = {"subject": filled(subject, transmitter.issuer), "reason": "hijacking"}
    if isinstance(subject.get("iss"), str) and subject["iss"].endswith("/"):
        payload["subject"]["iss"] = f"{transmitter.issuer}/"
    claims = transmitter.claims(kind, ..., payload, aud=["https://sp.example.com/caep"])

    assert pushed.push(transmitter.signed(claims)).status_code == 202

    assert not login.stands()


def test_logins_of_another_issuer(listen: Listen, transmitter: TransmitterDouble) -> None:
    """A transmitter that calls itself otherwise than the provider does: *about* says so."""
    provider = "https://login.example/oauth2/default"
    node = listen(credentials=..., delivery="push", audience="app", about=[provider])
    mine = {"iss": provider, "sub": "alice", "sid": "s"}
    for kind, subject in (
        ("session-revoked", {"format": "opaque", "id": "s"}),
        ("session-revoked", {"format": "iss_sub", "iss": provider, "sub": "alice"}),
    ):
        login = node.login(mine)
        claims = transmitter.claims(f"{CAEP}{kind}", subject)
        assert node.push(transmitter.signed(claims)).status_code == 202
        assert not login.stands()
        mine = {**mine, "sid": "t"}
    with pytest.raises(ValueError, match="claims"):
        node.login({"iss": "https://elsewhere.example", "sub": "alice"})
