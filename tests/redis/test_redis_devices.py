"""A user's own devices over Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.anywhere import a_user_ends_what_is_theirs

pytestmark = pytest.mark.redis


def test_a_user_ends_what_is_theirs(tmp_path: Path, url: str, realm: str) -> None:
    """On one node, and it is over on the other before the page is back."""
    a_user_ends_what_is_theirs(tmp_path, url, realm)
