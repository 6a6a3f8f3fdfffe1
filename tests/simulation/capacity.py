"""A cluster on ZooKeeper servers that carry out so many requests a second and no more.

Real nodes with their real runners and the real store, over a tree that takes its time: requests
stand in one line, whoever asked may have given up long before its turn, and it costs the servers
as much. In an outage nothing is answered, and each node finds back at a moment of its own.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import ClusterTokenError, StoreUnavailable
from flask_clustertoken.revocations import Runner, runner
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.zookeeper import connection, queue, realm, records, site
from flask_clustertoken.stores.zookeeper.connection import (
    LONGEST_RECONNECT,
    CallDeadline,
    LineLost,
    Op,
)
from tests.stores.zk_tree import Tree, TreeLine

from .turnstile import Flag, Turnstile

MAX_STALENESS = 10.0

#: Requests with a token that a node has not seen before, a second and node.
FIRST_SIGHTS = 0.3

#: Each token has one of these.
LABELS = ("x", "y")


class Servers:
    """One line for all requests."""

    def __init__(self, turnstile: Turnstile, capacity: float) -> None:
        self.turnstile = turnstile
        self.capacity = capacity
        self.tree = Tree(time=turnstile.time)
        self.lines: list[SlowLine] = []
        #: (when, which node) for each request that was sent, and each that found no line.
        self.sent: list[tuple[float, int]] = []
        self.lineless: list[tuple[float, int]] = []
        self.away = False
        self._free_at = turnstile.now
        self._outages = 0

    def enter(self, node: int, requests: int, work: Callable[[], None]) -> None:
        """So many requests are sent; *work* when they are carried out."""
        now, outages = self.turnstile.now, self._outages
        self.sent += [(now, node)] * requests
        self._free_at = max(now, self._free_at) + requests / self.capacity

        def done() -> None:
            if outages == self._outages:
                work()

        self.turnstile.at(self._free_at, done)

    def fail(self, seconds: float) -> None:
        """An outage: nothing is answered, and what stood in line is lost."""
        self.away, self._outages = True, self._outages + 1
        for line in self.lines:
            line.cut()

        def back() -> None:
            self.away, self._free_at = False, self.turnstile.now
            for line in self.lines:
                # (As Line._pace does it: somewhere in the longest of its pauses.)
                self.turnstile.at(
                    self.turnstile.now + backoff.share(LONGEST_RECONNECT), line.connect
                )

        self.turnstile.at(self.turnstile.now + seconds, back)


class SlowLine(TreeLine):
    """A node's connection: it waits until its turn has come, or its time is up."""

    def __init__(self, servers: Servers, changed: Callable[[bool], None]) -> None:
        super().__init__(servers.tree)
        self._servers = servers
        self._changed = changed
        self._connected = True
        self.number = len(servers.lines)
        servers.lines.append(self)

    def cut(self) -> None:
        self._connected = False
        self._changed(False)

    def connect(self) -> None:
        """A session costs the servers something, too."""

        def connected() -> None:
            self._connected = True
            self._changed(True)

        self._servers.enter(self.number, 1, connected)

    def _through(self, deadline: CallDeadline, requests: int, work: Callable[[], Any]) -> Any:
        turnstile, answers = self._servers.turnstile, []
        if not self._connected:
            self._servers.lineless.append((turnstile.now, self.number))
            raise StoreUnavailable("no ZooKeeper server can be reached")
        waiting = Flag(turnstile)

        def carry_out() -> None:
            try:
                answers.append((work(), None))
            except Exception as error:
                answers.append((None, error))
            waiting.set()

        self._servers.enter(self.number, requests, carry_out)
        end = turnstile.now + deadline.left()
        while not answers and self._connected and turnstile.now < end:
            waiting.wait(min(end - turnstile.now, 0.5))
        if not answers:
            if not self._connected:
                raise LineLost("the connection broke")
            raise StoreUnavailable("ZooKeeper did not answer in time")
        answer, error = answers[0]
        if error is not None:
            raise error
        return answer

    def ask(self, deadline: CallDeadline, *requests: Callable[[Any], Any]) -> list[Any]:
        ask = super().ask
        found: list[Any] = self._through(deadline, len(requests), lambda: ask(deadline, *requests))
        return found

    def ask_many(
        self, deadline: CallDeadline, requests: Sequence[Callable[[Any], Any]]
    ) -> list[Any]:
        return self.ask(deadline, *requests) if requests else []

    def multi(
        self, deadline: CallDeadline, ops: Sequence[Op], *behind: Callable[[Any], Any]
    ) -> list[Any]:
        multi, asked = super().multi, 1 + len(behind)
        found: list[Any] = self._through(deadline, asked, lambda: multi(deadline, ops, *behind))
        return found

    def post(self, request: Callable[[Any], Any]) -> None:
        post = super().post
        if self._connected:
            self._servers.enter(self.number, 1, lambda: post(request))


