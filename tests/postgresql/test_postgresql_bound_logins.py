"""Device-bound logins on a real PostgreSQL server."""

from __future__ import annotations

import pytest

from tests.binding.overstores import BoundLoginsOver

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]


class TestBoundLoginsOverPostgreSQL(BoundLoginsOver):
    """With one server."""
