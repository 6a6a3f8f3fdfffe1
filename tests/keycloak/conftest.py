"""One real Keycloak for all tests of this folder that carry the mark ``keycloak``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.keycloak.server import Keycloak
from tests.servers.zookeeper import CannotRun


@pytest.fixture(scope="session")
def server() -> Iterator[Keycloak]:
    """The server; each test makes the clients that it needs."""
    try:
        with Keycloak() as started:
            yield started
    except CannotRun as reason:
        if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes the configuration of a test app at *url* for a client."""

    def make(url: str, client: str = "app", store: str = "session", **more: Any) -> dict[str, Any]:
        options = {
            "realm": "demo",
            "resource": client,
            "auth-server-url": url,
            "credentials": {"secret": "secret"},
            **more.pop("options", {}),
        }
        return {
            "CLUSTERTOKEN_STORE": f"directory://{tmp_path}/shared",
            "CLUSTERTOKEN_TOKEN_STORE": store,
            "CLUSTERTOKEN_SECRET": "a secret of the tests, long enough for anybody",
            "CLUSTERTOKEN_COOKIE_SECURE": False,
            "KEYCLOAK_OPTIONS": options,
            **more,
        }

    return make
