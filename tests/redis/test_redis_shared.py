"""What servers share over Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.redis import Server
from tests.shared.overlines import SharedDataOverLines
from tests.shared.places import Lines, Place

pytestmark = pytest.mark.redis


@pytest.fixture
def place(url: str, realm: str) -> Place:
    return Place(url, realm)


@pytest.fixture
def lines(server: Server, realm: str) -> Iterator[Lines]:
    with Lines.to([server.port], lambda ports: Place(f"redis://127.0.0.1:{ports[0]}", realm)) as it:
        yield it


class TestSharedDataOverRedis(SharedDataOverLines):
    """With one server."""

    name = "redis"