class Crowd:
    """Some nodes on such servers, each with a runner and with requests."""

    def __init__(self, nodes: int, capacity: float, seed: int = 1) -> None:
        self.turnstile = Turnstile(1_800_000_000.0)
        self.servers = Servers(self.turnstile, capacity)
        self.nodes: list[TokenAuthority] = []
        self.rng = Random(seed)
        self.size = nodes
        self._aside = False
        self.texts: list[str] = []
        #: (when it was asked, which token) for each token that was accepted.
        self.accepted: list[tuple[float, int]] = []

    @contextmanager
    def running(self, patch: pytest.MonkeyPatch) -> Iterator[Crowd]:
        """All of them started and fresh."""
        turnstile = self.turnstile
        clock = SimpleNamespace(monotonic=turnstile.monotonic, sleep=turnstile.sleep)
        for module in (connection, site, queue, records, runner):
            patch.setattr(module, "time", clock)
        patch.setattr(realm, "Line", self._line)
        if backoff.chance is not always:
            patch.setattr(backoff, "chance", self.rng.random)
        level = logging.getLogger("flask_clustertoken").level
        logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
        capacity, self.servers.capacity = self.servers.capacity, 1e6
        try:
            for _ in range(self.size):
                turnstile.start(self._node())
                turnstile.run(0.05)
            turnstile.start(self._logins)
            turnstile.run(20)
            assert self.fresh() == self.size
            self.servers.capacity = capacity
            yield self
        finally:
            turnstile.stop()
            logging.getLogger("flask_clustertoken").setLevel(level)

    def _line(self, *given: Any) -> TreeLine:
        return TreeLine(self.servers.tree) if self._aside else SlowLine(self.servers, given[3])

    def _member(self, **more: Any) -> TokenAuthority:
        settings = Settings.from_mapping(
            {"CLUSTERTOKEN_SECRET": "k" * 40, "CLUSTERTOKEN_MAX_STALENESS": MAX_STALENESS}
        )
        store = open_store("zookeeper://none:1/app", clock=self.turnstile)
        return TokenAuthority(settings, clock=self.turnstile, store=store, threaded=False, **more)

    def revoke(self, label: str) -> int:
        """Somebody whom the servers answer at once logs out whoever has *label*."""
        self._aside = True
        try:
            return self._member(active=False).revoke_labels([label]).seq
        finally:
            self._aside = False

    def _node(self) -> Callable[[], None]:
        node = self._member()
        self.nodes.append(node)

        def live() -> None:
            follower = node.follower()
            follower.wake = Flag(self.turnstile)  # type: ignore[assignment]
            self.turnstile.start(lambda: self._requests(node))
            Runner(follower)._run()

        return live

    def _logins(self) -> None:
        for number in range(20):
            label = LABELS[number % len(LABELS)]
            issued = self.nodes[0].issue_login(f"user-{number}", labels=[label])
            self.texts.append(issued.text)

    def _requests(self, node: TokenAuthority) -> None:
        while True:
            self.turnstile.sleep(self.rng.expovariate(FIRST_SIGHTS))
            if self.texts:
                node.remembered.clear()
                which, begin = self.rng.randrange(len(self.texts)), self.turnstile.now
                with suppress(ClusterTokenError):
                    if node.authenticate(self.texts[which]):
                        self.accepted.append((begin, which))

    # -- what is measured --------------------------------------------------------------

    def fresh(self) -> int:
        return sum(node.follower().fresh for node in self.nodes)

    def run(self, seconds: float) -> None:
        self.turnstile.run(seconds)

    def rate(self, seconds: float) -> float:
        """Requests that were sent a second, in the last *seconds*."""
        since = self.turnstile.now - seconds
        return sum(when >= since for when, _ in self.servers.sent) / seconds

    def busiest(self, seconds: float) -> float:
        """The same of the node that tried most, those included that found no line."""
        since = self.turnstile.now - seconds
        tried = (*self.servers.sent, *self.servers.lineless)
        counts = Counter(node for when, node in tried if when >= since)
        return max(counts.values(), default=0) / seconds

    def at_once(self, seconds: float, width: float = 0.25) -> int:
        """How many nodes asked something within the same *width* seconds, at most."""
        since = self.turnstile.now - seconds
        nodes: dict[int, set[int]] = {}
        for when, node in self.servers.sent:
            if when >= since:
                nodes.setdefault(int((when - since) / width), set()).add(node)
        return max(map(len, nodes.values()), default=0)

    def accepted_late(self, label: str, acknowledged: float) -> list[float]:
        """Seconds after that for which a token with *label* was accepted longer than promised."""
        which = LABELS.index(label)
        return [
            when - acknowledged
            for when, number in self.accepted
            if number % len(LABELS) == which and when > acknowledged + MAX_STALENESS
        ]

    def until_fresh(self, most: float) -> float:
        """Seconds until all are fresh; *most* where they are not by then."""
        begin = self.turnstile.now
        while self.turnstile.now - begin < most and self.fresh() < self.size:
            self.run(0.25)
        return self.turnstile.now - begin


def always() -> float:
    """No chance at all: everybody draws the same."""
    return 1.0
