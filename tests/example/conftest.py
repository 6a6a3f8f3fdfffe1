"""The example under Flask's test client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeApp]:
    """Makes the example on this test's own instance folder; its stores are closed at the end."""
    monkeypatch.setenv("INSTANCE", str(tmp_path / "instance"))
    monkeypatch.setenv("NODE_NAME", "here")
    made = []

    def make(**settings: Any) -> Flask:
        app = create_app({f"CLUSTERTOKEN_{name}": value for name, value in settings.items()})
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["clustertoken"].authority.close()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def log_in(client: FlaskClient, name: str = "alice") -> None:
    answer = client.post("/login", json={"username": name, "password": name})
    assert answer.status_code == 200, answer.data
