"""The realm's keys: when they are fetched again, and for whom."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import RSAKey

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.keycloak.errors import KEYCLOAK
from flask_clustertoken.keycloak.options import KeycloakOptions
from flask_clustertoken.keycloak.protocol.provider import Provider
from flask_clustertoken.oidc import NotGenuine, SigningKeys
from tests.keycloak.app import MakeApp
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until

_NEW = RSAKey.generate_key(2048, {"kid": "new", "use": "sig"})
_names = itertools.count()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


def bearer(app: Flask, issuer: Issuer, **header: str) -> int:
    """With a key that nobody lists, where *header* names one."""
    text = issuer.sign(issuer.access_token(), **header)
    return app.test_client().get("/me", headers={"Authorization": f"Bearer {text}"}).status_code


def fetches(issuer: Issuer) -> int:
    return len([one for one in issuer.asked if one.endswith("/certs")])


@pytest.mark.parametrize("kind", ["k_logout", "backchannel-logout"])
def test_a_logout_with_a_new_key(app: Flask, issuer: Issuer, kind: str) -> None:
    """Keycloak sends it once. It does not wait for what others asked with unknown keys."""
    assert bearer(app, issuer) == 200
    assert bearer(app, issuer, kid="unknown") == 401
    issuer.listed = [issuer.key, _NEW]
    client = app.test_client()

    if kind == "k_logout":
        text = issuer.sign(issuer.admin_message(), key=_NEW)
        answer = client.post("/keycloak/k_logout", data=text)
    else:
        text = issuer.sign(issuer.logout_token(), key=_NEW)
        answer = client.post("/keycloak/backchannel-logout", data={"logout_token": text})

    assert answer.status_code == 200


def test_a_login_with_a_new_key(app: Flask, issuer: Issuer) -> None:
    """The code that brought it can be used once."""
    assert bearer(app, issuer) == 200
    issuer.listed = [issuer.key, _NEW]
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue(
        access=issuer.sign(issuer.access_token(), key=_NEW),
        identity=issuer.sign(issuer.id_token(flow.query["nonce"]), key=_NEW),
    )

    assert flow.come_back().status_code == 303


def test_messages_with_unknown_keys_do_not_flood_keycloak(app: Flask, issuer: Issuer) -> None:
    """Anybody can post to the addresses of Keycloak: one fetch a second, not one each."""
    assert bearer(app, issuer) == 200
    before, began = fetches(issuer), time.monotonic()
    client = app.test_client()
    for _ in range(50):
        text = issuer.sign(issuer.admin_message(), kid=f"invented-{next(_names)}")
        assert client.post("/keycloak/k_logout", data=text).status_code == 403

    assert fetches(issuer) - before <= 1 + int(time.monotonic() - began)


class Certs:
    """The list of keys at Keycloak, and how often it was asked for."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.count = 0

    def __call__(self) -> Any:
        from joserfc.jwk import KeySet

        self.count += 1
        return KeySet(self.issuer.listed).as_dict(private=False)


def test_the_pauses_are_counted_apart(issuer: Issuer) -> None:
    """Bearer tokens: one fetch in ten seconds; what comes once: one in a second."""
    clock, certs = ManualClock(), Certs(issuer)
    keys = SigningKeys(KEYCLOAK, certs, clock=clock, pause=10.0)
    text = issuer.sign(issuer.access_token(), key=_NEW)

    def ask(urgent: bool) -> int:
        with pytest.raises(NotGenuine):
            keys.verify(text, urgent=urgent)
        return certs.count

    keys.verify(issuer.sign(issuer.access_token()))
    assert [ask(False), ask(False), ask(True), ask(True)] == [1, 1, 2, 2]
    clock.advance(1)
    assert [ask(False), ask(True), ask(True)] == [2, 3, 3]
    clock.advance(9)
    assert [ask(False), ask(False), ask(True)] == [4, 4, 5]


def test_keys_are_fetched_again_when_they_are_old(issuer: Issuer) -> None:
    """``public-key-cache-ttl``: after it a key that is listed no more is not accepted."""
    clock = ManualClock()
    options = KeycloakOptions(
        "demo", "app", issuer.url, public_key_cache_ttl=600, min_time_between_jwks_requests=0
    )
    provider = Provider(options, front=issuer.url, back=issuer.url, clock=clock)
    text = issuer.sign(issuer.access_token())
    provider.keys.verify(text)
    issuer.listed = [_NEW]
    clock.advance(599)
    provider.keys.verify(text)
    assert fetches(issuer) == 1

    clock.advance(1)

    def is_refused() -> bool:
        try:
            provider.keys.verify(text)
        except NotGenuine:
            return True
        return False

    wait_until(is_refused, 5)
