"""The ZooKeeper store under threads, greenlets and forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flask_clustertoken.errors import (
    NotAnnounced,
)
from flask_clustertoken.stores.base import (
    Record,
)
from tests.pace import moments
from tests.servers.zookeeper import Ensemble

from .handles import Open

pytestmark = pytest.mark.zookeeper


_GEVENT = """
from gevent import monkey
if {patched}:
    monkey.patch_all()
import gevent, os, sys, threading, time
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.errors import StoreUnavailable

store, other = open_store({url!r}, timeout=10), open_store({url!r}, timeout=10)
calls = []
store.watch(lambda: calls.append(1))
def work(n):
    for i in range(5):
        store.add(f"g/{{n}}/{{i}}", b"", None)
        other.append([NewEntry(f"g{{n}}-{{i}}", b"", None)])
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[one.start() for one in threads]
[one.join(30) for one in threads]
assert len(store.scan("g/")) == 40 and len(store.read(0).entries) == 40 and calls
handler = type(store._open().line._zk.handler).__name__
assert handler == {handler!r}, handler
ticks = []
if {patched}:
    gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(500)])
lost = open_store({nowhere!r}, timeout=1)
start = time.monotonic()
try:
    lost.head()
except StoreUnavailable as error:
    assert error.__cause__ is not None
    assert 0.5 < time.monotonic() - start < 1 + {spare}
else:
    sys.exit("no error")
if {patched}:
    assert len(ticks) > 20, len(ticks)
child = os.fork()
if child == 0:
    os._exit(0 if len(store.read(0).entries) == 40 else 1)
assert os.waitpid(child, 0)[1] == 0
for one in (store, other, lost):
    one.close()
print("fine")
"""


@pytest.mark.parametrize("patched", [True, False], ids=["gevent", "threads"])
def test_the_store_under_patched_and_plain_threads(
    patched: bool, ensemble: Ensemble, zk_root: str
) -> None:
    """Many greenlets or threads share a handle; deadlines hold, nobody blocks the others."""
    pytest.importorskip("gevent")
    script = _GEVENT.format(
        patched=patched,
        url=ensemble.url(zk_root),
        nowhere="zookeeper://127.0.0.1:1/app",
        spare=moments(50),
        handler="SequentialGeventHandler" if patched else "SequentialThreadingHandler",
    )
    top = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.strip().endswith("fine"), done.stderr


def test_a_child_of_a_busy_parent_uses_its_own_connection(opened: Open) -> None:
    """Forked while other threads call, it opens anew, and neither disturbs the other."""
    store = opened(timeout=10)
    store.put("a/b", b"v", None)
    stop = threading.Event()
    answers: list[object] = []

    def reading() -> None:
        while not stop.is_set():
            answers.append(store.get("a/b"))

    threads = [threading.Thread(target=reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if store.get("a/b") and store.add(f"c/{os.getpid()}", b"", None) else 2
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert all(answer == Record(b"v", None) for answer in answers)
    assert len(store.scan("c/")) == 5


def test_an_entry_that_was_withdrawn_does_not_come_back(opened: Open) -> None:
    """A vouch on a withdrawn entry says so, whichever server it goes through."""
    store, other = opened(), opened()
    store.announce("n1", b"")
    other.withdraw("n1")
    with pytest.raises(NotAnnounced):
        store.vouch("n1", b"")
