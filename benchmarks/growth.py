"""From a thousand to a million tokens and revocations: what stays flat, and what grows.

The store is filled in bulk, as a migration fills it; then a new worker joins it and does what
workers do. The same number of live tokens and of live revocations each time.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Entry, Record
from flask_clustertoken.tokens import Token, new_id, to_record

from .run import STORES, Result, Run, markdown_table
from .svg import lines

TITLE = "Growth"

DAY = 86_400
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK = (1_000, 5_000)


def records(count: int) -> Iterator[tuple[str, Record]]:
    """Live logins of as many subjects."""
    now = int(time.time())
    for number in range(count):
        subject = f"user-{number}"
        token = Token(new_id(subject), subject, "login", now, now, now + 7 * DAY, since=1)
        yield token.record_key, Record(to_record(token, 0.0), now + 7 * DAY)


def entries(count: int) -> Iterator[Entry]:
    """Live revocations of ids, as logouts leave them."""
    now = time.time()
    keep = now + 3600
    seq = int((now - 60) * 1e6) - 2 * count
    prev = 0
    body = FeedEntry("ids", now, digests=(0,), recorded=True).encode()
    zeros = b"0" * 16
    for _ in range(count):
        digest = secrets.token_hex(8).encode()
        yield Entry(seq, prev, secrets.token_hex(16), body.replace(zeros, digest), keep)
        prev, seq = seq, seq + 2


def fill(run: Run, url: str, count: int) -> None:
    # (Patient: three servers on one machine take their time for a page among a million.)
    store = open_store(url, realm="default", instance_path="", timeout=60.0)
    try:
        root = store.root()
        preparing = replace(root, state="preparing")
        if not store.change_root(root, preparing):
            raise RuntimeError("somebody else uses this store")
        tokens, feed = (
            run.counting(records(count), "tokens"),
            run.counting(entries(count), "entries"),
        )
        store.load(tokens, feed, head=0, floor=0)
        store.change_root(preparing, root)
    finally:
        store.close()


def newcomer(url: str, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.newcomer", url, str(count)],
        cwd=Path(__file__).resolve().parent.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the new worker failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(run: Run) -> Result:
    count = run.rounds(300, 50)
    found: dict[str, dict[str, Any]] = {}
    for store in reversed(STORES):  # the million comes last
        found[store] = {}
        for size in QUICK if run.quick else SIZES:
            run.say(f"filling {store} with {size:,} tokens and as many revocations")
            url = run.servers.store(store)
            start = time.monotonic()
            fill(run, url, size)
            filled = time.monotonic() - start
            run.say(f"a new worker at {size:,} in {store}")
            found[store][str(size)] = {"filled_s": round(filled, 1), **newcomer(url, count)}
            run.so_far({"count": count, "stores": found})
    return {"count": count, "stores": found}


def table(result: Result) -> str:
    texts = [
        "At each size as many live tokens as live revocations; a new worker joins, then logs in "
        f"and out {result['count']} times. Times are p50 / p99. A pause is the longest time "
        "between two answers to a thread that asks all the time: while the view is rebuilt, "
        "while nothing else runs, and while another thread just counts.\n"
    ]
    for store, sizes in result["stores"].items():
        head = [store, *(f"{int(size):,}" for size in sizes)]
        texts.append(markdown_table(head, [[name, *cells] for name, *cells in rows_of(sizes)]))
    return "\n".join(texts)


def rows_of(sizes: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    every = list(sizes.values())

    def plain(title: str, name: str, form: str) -> list[str]:
        return [title, *(format(one[name], form) for one in every)]

    def spread(title: str, name: str) -> list[str]:
        return [title, *(f"{one[name]['p50']:.2f} / {one[name]['p99']:.2f}" for one in every)]

    yield plain("validation of a seen token, µs", "seen_us", ".2f")
    yield plain("of it: a look into the view, µs", "check_us", ".2f")
    yield spread("first sight, ms", "first_sight_ms")
    yield spread("login, ms", "login_ms")
    yield spread("logout, ms", "logout_ms")
    yield plain("start of a worker, s", "start_s", ".2f")
    yield plain("memory that it adds, MB", "memory_mb", ".1f")
    yield plain("the same at its peak, MB", "peak_mb", ".1f")
    yield plain("rebuilding the view, s", "rebuild_s", ".2f")
    for title, name in (
        ("longest pause meanwhile, ms", "pause_ms"),
        ("the same, idle control, ms", "pause_idle_ms"),
        ("the same, a thread that counts, ms", "pause_busy_ms"),
    ):
        yield [title, *(f"{one[name]['high']:.1f}" for one in every)]


def plots(result: Result) -> dict[str, str]:
    found = {}
    for plot, title, up, pick in (
        ("growth-time", "Login and logout as tokens and revocations grow", "ms, p50", "p50"),
        ("growth-p99", "The same, the slowest hundredth", "ms, p99", "p99"),
    ):
        series = {
            f"{name}, {store}": [
                (float(size), one[f"{name}_ms"][pick]) for size, one in sizes.items()
            ]
            for store, sizes in result["stores"].items()
            for name in ("login", "logout")
        }
        found[plot] = lines(title, series, across="tokens and revocations", up=up, log_up=True)
    seen = {
        f"{title}, {store}": [(float(size), one[name]) for size, one in sizes.items()]
        for store, sizes in result["stores"].items()
        for title, name in (("seen token", "seen_us"), ("look into the view", "check_us"))
    }
    found["growth-check"] = lines(
        "Validation stays flat", seen, across="tokens and revocations", up="µs"
    )
    start = {
        f"{title}, {store}": [(float(size), max(one[name], 0.01)) for size, one in sizes.items()]
        for store, sizes in result["stores"].items()
        for title, name in (("start, s", "start_s"), ("memory, MB", "memory_mb"))
    }
    found["growth-start"] = lines(
        "A new worker", start, across="revocations", up="s, MB", log_up=True
    )
    return found
