"""What each thing that one does with a token costs, in both token stores over both stores.

Two applications stand for two nodes: what one issues the other sees for the first time. All
are whole requests through Flask, each beside a bare request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flask import Flask

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.clock import SKEW
from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import new_id, to_record

from .apps import bare, clustertoken
from .inprocess import request
from .measure import Spread, timed
from .run import STORES, Result, Run, markdown_table

TITLE = "Each step in a token’s life"

DAY = 86_400

#: What is done, and what that is for a reader.
STEPS = {
    "seen": "a protected view, token seen before",
    "api seen": "the same with an API token",
    "not looked at": "a view that does not look",
    "first sight": "the first request of a login on a node",
    "api first sight": "the same with an API token",
    "renewal": "a request that renews the login",
    "login": "login",
    "logout": "logout",
}


class Nodes:
    """Two nodes of one cluster in this process."""

    def __init__(self, store: str, token_store: str) -> None:
        self.one = clustertoken(store, token_store=token_store)
        self.two = clustertoken(store, token_store=token_store)

    def __enter__(self) -> Nodes:
        for app in (self.one, self.two):
            ready = authority(app).readiness()
            if not ready.fresh:
                raise RuntimeError(f"a node is not fresh: {ready.trouble}")
        return self

    def __exit__(self, *_: object) -> None:
        for app in (self.one, self.two):
            authority(app).close()

    def old_login(self) -> IssuedToken:
        """A login of two days ago, as the store would have it by now: due to be renewed."""
        issuer = authority(self.one)
        token = issuer.issue_login("alice").token
        assert token.expires_at is not None
        old = replace(
            token,
            id=new_id("alice"),
            issued_at=token.issued_at - 2 * DAY,
            authenticated_at=token.authenticated_at - 2 * DAY,
            expires_at=token.expires_at - 2 * DAY,
        )
        assert old.expires_at is not None
        if issuer.settings.token_store == "session":
            issuer.store.add(old.record_key, to_record(old, 0.0), old.expires_at + SKEW + 1)
        return IssuedToken(old, issuer.wire.write(old))


def authority(app: Flask) -> TokenAuthority:
    return state_of(app).authority


def cookie(app: Flask, text: str) -> dict[str, str]:
    return {"Cookie": f"{state_of(app).middleware.cookie.name}={text}"}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def each_once(app: Flask, path: str, headers: Sequence[dict[str, str]], method: str) -> list[float]:
    """Seconds of one request with each of *headers*."""
    return [timed(request(app, path, one, method)) for one in headers]


def one_store(run: Run, store: str, token_store: str, count: int) -> dict[str, Any]:
    with Nodes(run.servers.store(store), token_store) as nodes:
        one, two = nodes.one, nodes.two
        logins = [authority(one).issue_login("alice").text for _ in range(count)]
        robots = [authority(one).issue_api_token("alice", "robot").text for _ in range(count // 4)]
        old = [nodes.old_login().text for _ in range(count)]
        seen, robot = logins.pop(), robots.pop()
        caught_up(nodes)

        plain = request(bare(), "/me", {})
        views: dict[str, Callable[[], object]] = {
            "seen": request(two, "/me", cookie(two, seen)),
            "api seen": request(two, "/me", bearer(robot)),
            "not looked at": request(two, "/public", cookie(two, seen)),
        }
        taken: dict[str, list[float]] = {name: [] for name in ("bare", *views)}
        for _ in range(count * 20):
            for name, work in (("bare", plain), *views.items()):
                taken[name].append(timed(work))
        taken["first sight"] = each_once(two, "/me", [cookie(two, one) for one in logins], "GET")
        taken["api first sight"] = each_once(two, "/me", [bearer(one) for one in robots], "GET")
        # First seen, then renewed: else a renewal would pay for the first sight too.
        for text in old:
            authority(two).authenticate(text)
        taken["renewal"] = each_once(two, "/me", [cookie(two, one) for one in old], "GET")
        taken["login"] = each_once(one, "/login", [{}] * count, "POST")
        taken["logout"] = each_once(two, "/logout", [cookie(two, one) for one in logins], "POST")
        return {name: Spread.of(values).scaled(1e6) for name, values in taken.items()}


def caught_up(nodes: Nodes) -> None:
    """Wait until both nodes stand at the feed's head: no first sight pays for another's wait."""
    head = authority(nodes.one).begin()
    for app in (nodes.one, nodes.two):
        authority(app).follower().reach(head)
    time.sleep(0.2)


def measure(run: Run) -> Result:
    count = run.rounds(300, 40)
    found: dict[str, Any] = {}
    for store in STORES:
        for token_store in ("session", "cookie"):
            run.say(f"{token_store} over {store}")
            found[f"{token_store}, {store}"] = one_store(run, store, token_store, count)
    return {"count": count, "unit": "µs", "stores": found}


def table(result: Result) -> str:
    head = ["p50 / p99, µs"]
    head += list(result["stores"])
    rows = [["a bare request", *(_cell(one["bare"]) for one in result["stores"].values())]]
    rows += [
        [title, *(_cell(one.get(name)) for one in result["stores"].values())]
        for name, title in STEPS.items()
    ]
    return (
        f"Whole requests, {result['count']} of those that change something. The stores’ servers "
        "run on this machine; over a network their answers take longer.\n\n"
        + markdown_table(head, rows)
    )


def _cell(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "–"
    return f"{spread['p50']:,.0f} / {spread['p99']:,.0f}"


def plots(result: Result) -> dict[str, str]:
    return {}
