"""What the start of a node costs the servers: some nodes at once, on a realm that is empty.

Counted is what goes to ZooKeeper: writes, be they refused or not, and reads; the node's session
aside. Beside it stands one bare write of kazoo to the same servers, the median of some hundred
in the same run, with nobody else about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores._zk_client import Line

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


def wait_until_fresh(node: TokenAuthority, end: float) -> None:
    while not node.follower().fresh:
        if time.monotonic() > end:
            raise TimeoutError(node.readiness().trouble)
        time.sleep(0.01)


def start(url: str, size: int, log: Callable[[str], None]) -> dict[str, Any]:
    """*size* nodes, as many threads, one moment."""
    settings = Settings(store=url, secret=(SECRET,))
    nodes = [TokenAuthority(settings) for _ in range(size)]
    times: list[float] = []

    def one(node: TokenAuthority) -> None:
        begin = time.perf_counter()
        node.follower()
        wait_until_fresh(node, time.monotonic() + PATIENCE)
        times.append(time.perf_counter() - begin)

    with counting() as counts, ThreadPoolExecutor(size) as pool:
        whole = timed(lambda: list(pool.map(one, nodes)))
        # (A node that waits for others goes on with its life: that is not its start.)
        found = [dict(one) for one in counts.values()]
    log(f"{size} nodes in {whole:.1f} s")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda node: node.close(), nodes))
    writes = [one.get("writes", 0) for one in found]
    reads = [one.get("reads", 0) for one in found]
    return {
        "nodes": size,
        "writes": sum(writes) / size,
        "most_writes": max(writes),
        "reads": sum(reads) / size,
        "most_reads": max(reads),
        "median_s": median(times),
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
        "machine, and all nodes one process.\n"
    )


def plots(result: Result) -> dict[str, str]:
    return {}
