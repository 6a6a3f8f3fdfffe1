"""What each call on the Redis store costs, beside bare round trips of redis-py on the same server.

Twice: on one server, and behind three Sentinels on a primary with two replicas, one of which has
to acknowledge each write (``WAIT``). The calls alternate, so that noise hits all alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore, Delete, NewEntry
from tests.servers.redis import Guarded

from .measure import Spread, timed
from .run import Result, Run, markdown_table

TITLE = "Calls on Redis"

#: A record is about so large.
VALUE = b"x" * 200

#: What is done, and what that is for a reader.
CALLS = {
    "get": "bare `GET`",
    "set": "bare `SET`, acknowledged where ours are",
    "read": "a record is read: the first sight of a login",
    "add": "a record is added: a login",
    "append": "an entry is appended and a record deleted: a logout",
    "look": "the feed is looked at, nothing new: a node, each second",
    "vouch": "a proof of freshness: a node, every few seconds",
}

#: Rounds that are not counted: scripts and connections are made.
WARM = 20


class Calls:
    """One round after the other on one store."""

    def __init__(self, store: ClusterStore, client: Any, replicas: int) -> None:
        self._store = store
        self._client = client
        self._replicas = replicas
        store.put("record", VALUE, None)
        store.announce("node", VALUE)

    def round(self, number: int) -> dict[str, Callable[[], object]]:
        store, key = self._store, f"token/{number}"
        entry = NewEntry(f"entry{number}", VALUE, None)
        return {
            "get": lambda: self._client.get("bare"),
            "set": self._bare_set,
            "read": lambda: store.get("record"),
            "add": lambda: store.add(key, VALUE, None),
            "append": lambda: self._append(entry, Delete(key)),
            "look": lambda: store.read(self._head),
            "vouch": lambda: store.vouch("node", VALUE),
        }

    def _bare_set(self) -> None:
        with self._client.pipeline(transaction=False) as line:
            line.set("bare", VALUE)
            if self._replicas:
                line.execute_command("WAIT", self._replicas, 3000)
            line.execute()

    def _append(self, entry: NewEntry, change: Delete) -> None:
        (self._head,) = self._store.append([entry], [change])


def one_set_up(url: str, port: int, replicas: int, count: int) -> dict[str, Any]:
    import redis

    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    with redis.Redis(port=port) as client, open_store(url, options={"settle": 0}) as store:
        calls = Calls(store, client, replicas)
        for number in range(WARM + count):
            for name, call in calls.round(number).items():
                seconds = timed(call)
                if number >= WARM:
                    taken[name].append(seconds)
    return {name: Spread.of(values).scaled(1e6) for name, values in taken.items()}


def measure(run: Run) -> Result:
    count = run.rounds(2000, 300)
    load = os.getloadavg()[0]
    port = run.servers.redis_port
    found = {"one server": one_set_up(f"redis://127.0.0.1:{port}", port, 0, count)}
    run.say("behind Sentinels")
    with Guarded(down_after=30) as servers:
        port = servers.primary().port
        found["Sentinels, 1 of 2 replicas"] = one_set_up(servers.url, port, 1, count)
    return {"count": count, "unit": "µs", "load": load, "set_ups": found}


def table(result: Result) -> str:
    head = ["p10 / p50 / p99, µs"]
    for name in result["set_ups"]:
        head += [name, "in bare `SET`s"]
    rows = []
    for call, title in CALLS.items():
        row = [title]
        for one in result["set_ups"].values():
            spread = one[call]
            row.append(" / ".join(f"{spread[part]:.0f}" for part in ("p10", "p50", "p99")))
            row.append(f"{spread['p10'] / one['set']['p10']:.1f}")
        rows.append(row)
    return markdown_table(head, rows) + (
        f"\n{result['count']} of each, in turn, from one thread. All servers share one machine, "
        f"whose two processors had a load of {result['load']:.1f} when it began; the ratios are of "
        "the quiet tenth.\n"
    )


def plots(result: Result) -> dict[str, str]:
    return {}
