"""The console over Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.desk.over_servers import an_administrator_at_work

pytestmark = pytest.mark.redis


def test_the_console_of_two_hosts(url: str, realm: str, tmp_path: Path) -> None:
    """Lists, ends, confirms, follows and rotates."""
    an_administrator_at_work(url, tmp_path, REALM=realm)
