"""From a revocation to the first refusal in every other process, beside a bare kazoo watch."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings

from .apps import SECRET
from .measure import Spread
from .run import STORES, Result, Run, markdown_table
from .svg import bars
from .watcher import Watcher

TITLE = "From revocation to refusal"

WORKERS = 4
ZNODE = "/bare-watch"


@contextmanager
def watchers(url: str, addresses: str, count: int) -> Iterator[list[Watcher]]:
    """So many other processes that are ready."""
    context = multiprocessing.get_context("spawn")
    made = [Watcher(context, url, addresses, ZNODE) for _ in range(count)]
    try:
        for one in made:
            one.answer()
        yield made
    finally:
        for one in made:
            one.stop()


def one_store(run: Run, store: str, count: int) -> dict[str, Any]:
    from kazoo.client import KazooClient

    url, addresses = run.servers.store(store), run.servers.ensemble.addresses
    client = KazooClient(addresses)
    client.start(20)
    client.ensure_path(ZNODE)
    try:
        told = told_by(run, url, addresses, lambda text: client.set(ZNODE, text.encode()), count)
    finally:
        client.stop()
    return told


def told_by(
    run: Run, url: str, addresses: str, tell: Callable[[str], object], count: int
) -> dict[str, Any]:
    """*count* revocations over the store *url*, each beside a bare call: *tell*."""
    authority = TokenAuthority(Settings(store=url, secret=(SECRET,)))
    refused: list[float] = []
    asked: list[float] = []
    bare: list[float] = []
    late = 0
    try:
        with watchers(url, addresses, WORKERS) as others:
            for number in range(count):
                issued = authority.issue_login("alice")
                for one in others:
                    one.order("token", issued.text)
                accepted_by = [one.answer() for one in others]
                if not all(accepted_by):
                    raise RuntimeError("a token was refused before it was revoked")
                time.sleep(0.005)
                start = time.monotonic()
                authority.revoke_ids([issued.token.id])
                acknowledged = time.monotonic()
                asked.append(acknowledged - start)
                for one in others:
                    first, accepted = one.answer()
                    refused.append(max(0.0, first - acknowledged))
                    late += accepted > acknowledged
                for one in others:
                    one.order("watch", str(number))
                for one in others:
                    one.answer()
                time.sleep(0.005)
                tell(str(number))
                acknowledged = time.monotonic()
                bare += [max(0.0, one.answer() - acknowledged) for one in others]
                if number % 25 == 0:
                    run.say(f"{url.partition(':')[0]}: {number} of {count}")
    finally:
        authority.close()
    return {
        "refused_ms": Spread.of(refused).scaled(1e3),
        "revoke_ms": Spread.of(asked).scaled(1e3),
        "bare_ms": Spread.of(bare).scaled(1e3),
        "accepted_later": late,
    }


def measure(run: Run) -> Result:
    count = run.rounds(300, 30)
    return {
        "revocations": count,
        "workers": WORKERS,
        "stores": {store: one_store(run, store, count) for store in STORES},
    }


def table(result: Result) -> str:
    rows = []
    for store, one in result["stores"].items():
        rows.append(
            [f"{store}: first refusal after the acknowledgement", *cells(one["refused_ms"])]
        )
        rows.append(["   a bare kazoo watch in the same run", *cells(one["bare_ms"])])
        rows.append(["   the call that revokes", *cells(one["revoke_ms"])])
    later = ", ".join(f"{store} {one['accepted_later']}" for store, one in result["stores"].items())
    return (
        f"{result['revocations']} revocations, {result['workers']} other processes, each asking "
        "every half millisecond; ms. 0 means refused before the acknowledgement reached whoever "
        "revoked. ZooKeeper is an ensemble of three on this machine. Requests accepted although "
        f"they began after the acknowledgement: {later} (without a barrier ZooKeeper promises "
        "none; the directory store does, and any number but 0 there is a fault).\n\n"
        + markdown_table(["ms", "p50", "p90", "p99", "max"], rows)
    )


def cells(spread: dict[str, float]) -> list[str]:
    return [f"{spread[name]:.2f}" for name in ("p50", "p90", "p99", "high")]


def plots(result: Result) -> dict[str, str]:
    rows = []
    for store, one in result["stores"].items():
        rows.append((f"{store}, first refusal, p99", one["refused_ms"]["p99"], True))
        rows.append((f"a bare kazoo watch beside it ({store}), p99", one["bare_ms"]["p99"], False))
    return {"spread": bars("From the acknowledgement to the last process, p99", rows, "ms")}
