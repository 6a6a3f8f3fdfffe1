"""What Keycloak's addresses make of a message that comes again, or while others wait."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.oidc import deadline, reception
from tests.keycloak.app import Make, MakeApp, create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.posting import ADMIN, Login, post, post_token
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def apps(make_app: MakeApp) -> list[Flask]:
    """Two nodes of one realm, in one process."""
    return [make_app(), make_app()]


@pytest.fixture
def app(apps: list[Flask]) -> Flask:
    return apps[0]


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
    gate = Gate()
    slow = {each: getattr(store, each) for each in ("append", "get_many")}
    for each, usual in slow.items():
        monkeypatch.setattr(store, each, functools.partial(_behind, gate, usual))
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 0.2)

    if name == "backchannel-logout":
        answer = post_token(client, issuer.sign(issuer.logout_token()))
        assert (answer.status_code, answer.json["error"]) == (400, "temporarily_unavailable")
    else:
        assert post(client, name, issuer.sign(issuer.admin_message(ADMIN[name]))) == 503

    # Answered, and what it asked for has not got as far as to the end of one call.
    wait_until(lambda: gate.waiting > 0, 5)
    assert gate.passed == 0
    gate.set()
    if changed:
        wait_until(lambda: not login.stands(), 5)


class Gate(threading.Event):
    """Closed until it is set; counts who came to it, and who got through."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.passed = 0


def _behind(gate: Gate, call: Callable[..., Any], *given: Any, **more: Any) -> Any:
    gate.waiting += 1
    gate.wait(20)
    gate.passed += 1
    return call(*given, **more)


def working() -> set[threading.Thread]:
    """The threads in which messages are obeyed."""
    return {one for one in threading.enumerate() if one.name == "clustertoken-message"}


def test_keycloaks_keys_are_slow(
    issuer: Issuer, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where its keys have to be fetched first; and not more of them wait than fit."""
    app = create_app(config(issuer.url))
    gate = Gate()
    monkeypatch.setattr(issuer, "mad", lambda request: _behind(gate, Response))
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(deadline, "MESSAGES_AT_ONCE", 2)
    before = working()
    text = issuer.sign(issuer.admin_message())

    statuses = [post(app.test_client(), "k_logout", text) for _ in range(6)]

    assert statuses == [503] * 6
    # Two wait still, of which one has asked; the others were answered without a place.
    wait_until(lambda: gate.waiting == 1, 5)
    assert len(working() - before) == 2
    assert gate.passed == 0
    gate.set()
    state_of(app).authority.close()
