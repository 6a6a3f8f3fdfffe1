"""A user's own devices over ZooKeeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.anywhere import a_user_ends_what_is_theirs
from tests.servers.zookeeper import Ensemble

pytestmark = pytest.mark.zookeeper


def test_a_user_ends_what_is_theirs(tmp_path: Path, ensemble: Ensemble, zk_root: str) -> None:
    """On one node, and it is over on the other before the page is back."""
    a_user_ends_what_is_theirs(tmp_path, ensemble.url(zk_root))
