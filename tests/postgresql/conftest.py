"""One real server for all tests of this folder, and a realm of its own for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import Server
from tests.servers.running import started
from tests.servers.standbys import Replicated

_realms = itertools.count(1)


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    yield from started(lambda: Server())


@pytest.fixture
def server(running_server: Server) -> Server:
    """A PostgreSQL server that no test harms."""
    return running_server


@pytest.fixture
def url(server: Server) -> str:
    return server.url


@pytest.fixture
def realm() -> str:
    """A realm that no other test uses."""
    return f"test-{os.getpid()}-{next(_realms)}"


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill, fill and misconfigure."""
    yield from started(lambda: Server())


@pytest.fixture(scope="session")
def pooled(running_server: Server) -> Iterator[PgBouncer]:
    """A PgBouncer before the server that no test harms."""
    yield from started(lambda: PgBouncer(running_server))


@pytest.fixture(scope="session")
def followed() -> Iterator[Replicated]:
    """A primary with two standbys, one of which has to have each commit; no test harms them."""
    yield from started(lambda: Replicated(2, synchronous=1))
