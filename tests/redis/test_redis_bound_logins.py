"""Device-bound logins on a real Redis server."""

from __future__ import annotations

import pytest

from tests.binding.overstores import BoundLoginsOver

pytestmark = [pytest.mark.redis, pytest.mark.processes]


class TestBoundLoginsOverRedis(BoundLoginsOver):
    """With one server."""
