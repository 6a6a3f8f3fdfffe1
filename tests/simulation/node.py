"""Node: one worker process with its own clocks."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

import flask_clustertoken.cluster.runtime as runtime_module
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import ClusterTokenError
from flask_clustertoken.settings import Settings

from .store import SimulatedStore

if TYPE_CHECKING:
    from .world import World


class NodeClock:
    """A node's own clocks: another time of day, another start, a slightly other rate."""

    def __init__(self, world: World, skew: float, start: float, rate: float) -> None:
        self._world = world
        self.skew = self._small = skew
        #: Somebody set this clock; then somebody sets it right again.
        self.wrong_until = 0.0
        self._start = start
        self._rate = rate

    def time(self) -> float:
        if self._world.now >= self.wrong_until and abs(self.skew) > 30:
            self.skew = self._small
        return self._world.now + self.skew

    def monotonic(self) -> float:
        return self._start + self._world.now * self._rate - self._world.began * self._rate


class SimulatedNode:
    """One worker process: it can be cut off, frozen, killed and started again."""

    def __init__(self, world: World, name: str, *, settings: dict[str, Any]) -> None:
        rng = world.rng
        self.world = world
        self.name = name
        self.clock = NodeClock(
            world, rng.uniform(-30, 30), rng.uniform(10, 1e6), 1 + rng.uniform(-0.001, 0.001)
        )
        self.settings = Settings.from_mapping(settings)
        self.cut_until = 0.0
        self.frozen_until = 0.0
        self.due = 0.0
        self.stepping = False
        self.joining = False
        self.authority: TokenAuthority
        self.start()

    def start(self) -> None:
        """A new process: it knows nothing."""
        self.authority = TokenAuthority(
            self.settings,
            clock=self.clock,
            store=SimulatedStore(self.world, self),
            threaded=False,
        )
        self.joined = False
        self.due = self.world.now

    def kill(self) -> None:
        atexit.unregister(self.authority.close)
        runtime_module._runtimes.discard(self.authority.runtime)

    @property
    def cut(self) -> bool:
        return self.world.now < max(self.cut_until, self.world.away_until)

    @property
    def awake(self) -> bool:
        return self.world.now >= self.frozen_until and not self.joining

    def join(self) -> bool:
        """Its first look at a token; ``False`` where that is going on already."""
        if self.joined:
            return True
        if self.joining:
            return False
        self.joining = True
        try:
            self.authority.follower()
            self.joined = True
        except ClusterTokenError:
            return False
        finally:
            self.joining = False
        return True

    def step(self) -> None:
        if self.stepping or not self.awake:
            return
        self.stepping = True
        try:
            if self.join():
                self.due = self.world.now + max(0.001, self.authority.follower().step())
            else:
                self.due = self.world.now + 0.5
        finally:
            self.stepping = False

    @property
    def instance(self) -> str:
        follower = self.authority.following
        return f"{self.name}/{follower.node_id[:8]}" if follower else self.name
