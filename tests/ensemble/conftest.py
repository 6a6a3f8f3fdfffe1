"""One real ensemble for all tests of this folder, and a place of its own for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.servers.zookeeper import CannotRun, Ensemble

_roots = itertools.count(1)


@pytest.fixture(scope="session")
def running_ensemble() -> Iterator[Ensemble]:
    """Three servers; a test asks for ``ensemble`` and finds them whole."""
    try:
        with Ensemble(3) as servers:
            yield servers
    except CannotRun as reason:
        if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def ensemble(running_ensemble: Ensemble) -> Iterator[Ensemble]:
    """The ensemble with every server up and a leader, whatever the test before did to it."""
    running_ensemble.start()
    yield running_ensemble
    for server in running_ensemble.servers:
        server.thaw()


@pytest.fixture
def zk_root(ensemble: Ensemble) -> str:
    """A root in the ensemble that no other test uses."""
    return f"/test-{os.getpid()}-{next(_roots)}/app"
