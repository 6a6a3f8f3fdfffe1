"""The fixtures that these tests share."""

from __future__ import annotations

import pytest

from tests.doubles import Cluster
from tests.fixtures import cluster
from tests.gateway.parts import Door, door

__all__ = ["cluster"]


@pytest.fixture
def front(cluster: Cluster) -> Door:
    """A gateway with its defaults, behind one trusted proxy."""
    made = door(cluster)
    made.authority.follower()
    return made
