"""A provider of our own that says whatever a test wants, and apps that are its clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.oidc import reception
from flask_clustertoken.providers import BackChannelLogout
from flask_clustertoken.providers.listening import Listening
from tests.keycloak.issuer import Issuer
from tests.providers.app import MakeApp, bare_app, provider_of
from tests.providers.listener import Listener
from tests.providers.transmitter import TransmitterDouble


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy elsewhere answers no message late; a test of that says how late."""
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 60.0)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def provider(issuer: Issuer) -> BackChannelLogout:
    """What the apps of a test are given; one serves any number of them."""
    return provider_of(issuer)


@pytest.fixture
def make_app(provider: BackChannelLogout, tmp_path: Path) -> Iterator[MakeApp]:
    """Makes apps with the provider, each a node of one realm; they are closed at the end."""
    made: list[Flask] = []

    def make(token_store: str = "session", **more: Any) -> Flask:
        app = bare_app(f"directory://{tmp_path}/shared", token_store, **more)
        provider.init_app(app)
        made.append(app)
        return app

    yield make
    for app in made:
        state_of(app).authority.close()


@pytest.fixture(params=["session", "cookie"])
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> Flask:
    """An app, with either token store."""
    return make_app(request.param)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


# Shared signals: a transmitter of our own, and nodes that listen to it.


@pytest.fixture
def transmitter() -> Iterator[TransmitterDouble]:
    with TransmitterDouble() as started:
        yield started


@pytest.fixture
def clock(transmitter: TransmitterDouble) -> ManualClock:
    """The time of the nodes and of the transmitter: it stands until it is moved."""
    made = ManualClock(float(int(time.time())))
    transmitter.now = made.time
    return made


@pytest.fixture
def listen(
    transmitter: TransmitterDouble,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Listener]]:
    """Makes nodes that listen; a test takes their steps, no thread does."""
    monkeypatch.setattr(Listening, "_join", lambda self: None)
    made: list[Listener] = []

    def make(token_store: str = "session", **more: Any) -> Listener:
        place = f"directory://{tmp_path}/shared"
        made.append(Listener(place, token_store, transmitter, clock, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
