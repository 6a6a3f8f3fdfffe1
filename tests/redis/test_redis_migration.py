"""A realm moves to Redis and away from it: nobody is logged out, nothing revoked returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operations.moving import move_through

pytestmark = pytest.mark.redis


def test_there_and_back_again(url: str, realm: str, tmp_path: Path) -> None:
    """From a directory to Redis to another directory, with logins and revocations of each kind."""
    move_through([f"directory://{tmp_path}/one", url, f"directory://{tmp_path}/two"], realm)
