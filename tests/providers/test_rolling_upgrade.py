"""What names only a person, while a node runs that does not know such entries (form 2)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import BackChannelLogout
from flask_clustertoken.revocations import entry
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.tokens import Token
from tests.keycloak.issuer import Issuer
from tests.providers.app import Login, MakeApp, post_token
from tests.providers.listener import Listener
from tests.providers.transmitter import RISC, TransmitterDouble
from tests.waiting import wait_until

Listen = Callable[..., Listener]


def join_old_node(store: ClusterStore) -> None:
    """One is listed that reads what every version reads, and no more."""
    said = {"host": "old", "pid": 7, "version": "0.0.9", "max_staleness": 10.0, "reads": 1}
    store.announce("an-old-node", json.dumps(said).encode())


def test_a_logout_token_is_refused_and_can_be_sent_again(
    app: Flask, client: FlaskClient, issuer: Issuer, provider: BackChannelLogout
) -> None:
    """400 names the node, and nothing is written: once that is gone, the very same token is no
    replay. One that names the session counts meanwhile."""
    store = state_of(app).authority.store
    one, two = Login(app, provider), Login(app, provider, {"sub": "alice", "sid": "sid-2"})
    join_old_node(store)
    before = store.read(0).seq
    person = issuer.sign(issuer.logout_token(sid=...))

    refused = post_token(client, person)

    assert (refused.status_code, refused.json["error"]) == (400, "temporarily_unavailable")
    assert "old:7 (0.0.9)" in refused.json["error_description"]
    assert store.read(0).seq == before
    assert one.stands()
    assert post_token(client, issuer.sign(issuer.logout_token())).status_code == 200
    assert (one.stands(), two.stands()) == (False, True)

    store.withdraw("an-old-node")
    assert post_token(client, person).status_code == 200
    assert not two.stands()
    assert Login(app, provider, {"sub": "alice", "sid": "sid-3"}).stands()


def test_an_old_node_that_comes_in_between_lets_nobody_in(
    make_app: MakeApp, issuer: Issuer, provider: BackChannelLogout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It meets the entry behind the look that did not see it: stale, also for others' logins."""
    app, old = make_app(), make_app()
    alice, bob = Login(app, provider), Login(app, provider, {"sub": "bob", "sid": "sid-9"})
    assert alice.stands(old)
    assert bob.stands(old)
    person = issuer.sign(issuer.logout_token(sid=...))
    assert post_token(app.test_client(), person).status_code == 200

    with monkeypatch.context() as patch:
        patch.setattr(entry, "FORMAT", 1)
        follower = state_of(old).authority.follower()
        follower.step()
        for login in (alice, bob):
            answer = state_of(old).authority.authenticate(login.text)
            assert not isinstance(answer, Token)
            assert answer.reason == "stale"
        assert "cannot be read by this version" in follower.trouble
    # (A step of the other's, in this process too, may have met it meanwhile.)
    wait_until(bob.stands)
    assert not alice.stands()


def about_a_person(transmitter: TransmitterDouble) -> dict[str, object]:
    return transmitter.claims(f"{RISC}sessions-revoked", transmitter.person())


def test_a_polled_event_comes_again(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Neither acknowledged nor refused until all nodes know what it becomes; then done, once."""
    node = listen()
    node.settle()
    login = node.login()
    join_old_node(node.authority.store)
    jti = transmitter.put(about_a_person(transmitter))

    for _ in range(3):
        clock.advance(node.step())
    assert "old:7 (0.0.9)" in node.stream.trouble
    assert login.stands()
    assert jti not in transmitter.acknowledged
    assert jti not in transmitter.refused

    node.authority.store.withdraw("an-old-node")
    for _ in range(6):
        clock.advance(node.step())
    assert jti in transmitter.acknowledged
    assert not login.stands()
    assert node.entries() == 1


def test_a_pushed_event_is_put_off(listen: Listen, transmitter: TransmitterDouble) -> None:
    """503 and when to try again; then 202."""
    node = listen(credentials=..., delivery="push", audience="app")
    login = node.login()
    join_old_node(node.authority.store)
    text = transmitter.signed(about_a_person(transmitter))

    put_off = node.push(text)
    assert (put_off.status_code, put_off.headers["Retry-After"]) == (503, "10")
    assert login.stands()

    node.authority.store.withdraw("an-old-node")
    assert node.push(text).status_code == 202
    assert not login.stands()
