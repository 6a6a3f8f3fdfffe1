"""What servers share over Redis."""

from __future__ import annotations

import pytest

from tests.shared.live import Place, SharedDataContract

pytestmark = pytest.mark.redis


@pytest.fixture
def place(url: str, realm: str) -> Place:
    return Place(url, realm)


class TestSharedDataOverRedis(SharedDataContract):
    """With one server."""

    pieces_held = 7
