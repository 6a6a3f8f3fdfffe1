"""What stores on a server have in common; no server is needed."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("redis", reason="redis is not installed")

from flask_clustertoken.errors import NoThread
from flask_clustertoken.stores import open_store
from tests.no_thread import no_thread
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

WATCH = "clustertoken-redis"


def test_a_watch_that_got_no_thread_leaves_the_one_before_it() -> None:
    """And the next try begins one, which ends with the store."""

    def watching() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == WATCH} - others

    others: set[threading.Thread] = set()
    others = watching()
    store = open_store(f"redis://127.0.0.1:{spare_ports(1)[0]}")
    try:
        with no_thread(WATCH), pytest.raises(NoThread, match=r"pids\.max"):
            store.watch(print)
        store.watch(print)
        (first,) = watching()
        with no_thread(WATCH), pytest.raises(NoThread):
            store.watch(print)
        assert watching() == {first}
    finally:
        store.close()
    wait_until(lambda: not watching())
