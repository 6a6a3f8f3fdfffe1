"""One real server for all tests of this folder, and a realm of its own for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.any_store import Judge, judging
from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded, Server
from tests.servers.zookeeper import CannotRun

_realms = itertools.count(1)


def needed(reason: CannotRun) -> None:
    """Where servers are required, a missing one is a failure."""
    if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
        raise reason
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("redis")
    try:
        with Server(folder, spare_ports(1)[0]) as server:
            yield server
    except CannotRun as reason:
        needed(reason)


@pytest.fixture
def server(running_server: Server) -> Server:
    """A Redis server that no test harms."""
    return running_server


@pytest.fixture
def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def realm() -> str:
    """A realm that no other test uses."""
    return f"test-{os.getpid()}-{next(_realms)}"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill, fill and misconfigure."""
    try:
        with Server(tmp_path / "own", spare_ports(1)[0]) as server:
            yield server
    except CannotRun as reason:
        needed(reason)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Valkey server that no test harms."""
    folder = tmp_path_factory.mktemp("valkey")
    try:
        with Server(folder, spare_ports(1)[0], name="valkey-server") as server:
            yield server
    except CannotRun as reason:
        needed(reason)


@pytest.fixture(scope="session")
def guarded() -> Iterator[Guarded]:
    """A primary with two replicas and three Sentinels that no test harms."""
    try:
        # (On a busy machine a second of silence is nothing.)
        with Guarded(down_after=30) as servers:
            yield servers
    except CannotRun as reason:
        needed(reason)


@pytest.fixture
def judge(tell: Tell) -> Judge:
    return judging(tell, "redis")
