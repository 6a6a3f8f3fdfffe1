"""One real ensemble for all tests of this folder, and a place of its own for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.zookeeper import CannotRun, Ensemble, Server, needed

from .handles import Open

_roots = itertools.count(1)


@pytest.fixture(scope="session")
def running_ensemble() -> Iterator[Ensemble]:
    """Three servers; a test asks for ``ensemble`` and finds them whole."""
    try:
        with Ensemble(3) as servers:
            yield servers
    except CannotRun as reason:
        needed(reason)


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


@pytest.fixture
def opened(ensemble: Ensemble, zk_root: str) -> Iterator[Open]:
    """A callable that opens a handle on this test's store, through one server or through all."""
    handles: list[ClusterStore] = []

    def make(
        server: Server | None = None, *, timeout: float = 15.0, **options: Any
    ) -> ZooKeeperStore:
        url = ensemble.url(zk_root) if server is None else f"zookeeper://{server.address}{zk_root}"
        store = open_store(url, timeout=timeout, options=options)
        assert isinstance(store, ZooKeeperStore)
        handles.append(store)
        return store

    yield make
    for handle in handles:
        handle.close()


@pytest.fixture
def raw(ensemble: Ensemble) -> Iterator[Callable[..., Any]]:
    """A callable that gives a plain kazoo client, to look behind the store's back."""
    from kazoo.client import KazooClient

    clients: list[Any] = []

    def make(**settings: Any) -> Any:
        client = KazooClient(hosts=ensemble.addresses, **settings)
        clients.append(client)
        client.start(30)
        return client

    yield make
    for client in clients:
        client.stop()
        client.close()


@pytest.fixture
def lagging(ensemble: Ensemble, opened: Open) -> tuple[Server, ZooKeeperStore, ZooKeeperStore]:
    """A follower, a handle that goes through another server, and one that goes through it."""
    follower = next(one for one in ensemble.servers if one.mode == "follower")
    other = next(one for one in ensemble.servers if one is not follower)
    writer, asker = opened(other), opened(follower)
    writer.root()
    asker.root()
    return follower, writer, asker
