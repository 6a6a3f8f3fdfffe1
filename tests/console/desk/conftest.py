"""The fixtures that these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from tests.extension.parts import MakeApp, make_app
from tests.fixtures import clock, cluster, host

from .parts import Desk, make_desk

__all__ = ["clock", "cluster", "host", "make_app"]


@pytest.fixture(params=["memory", "directory"])
def desk(
    request: pytest.FixtureRequest, make_app: MakeApp, clock: ManualClock, tmp_path: Path
) -> Desk:
    """A console over either embedded store."""
    url = "memory:" if request.param == "memory" else f"directory://{tmp_path}/shared"
    return make_desk(make_app, clock, STORE=url, AUDIT="store")


@pytest.fixture
def memory(make_app: MakeApp, clock: ManualClock) -> Desk:
    """The same over a store in memory, where the store makes no difference."""
    return make_desk(make_app, clock, AUDIT="store")
