"""One real Keycloak for all tests of this folder that carry the mark ``keycloak``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_clustertoken.extension import state_of
from flask_clustertoken.oidc import reception
from tests.keycloak.app import Make, MakeApp, configuration, create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer
from tests.keycloak.refreshing import Refreshing
from tests.keycloak.server import Keycloak
from tests.servers.running import started


@pytest.fixture(scope="session")
def server() -> Iterator[Keycloak]:
    """The server; each test makes the clients that it needs."""
    yield from started(Keycloak)


@pytest.fixture
def config(tmp_path: Path) -> Make:
    """Makes the configuration of a test app at *url* for a client."""

    def make(url: str, client: str = "app", store: str = "session", **more: Any) -> dict[str, Any]:
        place = f"directory://{tmp_path}/shared"
        return configuration(url, client, store=place, token_store=store, **more)

    return make


# Without a server: apps at an issuer of our own, which says whatever a test wants.


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy elsewhere answers no message late; a test of that says how late."""
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 60.0)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def make_app(issuer: Issuer, config: Make) -> Iterator[MakeApp]:
    """Makes apps at the issuer, each a node of one realm; they are closed at the end."""
    made: list[Flask] = []

    def make(**more: Any) -> Flask:
        made.append(create_app(config(issuer.url, **more)))
        return made[-1]

    yield make
    for app in made:
        state_of(app).authority.close()


@pytest.fixture(params=["session", "cookie"])
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> Flask:
    """An app, with either token store."""
    return make_app(store=request.param)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def flow(app: Flask, issuer: Issuer) -> Flow:
    """A login that has begun, and that the issuer is ready to answer."""
    made = Flow(app, issuer)
    made.begin()
    made.issue()
    return made


@pytest.fixture(params=["session", "cookie"])
def refreshing(request: pytest.FixtureRequest, make_app: MakeApp, issuer: Issuer) -> Refreshing:
    """A login that is refreshed at three nodes."""
    return Refreshing([make_app(store=request.param) for _ in range(3)], issuer)
