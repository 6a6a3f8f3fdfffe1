"""Keycloak's keys and algorithms: rotation while we run, ES256 and EdDSA as the realm's default.

And what Keycloak vouches for, and a lock of ours refuses.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests
from flask import Flask
from werkzeug.serving import make_server

from tests.keycloak.app import Make, create_app
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak

pytestmark = pytest.mark.keycloak

JSON = {"Accept": "application/json"}


@pytest.fixture(params=["session", "cookie"])
def app(
    request: pytest.FixtureRequest, server: Keycloak, config: Make
) -> Iterator[tuple[Flask, str]]:
    """The app in this process, at an address that Keycloak can call."""
    # A token is refreshed whenever somebody asks for it.
    options = {"min-time-between-jwks-requests": 0, "token-minimum-time-to-live": 3000}
    made = create_app(config(server.url, "keys", request.param, options=options))
    listening = make_server("127.0.0.1", 0, made, threaded=True)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.server_port}"
    server.make_client("keys", adminUrl=f"{url}/keycloak")
    yield made, url
    listening.shutdown()
    listening.server_close()
    made.extensions["clustertoken"].authority.close()
    server.remove_client("keys")


def add_key(server: Keycloak, kind: str, **more: list[str]) -> str:
    realm = server.admin("GET", "").json()
    made = server.admin(
        "POST",
        "/components",
        {
            "name": f"{kind}-of-the-tests",
            "providerId": kind,
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"],
            "config": {"priority": ["500"], "enabled": ["true"], "active": ["true"], **more},
        },
    )
    return made.headers["Location"].rpartition("/")[2]


def test_keys_rotate(server: Keycloak, app: tuple[Flask, str]) -> None:
    """A login, a bearer token and a logout work with a key that appeared a moment ago."""
    _, url = app
    person = Person()
    assert person.log_in(url, "alice").status_code == 200
    key = add_key(server, "rsa-generated", algorithm=["RS256"])
    try:
        token = server.password_grant("keys", "bob")["access_token"]
        bearer = {**JSON, "Authorization": f"Bearer {token}"}
        assert requests.get(f"{url}/me", headers=bearer, timeout=10).status_code == 200

        server.log_out("alice")

        assert person.get(f"{url}/me", headers=JSON).status_code == 401
    finally:
        server.admin("DELETE", f"/components/{key}")


@pytest.mark.parametrize(
    ("kind", "algorithm", "more"),
    [
        ("ecdsa-generated", "ES256", {"ecdsaEllipticCurveKey": ["P-256"]}),
        ("eddsa-generated", "EdDSA", {"eddsaEllipticCurveKey": ["Ed25519"]}),
        ("rsa-generated", "PS256", {"algorithm": ["PS256"]}),
    ],
)
def test_other_algorithms(
    server: Keycloak,
    app: tuple[Flask, str],
    kind: str,
    algorithm: str,
    more: dict[str, list[str]],
) -> None:
    """The realm's default algorithm may be any asymmetric one: login, bearer, logout."""
    _, url = app
    key = add_key(server, kind, **more)
    server.change_realm(defaultSignatureAlgorithm=algorithm)
    try:
        person = Person()
        assert person.log_in(url, "alice").status_code == 200
        token = server.password_grant("keys", "bob")["access_token"]
        bearer = {**JSON, "Authorization": f"Bearer {token}"}
        assert requests.get(f"{url}/me", headers=bearer, timeout=10).status_code == 200

        server.log_out("alice")

        assert person.get(f"{url}/me", headers=JSON).status_code == 401
    finally:
        server.change_realm(defaultSignatureAlgorithm="RS256")
        server.admin("DELETE", f"/components/{key}")


def test_a_bearer_token_dies_with_its_session(server: Keycloak, app: tuple[Flask, str]) -> None:
    """An access token is refused as soon as the logout of its session has arrived."""
    _, url = app
    person = Person()
    person.log_in(url, "alice")
    token = person.get(f"{url}/token").json()["token"]
    bearer = {**JSON, "Authorization": f"Bearer {token}"}
    assert requests.get(f"{url}/me", headers=bearer, timeout=10).status_code == 200

    server.log_out("alice")

    answer = requests.get(f"{url}/me", headers=bearer, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["reason"] == "revoked"


def test_roles_follow_the_refreshed_token(server: Keycloak, app: tuple[Flask, str]) -> None:
    """A role that was taken away is gone with the next refresh."""
    _, url = app
    person = Person()
    person.log_in(url, "carol")
    assert person.get(f"{url}/edit").status_code == 403
    role = server.admin("GET", "/roles/editor").json()
    user = server.user_id("carol")
    server.admin("POST", f"/users/{user}/role-mappings/realm", [role])
    try:
        assert person.get(f"{url}/edit").status_code == 403
        assert person.get(f"{url}/token").status_code == 200

        assert person.get(f"{url}/edit").status_code == 200
    finally:
        server.admin("DELETE", f"/users/{user}/role-mappings/realm", [role])


def test_several_sessions_of_one_person(server: Keycloak, app: tuple[Flask, str]) -> None:
    """An administrator logs the person out: Keycloak 26.7.5 tells of each of them. (26.6.4 told of
    one: keycloak/keycloak#22914.)"""
    _, url = app
    people = [Person() for _ in range(3)]
    for person in people:
        assert person.log_in(url, "bob").status_code == 200

    server.log_out("bob")

    for person in people:
        assert person.get(f"{url}/me", headers=JSON).status_code == 401
        assert person.get(f"{url}/token", headers=JSON).status_code == 401


def test_a_lock_shuts_out_whom_keycloak_lets_in(server: Keycloak, app: tuple[Flask, str]) -> None:
    """The password was right, and the page says why it is of no use; so does a bearer token's
    answer. After the unlock Keycloak's session, which went on, logs in."""
    made, url = app
    locking = made.extensions["clustertoken"].authority.locking
    person, late = Person(), Person()
    person.log_in(url, "alice")
    bearer = {**JSON, "Authorization": f"Bearer {person.get(f'{url}/token').json()['token']}"}
    alice = server.user_id("alice")
    locking.lock(subject=alice, message="Please call the office.")
    try:
        for page in (late.log_in(url, "alice"), person.get(f"{url}/me")):
            assert page.status_code == 403
            assert "Please call the office." in page.text
        answer = requests.get(f"{url}/me", headers=bearer, timeout=10)
        assert answer.status_code == 403
        assert answer.json()["message"] == "Please call the office."
    finally:
        locking.unlock(subject=alice)

    assert late.get(f"{url}/me").status_code == 200
    assert requests.get(f"{url}/me", headers=bearer, timeout=10).status_code == 200
