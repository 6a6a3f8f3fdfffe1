"""Network: time, and the line between a node and the store, on which anything may happen."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flask_clustertoken.errors import ClusterTokenError, StoreUnavailable

from .node import SimulatedNode

if TYPE_CHECKING:
    from .world import World

T = TypeVar("T")


class Network:
    """How rough this schedule is, and in which way."""

    def __init__(self, world: World) -> None:
        rng = world.rng
        self.world = world
        self.deferred: list[tuple[float, int, Callable[[], Any]]] = []
        self.count = 0
        self.trouble = rng.choice((0.0, 0.02, 0.02, 0.1))
        self.late = rng.choice((0.0, 0.3, 0.6))
        self.lag = rng.choice((0.0, 0.1, 0.4))
        self.slow = rng.choice((0.0, 0.01, 0.06))
        self.busy = rng.choice((0.05, 0.2, 0.4))

    def call(self, node: SimulatedNode, work: Callable[[], T], *, writes: bool) -> T:
        """One call of *node* to the store."""
        rng = self.world.rng
        if self.world.calm:
            return work()
        self.meanwhile()
        if node.cut:
            self.pass_time(rng.choice((0.0, 0.2, 5.0)))
            if writes and rng.random() < self.late / 4:
                self._arrives_late(work)
            raise StoreUnavailable("the line is cut")
        roll = rng.random()
        if roll < self.trouble:
            outcome = rng.randrange(3)
            if outcome == 1 and writes:
                work()
                self.meanwhile()
            elif outcome == 2 and writes and rng.random() < self.late:
                self._arrives_late(work)
            self.pass_time(rng.choice((0.0, 0.5, 5.0)))
            raise StoreUnavailable("no answer in time")
        self.pass_time(rng.expovariate(1 / 0.003))
        if rng.random() < self.slow:
            self._stall()
        answer = work()
        self.pass_time(rng.expovariate(1 / 0.003))
        if rng.random() < self.slow:
            self._stall()
        self.meanwhile()
        return answer

    def lags(self) -> bool:
        return not self.world.calm and self.world.rng.random() < self.lag

    def _arrives_late(self, work: Callable[[], Any]) -> None:
        self.count += 1
        when = self.world.now + self.world.rng.choice((0.01, 1.0, 8.0, 20.0))
        heapq.heappush(self.deferred, (when, self.count, work))

    def _stall(self) -> None:
        """The caller is suspended in the middle of its call; the world goes on."""
        left = self.world.rng.choice((0.5, 3.0, 9.0, 25.0))
        if self.world.depth:
            self.pass_time(left)
            return
        for _ in range(3):
            self.drive(left / 3)
            self.meanwhile()

    def meanwhile(self) -> None:
        if self.world.depth < 2 and self.world.rng.random() < self.busy:
            self.world.depth += 1
            try:
                self.world.act()
            finally:
                self.world.depth -= 1

    def pass_time(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.deferred and self.deferred[0][0] <= end:
            when, _, work = heapq.heappop(self.deferred)
            self.world.now = max(self.world.now, when)
            with contextlib.suppress(ClusterTokenError):
                work()
        self.world.now = max(self.world.now, end)

    def drive(self, seconds: float) -> None:
        """Let *seconds* pass; the followers do what they would do meanwhile."""
        end = self.world.now + seconds
        self.world.depth += 1
        try:
            for _ in range(20):
                ready = [
                    node for node in self.world.nodes if not node.stepping and not node.joining
                ]
                when = min((max(node.due, node.frozen_until) for node in ready), default=end)
                if when >= end or self.world.now >= end:
                    break
                self.pass_time(max(0.0, when - self.world.now))
                for node in ready:
                    if node.due <= self.world.now and node.awake:
                        node.step()
        finally:
            self.world.depth -= 1
        self.pass_time(max(0.0, end - self.world.now))
