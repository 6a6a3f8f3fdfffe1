"""What a token's life costs in ZooKeeper, beside one bare quorum write of kazoo in the same run.

Counted are the requests that go to the servers: writes, and reads with the syncs before some of
them. The calls alternate with the bare write, so that noise hits all alike, and go through the
same server: the leader answers a write sooner than the others do. What we write is a transaction
that creates a record, so a bare one of those stands there too.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.zookeeper import Line
from flask_clustertoken.stores.zookeeper.address import ZooKeeperOptions
from flask_clustertoken.stores.zookeeper.handler import make_handler

from .apps import SECRET
from .measure import Spread, percentile, timed
from .run import Result, Run, markdown_table
from .start import counting

TITLE = "A token's life in quorum writes"

#: What is done, and what that is for a reader.
CALLS = {
    "bare": "one bare write of kazoo, acknowledged by a majority",
    "transaction": "a bare transaction of kazoo: two checks, a create of a record's size",
    "waiting": "a bare write of kazoo whose thread waits for its sockets as ours does",
    "login": "a login: the number before the credentials, and the record",
    "begin": "of that, the number before the credentials",
    "logout": "a log-out: entry, record and head",
    "api": "an API token",
    "renewal": "what a renewal writes, where the record's end moves",
    "first sight": "the first sight of a login on another node",
    "seen": "a token that was seen before",
}

#: Of these kazoo alone; they are not counted, for they are what they are.
BARE = ("bare", "transaction", "waiting")

#: What a login's record comes to.
RECORD = b"x" * 480

#: Rounds that are not counted: connections and shards are made.
WARM = 20


@contextmanager
def waits() -> Iterator[list[float]]:
    """The seconds for which each call of this process's stores is kazoo's and the servers'."""
    found: list[float] = []
    ask = Line.ask

    def timing(self: Line, *given: Any) -> list[Any]:
        start = time.perf_counter()
        try:
            return ask(self, *given)
        finally:
            found.append(time.perf_counter() - start)

    Line.ask = timing  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Line.ask = ask  # type: ignore[method-assign]


class Life:
    """One node that makes tokens through one of *servers*, and one that meets them on another."""

    def __init__(self, root: str, servers: Sequence[str]) -> None:
        from kazoo.client import KazooClient

        self.node, self.other = (
            TokenAuthority(
                Settings(store=f"zookeeper://{one}{root}", secret=(SECRET,), always_renew=True),
                threaded=False,
            )
            for one in servers[:2]
        )
        self.client = KazooClient(hosts=servers[0])
        self.client.start()
        handler = make_handler(ZooKeeperOptions(), 5.0)
        self.waiting = KazooClient(hosts=servers[0], handler=handler)
        self.waiting.start()
        self.path = self.client.create("/bare-", b"", sequence=True)
        self.created = 0

    def round(self, number: int) -> dict[str, Callable[[], object]]:
        node, other = self.node, self.other
        for one in (node, other):
            one.follower().step()
        issued: list[Any] = []

        def login() -> None:
            since = node.begin()
            issued.append(node.issue_login(f"user{number}", {"name": "x" * 100}, since=since))

        return {
            "bare": lambda: self.client.set(self.path, b"x" * 200),
            "transaction": self._transaction,
            "waiting": lambda: self.waiting.set(self.path, b"x" * 200),
            "login": login,
            "begin": node.begin,
            "first sight": lambda: other.authenticate(issued[0].text),
            "seen": lambda: other.authenticate(issued[0].text),
            "renewal": lambda: self._renew(issued[0]),
            "api": lambda: node.issue_api_token(f"user{number}", "bench"),
            "logout": lambda: node.end(issued[0].token),
        }

    def _transaction(self) -> None:
        self.created += 1
        transaction = self.client.transaction()
        transaction.check(self.path, -1)
        transaction.check("/", -1)
        transaction.create(f"{self.path}/{self.created}", RECORD)
        *_, made = transaction.commit()
        if isinstance(made, Exception):
            raise made

    def _renew(self, issued: Any) -> None:
        # (The record's end moves: nothing is known of it any more, as on a node of later.)
        token = issued.token
        end = (token.expires_at or 0) + 86_400.0
        self.node.store.touch(token.record_key, end)

    def close(self) -> None:
        for client in (self.client, self.waiting):
            client.stop()
            client.close()
        self.node.close()
        self.other.close()


def measure(run: Run) -> Result:
    rounds = run.rounds(400, 80)
    load = os.getloadavg()[0]
    # (Most nodes are connected to one that is not the leader.)
    servers = sorted(run.servers.ensemble.servers, key=lambda one: one.mode == "leader")
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    ours: dict[str, list[float]] = {name: [] for name in CALLS}
    asked: dict[str, Counter[str]] = {name: Counter() for name in CALLS}
    with counting() as counts, waits() as waited:
        life = Life(f"/benchmark-{os.getpid()}", [one.address for one in servers])
        try:
            for number in range(WARM + rounds):
                for name, call in life.round(number).items():
                    before = sum(counts.values(), Counter())
                    waited.clear()
                    seconds = timed(call)
                    if number >= WARM:
                        taken[name].append(seconds)
                        ours[name].append(seconds - sum(waited))
                        asked[name] += sum(counts.values(), Counter()) - before
        finally:
            life.close()
    return {
        "rounds": rounds,
        "load": load,
        "calls": {
            name: {
                **Spread.of(taken[name]).scaled(1e3),
                "ours": 0.0 if name in BARE else round(1e3 * percentile(ours[name], 0.5), 3),
                "writes": asked[name]["writes"] / rounds,
                "reads": asked[name]["reads"] / rounds,
            }
            for name in CALLS
        },
    }


def table(result: Result) -> str:
    calls = result["calls"]
    bare = calls["bare"]
    rows = [
        [
            title,
            "1.0" if name in BARE else f"{calls[name]['writes']:.1f}",
            "" if name in BARE else f"{calls[name]['reads']:.1f}",
            " / ".join(f"{calls[name][part]:.2f}" for part in ("p10", "p50", "p99")),
            "" if name in BARE else f"{calls[name]['ours']:.2f}",
            f"{calls[name]['p10'] / bare['p10']:.1f}",
            f"{calls[name]['p50'] / bare['p50']:.1f}",
        ]
        for name, title in CALLS.items()
    ]
    head = [
        "what",
        "writes",
        "reads and syncs",
        "p10 / p50 / p99, ms",
        "of that our own Python, p50",
        "in bare writes, quiet",
        "in bare writes, median",
    ]
    return markdown_table(head, rows) + (
        f"\n{result['rounds']} of each, in turn, the bare ones through the same server. The three "
        f"servers share one machine with the nodes; its load was {result['load']:.1f} when it "
        "began.\n"
    )


def plots(result: Result) -> dict[str, str]:
    return {}
