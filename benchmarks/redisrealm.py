"""A realm on one Redis server: what it weighs there, how it grows, how soon a revocation is seen.

The controls run in turn with ours on the same server: two bare ``SET``s of redis-py, which are as
many round trips as a login or a log-out, and a bare ``PUBLISH`` to the same number of processes.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from typing import Any

from flask_clustertoken.stores import open_store

from .growth import QUICK, SIZES, entries, records
from .measure import Spread, timed
from .newcomer import join
from .run import Result, Run, markdown_table
from .spread import WORKERS, ZNODE, cells, told_by
from .svg import lines

TITLE = "A realm on Redis"

SEEN = {
    "refused_ms": "first refusal after the acknowledgement",
    "bare_ms": "a bare `PUBLISH` in the same run",
    "revoke_ms": "the call that revokes",
}

CALLS = {
    "login": "a login, ms (p10 / p50 / p99)",
    "logout": "a log-out, ms",
    "bare": "two bare `SET`s, ms",
}

PARTS = ("p10", "p50", "p99")


def weighed(run: Run, client: Any, url: str, size: int) -> dict[str, float]:
    """Fill the realm; bytes on the server for each token and each revocation."""
    from dataclasses import replace

    def used() -> int:
        return int(client.info("memory")["used_memory"])

    with open_store(url, timeout=60) as store:
        root = store.root()
        preparing = replace(root, state="preparing")
        store.change_root(root, preparing)
        empty = used()
        store.load(run.counting(records(size), "tokens"), [])
        with_tokens = used()
        store.load([], run.counting(entries(size), "revocations"))
        full = used()
        store.change_root(preparing, root)
    return {"token": (with_tokens - empty) / size, "revocation": (full - with_tokens) / size}


def in_turn(client: Any, url: str, count: int) -> dict[str, Any]:
    """Logins, log-outs and two bare ``SET``s in turn, in milliseconds; how long joining took."""
    start = time.perf_counter()
    authority = join(url)
    found: dict[str, Any] = {"start_s": time.perf_counter() - start}
    ids: list[str] = []

    def login() -> None:
        ids.append(authority.issue_login("subject-" + secrets.token_hex(4)).token.id)

    def two_sets() -> None:
        client.set("bare", b"x" * 200)
        client.set("bare", b"x" * 200)

    calls = {"login": login, "logout": lambda: authority.revoke_ids(ids[-1:]), "bare": two_sets}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            taken[name].append(timed(call))
    authority.close()
    return found | {name: Spread.of(values).scaled(1e3) for name, values in taken.items()}


def at_sizes(run: Run, port: int, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    import redis

    client, url = redis.Redis(port=port), f"redis://127.0.0.1:{port}"
    for size in QUICK if run.quick else SIZES:
        run.say(f"{size:,} tokens and as many revocations")
        client.flushall()
        weight = weighed(run, client, url, size)
        run.say(f"a new worker at {size:,}")
        yield str(size), {"bytes": weight, **in_turn(client, url, count)}


def measure(run: Run) -> Result:
    import redis

    load, port, count = os.getloadavg()[0], run.servers.redis_port, run.rounds(300, 50)
    url = f"redis://127.0.0.1:{port}"
    client = redis.Redis(port=port)
    seen = told_by(run, url, url, lambda text: client.publish(ZNODE, text), count)
    result: Result = {"count": count, "seen": seen, "sizes": {}}
    for size, one in at_sizes(run, port, count):
        result["sizes"][size] = one
        result["load"] = [load, os.getloadavg()[0]]
        run.so_far(result)
    return result


def table(result: Result) -> str:
    sizes, load = result["sizes"], result["load"]
    every = list(sizes.values())
    rows = [
        [f"memory for a {name}, bytes", *(f"{one['bytes'][name]:.0f}" for one in every)]
        for name in ("token", "revocation")
    ]
    for name, title in CALLS.items():
        spreads = [one[name] for one in every]
        rows.append([title, *(" / ".join(f"{x[p]:.2f}" for p in PARTS) for x in spreads)])
    rows.append(["a worker joins, s", *(f"{one['start_s']:.1f}" for one in every)])
    seen = [[title, *cells(result["seen"][name])] for name, title in SEEN.items()]
    return (
        f"One Redis server on this machine, whose two processors had a load of {load[0]:.1f} when "
        f"it began and {load[1]:.1f} at its end: compare with the bare calls.\n\n"
        f"{result['count']} revocations, {WORKERS} other processes, each asking every half "
        "millisecond; 0 means refused before the acknowledgement reached whoever revoked.\n\n"
        + markdown_table(["ms", "p50", "p90", "p99", "max"], seen)
        + "\nAt each size as many live tokens as live revocations; then a worker joins and makes "
        f"{result['count']} logins and log-outs, in turn with the bare calls.\n\n"
        + markdown_table(["on the server", *(f"{int(size):,}" for size in sizes)], rows)
    )


def plots(result: Result) -> dict[str, str]:
    sizes = result["sizes"].items()
    series = {
        title.partition(",")[0]: [(float(size), one[name]["p50"]) for size, one in sizes]
        for name, title in CALLS.items()
    }
    title = "Redis as tokens and revocations grow"
    across = "tokens and revocations"
    return {"redisrealm": lines(title, series, across=across, up="ms, p50", log_up=True)}
