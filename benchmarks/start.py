"""What the start of a node costs the servers: some nodes at once, on a realm that is empty.

Counted is what goes to ZooKeeper: writes, be they refused or not, and reads; the node's session
aside. Beside it stands one bare write of kazoo to the same servers, the median of some hundred
in the same run, with nobody else about.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.zookeeper import Line, ZooKeeperStore

from .apps import SECRET
from .measure import timed
from .run import Result, Run, markdown_table

TITLE = "The start of a node"

#: How many nodes start at once.
NODES = (1, 10, 100, 200)

#: Seconds after which a start that did not come to its end is given up.
PATIENCE = 300.0

WRITES = ("create_async", "set_async", "delete_async", "transaction")


class Counted:
    """A kazoo client that counts what is asked of it."""

    def __init__(self, client: Any, counts: Counter[str]) -> None:
        self._client = client
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_async") or name == "transaction":
            self._counts["writes" if name in WRITES else "reads"] += 1
        return getattr(self._client, name)


@contextmanager
def counting() -> Iterator[dict[Line, Counter[str]]]:
    """What each connection of this process asks meanwhile."""
    counts: dict[Line, Counter[str]] = {}
    ask = Line._ask

    def counted(self: Line, zk: Any, *given: Any) -> list[Any]:
        return ask(self, Counted(zk, counts.setdefault(self, Counter())), *given)

    Line._ask = counted  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Line._ask = ask  # type: ignore[method-assign]


def bare_write(addresses: str, rounds: int) -> float:
    """Seconds of one write of kazoo, with a majority's consent."""
    from kazoo.client import KazooClient

    client = KazooClient(hosts=addresses)
    client.start()
    path = client.create("/bare-", b"", sequence=True)
    for _ in range(50):
        client.set(path, b"x")
    found = median(timed(lambda: client.set(path, b"x")) for _ in range(rounds))
    client.stop()
    client.close()
    return float(found)


#: Processes that share the nodes: one alone would be busy with itself.
PROCESSES = 4


def fresh_after(node: TokenAuthority, end: float) -> float:
    """When it was fresh, by a clock that all processes share."""
    while not node.follower().fresh:
        if time.monotonic() > end:
            raise TimeoutError(node.readiness().trouble)
        time.sleep(0.01)
    return time.monotonic()


def some(url: str, size: int) -> list[tuple[int, int, float, float]]:
    """Writes, reads, begin and end of *size* nodes in this process."""
    logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
    settings = Settings(store=url, secret=(SECRET,))
    nodes = [TokenAuthority(settings) for _ in range(size)]

    with counting() as counts, ThreadPoolExecutor(16) as pool:

        def one(node: TokenAuthority) -> tuple[int, int, float, float]:
            begin = time.monotonic()
            end = fresh_after(node, begin + PATIENCE)
            store = node.store
            assert isinstance(store, ZooKeeperStore)
            # (As far as it has come: what it does from here on is its life, not its start.)
            asked = counts[store._open().line]
            return asked["writes"], asked["reads"], begin, end

        found = list(pool.map(one, nodes))
        list(pool.map(lambda node: node.close(), nodes))
    return found


def start(url: str, size: int, log: Callable[[str], None]) -> dict[str, Any]:
    """*size* nodes at once."""
    processes = min(PROCESSES, size)
    shares = [size // processes + (one < size % processes) for one in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = [one for part in pool.map(some, [url] * processes, shares) for one in part]
    writes, reads, begun, ended = (list(column) for column in zip(*found, strict=True))
    whole = max(ended) - min(begun)
    log(f"{size} nodes in {whole:.1f} s")
    return {
        "nodes": size,
        "writes": sum(writes) / size,
        "most_writes": max(writes),
        "reads": sum(reads) / size,
        "most_reads": max(reads),
        "all_s": whole,
    }


def measure(run: Run) -> Result:
    write = bare_write(run.servers.ensemble.addresses, run.rounds(500, 100))
    found = [start(run.servers.store("zookeeper"), size, run.say) for size in NODES]
    return {"bare_write_s": write, "starts": found}


def table(result: Result) -> str:
    write = result["bare_write_s"]
    rows = [
        [
            one["nodes"],
            f"{one['writes']:.1f}",
            one["most_writes"],
            f"{one['reads']:.1f}",
            one["most_reads"],
            f"{one['all_s'] * 1e3:.0f} ms",
            f"{one['all_s'] / one['nodes'] / write:.1f}",
        ]
        for one in result["starts"]
    ]
    head = [
        "nodes at once, empty realm",
        "writes a node",
        "most",
        "reads a node",
        "most",
        "until all are fresh",
        "that, a node, in bare writes",
    ]
    return markdown_table(head, rows) + (
        f"\nA bare write took {write * 1e3:.2f} ms. All nodes and the three servers share one "
        f"machine, and the nodes {PROCESSES} processes that start some of theirs at a time.\n"
    )


def plots(result: Result) -> dict[str, str]:
    return {}
