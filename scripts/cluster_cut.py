"""The show on PostgreSQL: a primary is cut off, one node beside it; the standby takes over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from scripts.cluster_people import (
    NODES,
    Browser,
    log_alice_out,
    refused,
    say,
    until,
    up,
    where,
)
from tests.ensemble.proxy import Proxy
from tests.servers.postgresql import Server
from tests.servers.standbys import Replicated


class CutOff:
    """A primary and its synchronous standby; each node reaches both by lines that can be cut."""

    def __init__(self) -> None:
        self._servers = Replicated(1, synchronous=1)
        self._lines: list[list[Proxy]] = []
        self._stack = ExitStack()

    def __enter__(self) -> CutOff:
        self._stack.enter_context(self._servers)
        for _ in NODES:
            self._lines.append([self._line(one) for one in self._servers.servers])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _line(self, server: Server) -> Proxy:
        line = Proxy(("127.0.0.1", server.port))
        self._stack.callback(line.close)
        return line

    @property
    def urls(self) -> list[str]:
        """Of the store, as each node has it."""
        return [self._servers.url_of(*(one.port for one in lines)) for lines in self._lines]

    def show(self, bob: Browser, phone: Browser, admin: Browser, nodes: Sequence[str]) -> None:
        old, new = self._servers.servers
        beside = NODES[-1]
        say(f"\nCutting the PostgreSQL primary off: only {beside} still talks to it …")
        for lines in self._lines[:-1]:
            lines[0].reject()
        self._lines[-1][1].reject()
        self._servers.promote(new)
        say("    the standby was promoted; the others talk to it. The old primary goes on.")
        # (Asked right there, not by way of nginx.)
        left = Browser(nodes[-1])
        status = left.ask("/login", {"username": "bob", "password": "bob"})[0]
        if status != 503:
            raise SystemExit(f"a login counted at {beside} although no standby has it: {status}")
        say(
            f"    {beside} takes nothing for done that its standby does not have: a login gets 503."
        )
        log_alice_out(admin, phone)
        left.cookie = phone.cookie
        gone = until(lambda: left.ask("/api/me")[0] in (401, 503), f"the end of {beside}'s lease")
        say(f"    {beside}, which cannot know of it, answers 503 after {gone:.1f} s at most.")
        where(bob, 1.0)
        say("    bob goes on working, by way of the others.")
        for lines in self._lines:
            for line in lines:
                line.heal()
        self._servers.follow(old, new)
        new.configure(synchronous_standby_names=self._servers.quorum)
        until(lambda: up(nodes[-1]), f"{beside}'s return")
        until(lambda: refused(phone), "the log-out everywhere")
        say(f"    the old primary follows the new one; {beside} is back, and knows.")
