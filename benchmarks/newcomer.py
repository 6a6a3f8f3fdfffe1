"""A worker that joins a cluster: how long it takes, what it weighs, what its requests feel.

Run by :mod:`.growth` in a process of its own: ``python -m benchmarks.newcomer URL COUNT``
writes what it measured as JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import Token, new_id, view_keys

from .apps import SECRET
from .measure import Spread, block, percentile, timed


def resident(which: str = "VmRSS") -> float:
    """Megabytes of this process in memory."""
    match = re.search(which + r":\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


def join(url: str) -> TokenAuthority:
    authority = TokenAuthority(Settings(store=url, secret=(SECRET,)))
    end = time.monotonic() + 300
    while not authority.readiness().fresh:
        if time.monotonic() > end:
            raise TimeoutError(authority.readiness().trouble)
        time.sleep(0.01)
    return authority


def check_cost(authority: TokenAuthority) -> float:
    """Microseconds to look whether the view covers a token, a different one each time."""
    view, tokens = authority.follower().view, []
    for _ in range(2000):
        token = Token(new_id("alice"), "alice", "login", 0, 0, None, since=2**62)
        tokens.append((token, view_keys(token)))

    def all_of_them() -> None:
        for token, keys in tokens:
            view.covers(token, keys)

    all_of_them()
    return percentile([timed(all_of_them) for _ in range(20)], 0.1) / len(tokens) * 1e6


#: Seconds for which the thread that measures pauses asks at most.
ASKING = 20.0


def pauses(
    authority: TokenAuthority, text: str, meanwhile: Callable[[], object]
) -> dict[str, float]:
    """The time between two answers to a thread that asks all the time, while *meanwhile* runs.

    The longest, and how many were longer than a millisecond. (All of them would be some hundred
    millions, and the list of them a pause of its own.) The thread takes most of the interpreter
    for itself, so it stops after :data:`ASKING` seconds.
    """
    gaps: list[float] = []
    done = threading.Event()

    def ask() -> None:
        start = last = time.perf_counter()
        while not done.is_set() and last - start < ASKING:
            authority.authenticate(text)
            now = time.perf_counter()
            if now - last > 0.001:
                gaps.append(now - last)
            last = now

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        meanwhile()
    finally:
        done.set()
        thread.join()
    longest = max(gaps, default=0.001)
    return {"over_1_ms": len(gaps), "high": round(longest * 1e3, 3)}


def busy(seconds: float) -> None:
    """What any thread of Python does to its neighbours: the second control."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(100))


def measure(url: str, count: int) -> dict[str, Any]:
    gc.collect()
    before = resident()
    start = time.perf_counter()
    authority = join(url)
    ready = time.perf_counter() - start
    gc.collect()
    follower = authority.follower()
    found: dict[str, Any] = {
        "revocations": len(follower.view),
        "start_s": round(ready, 3),
        "memory_mb": round(resident() - before, 1),
        "peak_mb": round(resident("VmHWM") - before, 1),
        "check_us": round(check_cost(authority), 3),
    }
    logins, ids = [], []

    def login() -> None:
        issued = authority.issue_login("subject-" + secrets.token_hex(4))
        logins.append(issued.text)
        ids.append(issued.token.id)

    def at(name: str, values: list[float]) -> None:
        found[name] = Spread.of(values).scaled(1e3)

    at("login_ms", [timed(login) for _ in range(count)])
    text = logins[-1]
    found["seen_us"] = round(
        percentile([block(lambda: authority.authenticate(text), 0.004) for _ in range(30)], 0.1), 3
    )
    authority.remembered.clear()
    at("first_sight_ms", [timed(partial(authority.authenticate, one)) for one in logins])
    at("logout_ms", [timed(partial(authority.revoke_ids, [one])) for one in ids[:-1]])
    rebuilding = timed(follower.reader.take_snapshot)
    found["rebuild_s"] = round(rebuilding, 3)
    authority.authenticate(text)
    found["pause_ms"] = pauses(authority, text, follower.reader.take_snapshot)
    long = min(ASKING, max(0.3, rebuilding))
    found["pause_idle_ms"] = pauses(authority, text, lambda: time.sleep(long))
    found["pause_busy_ms"] = pauses(authority, text, lambda: busy(long))
    authority.close()
    return found


if __name__ == "__main__":
    logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
