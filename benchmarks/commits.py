"""A token's life in PostgreSQL, beside bare statements of psycopg on the same server.

The calls alternate with the bare ones, so that noise hits all alike. The server writes each commit
to the disk before it answers, as people run it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import Add, HeadIs

from .apps import SECRET
from .measure import Spread, timed
from .run import Result, Run, markdown_table
from .watcher import Watcher

TITLE = "A token's life in commits of PostgreSQL"

#: A record is about so large.
VALUE = b"x" * 200

#: What is done, and what that is for a reader.
CALLS = {
    "commit": "a bare `UPDATE` of one row, committed",
    "select": "a bare `SELECT` of one row",
    "login": "a login: the number before the credentials, and the record",
    "begin": "of that, the number before the credentials",
    "record": "of that, the record under the head, by the store alone",
    "logout": "a log-out: entry, record and head",
    "api": "an API token",
    "renewal": "what a renewal writes, where the record's end moves",
    "vouch": "a proof of freshness: a node, every few seconds",
    "look": "the feed is looked at, nothing new",
    "first sight": "the first sight of a login on another node",
    "seen": "a token that was seen before",
}

#: Rounds that are not counted: connections and statements are made.
WARM = 20

WORKERS = 4


class Life:
    """One node that makes tokens, one that meets them, and one plain connection."""

    def __init__(self, url: str) -> None:
        import psycopg

        settings = Settings(store=url, secret=(SECRET,), always_renew=True)
        self.node = TokenAuthority(settings, threaded=False)
        self.other = TokenAuthority(settings, threaded=False)
        self.line = psycopg.connect(url, autocommit=True)
        self.line.execute("CREATE TABLE public.bare (id int PRIMARY KEY, value bytea)")
        self.line.execute("INSERT INTO public.bare VALUES (1, %s)", (VALUE,))
        self.node.store.announce("bench", VALUE)

    def round(self, number: int) -> dict[str, Callable[[], object]]:
        node, other = self.node, self.other
        for one in (node, other):
            one.follower().step()
        issued: list[Any] = []

        def login() -> None:
            since = node.begin()
            issued.append(node.issue_login(f"user{number}", {"name": "x" * 100}, since=since))

        head = node.store.head()
        return {
            "commit": lambda: self.line.execute(
                "UPDATE public.bare SET value = %s WHERE id = 1", (VALUE,)
            ),
            "select": lambda: self.line.execute("SELECT value FROM public.bare WHERE id = 1"),
            "login": login,
            "begin": node.begin,
            "record": lambda: self._record(number, head),
            "first sight": lambda: other.authenticate(issued[0].text),
            "seen": lambda: other.authenticate(issued[0].text),
            "renewal": lambda: self._renew(issued[0]),
            "vouch": lambda: node.store.vouch("bench", VALUE),
            "look": lambda: node.store.read(head),
            "api": lambda: node.issue_api_token(f"user{number}", "bench"),
            "logout": lambda: node.end(issued[0].token),
        }

    def _record(self, number: int, head: int) -> None:
        key, end = f"token/{number % 4096:03x}/bare{number}", time.time() + 86_400.0
        self.node.store.append([], [HeadIs(head), Add(key, VALUE, end)])

    def _renew(self, issued: Any) -> None:
        # (The record's end moves: nothing is known of it any more, as on a node of later.)
        token = issued.token
        self.node.store.touch(token.record_key, (token.expires_at or 0) + 86_400.0)

    def close(self) -> None:
        self.line.close()
        self.node.close()
        self.other.close()


def lives(run: Run, rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    life = Life(run.servers.store("postgresql"))
    try:
        for number in range(WARM + rounds):
            for name, call in life.round(number).items():
                seconds = timed(call)
                if number >= WARM:
                    taken[name].append(seconds)
    finally:
        life.close()
    return taken


def seen_elsewhere(run: Run, count: int) -> dict[str, Any]:
    """Seconds from a revocation's acknowledgement to the first refusal, in other processes."""
    url = run.servers.store("postgresql")
    authority = TokenAuthority(Settings(store=url, secret=(SECRET,)))
    context = multiprocessing.get_context("spawn")
    authority.issue_login("first")
    others = [Watcher(context, url, "", "") for _ in range(WORKERS)]
    refused: list[float] = []
    try:
        for one in others:
            one.answer()
        for number in range(count):
            issued = authority.issue_login("alice")
            for one in others:
                one.order("token", issued.text)
            accepted_by = [one.answer() for one in others]
            if not all(accepted_by):
                raise RuntimeError("a token was refused before it was revoked")
            time.sleep(0.005)
            authority.revoke_ids([issued.token.id])
            acknowledged = time.monotonic()
            refused += [max(0.0, one.answer()[0] - acknowledged) for one in others]
            if number % 25 == 0:
                run.say(f"seen elsewhere: {number} of {count}")
    finally:
        for one in others:
            one.stop()
        authority.close()
    return Spread.of(refused).scaled(1e3)


def measure(run: Run) -> Result:
    rounds = run.rounds(400, 80)
    load = os.getloadavg()[0]
    taken = lives(run, rounds)
    return {
        "rounds": rounds,
        "load": load,
        "calls": {name: Spread.of(taken[name]).scaled(1e3) for name in CALLS},
        "workers": WORKERS,
        "seen_ms": seen_elsewhere(run, run.rounds(300, 30)),
    }


def table(result: Result) -> str:
    calls = result["calls"]
    bare = calls["commit"]
    rows = [
        [
            title,
            " / ".join(f"{calls[name][part]:.2f}" for part in ("p10", "p50", "p99")),
            f"{calls[name]['p10'] / bare['p10']:.1f}",
            f"{calls[name]['p50'] / bare['p50']:.1f}",
        ]
        for name, title in CALLS.items()
    ]
    head = ["what", "p10 / p50 / p99, ms", "in bare commits, quiet", "in bare commits, median"]
    seen = result["seen_ms"]
    return markdown_table(head, rows) + (
        f"\n{result['rounds']} of each, in turn. The server shares one machine with the nodes; its "
        f"load was {result['load']:.1f} when it began. A revocation was first refused in "
        f"{result['workers']} other processes {seen['p50']:.0f} ms (median), {seen['p99']:.0f} ms "
        f"(p99) and {seen['high']:.0f} ms (longest) after its acknowledgement, of "
        f"{seen['count']:.0f}.\n"
    )


def plots(result: Result) -> dict[str, str]:
    return {}
