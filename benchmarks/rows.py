"""Tokens and revocations in PostgreSQL: what stays flat, what each takes, what is left behind.

The store is filled in bulk, as a migration fills it; then a new worker joins it and does what
workers do. What is left behind are dead rows, of which each renewal and each proof of freshness
makes one; they are counted while one worker does nothing else.
"""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import urlsplit

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from tests.servers.postgresql import Server

from .apps import SECRET
from .growth import fill, newcomer, rows_of
from .run import Result, Run, markdown_table

TITLE = "Tokens and revocations in rows of PostgreSQL"

SIZES = (1_000, 10_000, 100_000)
QUICK = (1_000, 5_000)
MILLION = 1_000_000

_SIZES = """
    SELECT relname, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid)
    FROM pg_stat_user_tables WHERE schemaname = 'clustertoken' ORDER BY relname
"""


def tables(server: Server, url: str, *, counted: bool = True) -> dict[str, dict[str, int]]:
    """Rows and bytes of each table of ours; *counted* now, or as the server has it in mind."""
    database = urlsplit(url).path[1:]
    if counted:
        names = "record, clustertoken.entry, clustertoken.node"
        server.sql(f"ANALYZE clustertoken.{names}", database=database, timeout=120)
    names = ("live", "dead", "table", "index")
    rows = server.sql(_SIZES, database=database)
    return {row[0]: dict(zip(names, map(int, row[1:]), strict=True)) for row in rows}


def left_behind(run: Run, seconds: float) -> dict[str, Any]:
    """Log-ins, renewals, log-outs and proofs of freshness, one after the other, for a while."""
    server, url = run.servers.postgresql, run.servers.store("postgresql")
    node = TokenAuthority(Settings(store=url, secret=(SECRET,)), threaded=False)
    node.store.announce("bench", b"x" * 200)
    most: dict[str, dict[str, int]] = {}
    done, end, look = 0, time.monotonic() + seconds, 0.0
    try:
        while (now := time.monotonic()) < end:
            node.follower().step()
            issued = node.issue_login(f"user{done}")
            token = issued.token
            for day in range(1, 4):
                node.store.touch(token.record_key, (token.expires_at or 0) + day * 86_400.0)
                node.store.vouch("bench", b"x" * 200)
            node.end(token)
            done += 1
            if now > look:
                look = now + seconds / 10
                for name, one in tables(server, url, counted=False).items():
                    before = most.get(name, one)
                    most[name] = {part: max(one[part], before[part]) for part in one}
    finally:
        node.close()
    return {"seconds": seconds, "rounds": done, "most": most}


def measure(run: Run) -> Result:
    count = run.rounds(300, 50)
    load = os.getloadavg()[0]
    sizes = QUICK if run.quick else (*SIZES, *((MILLION,) if run.million else ()))
    run.say("what is left behind")
    result: Result = {"count": count, "load": load, "sizes": {}, "stored": {}}
    result["behind"] = left_behind(run, run.rounds(120, 10))
    for size in sizes:
        run.say(f"filling with {size:,} tokens and as many revocations")
        url = run.servers.store("postgresql")
        start = time.monotonic()
        fill(run, url, size)
        filled = time.monotonic() - start
        result["stored"][str(size)] = tables(run.servers.postgresql, url)
        run.say(f"a new worker at {size:,}")
        found = newcomer(url, count)
        result["sizes"][str(size)] = {"filled_s": round(filled, 1), **found}
        run.so_far(result)
    return result


def table(result: Result) -> str:
    sizes, stored, behind = result["sizes"], result["stored"], result["behind"]
    head = ["PostgreSQL", *(f"{int(size):,}" for size in sizes)]
    rows = [[name, *cells] for name, *cells in rows_of(sizes)]
    for part in ("table", "index"):
        for name, title in (("record", "a token"), ("entry", "a revocation")):
            cells = [_bytes(stored[size], name, part) for size in sizes]
            if any(cells):
                rows.append([f"bytes of {title}, {part}", *cells])
    left = [
        [name, f"{one['live']:,}", f"{one['dead']:,}", f"{(one['table'] + one['index']) // 1024:,}"]
        for name, one in behind["most"].items()
    ]
    return (
        "At each size as many live tokens as live revocations; a new worker joins, then logs in "
        f"and out {result['count']} times. Times are p50 / p99.\n\n"
        + markdown_table(head, rows)
        + f"\nThe most that was seen in {behind['seconds']:.0f} seconds in which one node made "
        f"{behind['rounds']:,} times a login, three renewals, three proofs of freshness and a "
        "log-out, with autovacuum as it comes:\n\n"
        + markdown_table(["table", "live rows", "dead rows", "kB"], left)
        + f"\nThe machine's load was {result['load']:.1f} when it began.\n"
    )


def _bytes(stored: dict[str, dict[str, int]], name: str, part: str) -> str:
    one = stored.get(name) or stored.get(name + "s") or {}
    return f"{one[part] / one['live']:.0f}" if one.get("live") else ""


def plots(result: Result) -> dict[str, str]:
    return {}
