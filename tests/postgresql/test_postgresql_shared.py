"""What servers share over PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.postgresql import Server
from tests.servers.standbys import Replicated
from tests.shared.overlines import SharedDataOverLines
from tests.shared.places import Lines, Place

pytestmark = pytest.mark.postgresql


@pytest.fixture
def place(url: str, realm: str) -> Place:
    return Place(url, realm)


@pytest.fixture
def lines(server: Server, realm: str) -> Iterator[Lines]:
    with Lines.to([server.port], lambda ports: Place(Replicated.url_of(*ports), realm)) as it:
        yield it


class TestSharedDataOverPostgreSQL(SharedDataOverLines):
    """With one server."""

    name = "postgresql"
