"""A realm moves to PostgreSQL and away from it: nobody is logged out, nothing revoked returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.moving import move_through

pytestmark = pytest.mark.postgresql


def test_there_and_back_again(url: str, realm: str, tmp_path: Path) -> None:
    """From a directory to PostgreSQL to another one, with logins and revocations of each kind."""
    move_through([f"directory://{tmp_path}/one", url, f"directory://{tmp_path}/two"], realm)
