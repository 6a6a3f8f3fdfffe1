"""What servers share over PostgreSQL."""

from __future__ import annotations

import pytest

from tests.shared.live import Place, SharedDataContract

pytestmark = pytest.mark.postgresql


@pytest.fixture
def place(url: str, realm: str) -> Place:
    return Place(url, realm)


class TestSharedDataOverPostgreSQL(SharedDataContract):
    """With one server."""

    pieces_held = 7
