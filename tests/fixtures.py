"""The fixtures that these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_clustertoken.clock import ManualClock

from .doubles import Cluster


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Nodes whose store is elsewhere: they know what the feed told them."""
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def host() -> Iterator[Cluster]:
    """Processes of one host on an embedded store."""
    made = Cluster(remote=False)
    yield made
    made.close()
