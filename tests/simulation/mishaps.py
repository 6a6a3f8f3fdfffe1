"""Mishaps: what befalls nodes, clocks and the store, and what operators do about it."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

from flask_clustertoken.errors import ClusterTokenError
from flask_clustertoken.stores.memory import Shelf

from .node import SimulatedNode

if TYPE_CHECKING:
    from .world import World

#: What a backup holds of a shelf.
HELD = ("root", "records", "entries", "known", "head", "floor", "presence")


class Mishaps:
    """Restarts, sweeps, backups that are put back, and nights that pass."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.backup: dict[str, Any] | None = None

    def restart(self, node: SimulatedNode) -> None:
        if node.stepping or node.joining or self.world.depth:
            return
        if self.world.rng.random() < 0.5:
            node.authority.close()
        node.kill()
        node.start()

    def sweep(self) -> None:
        """Whoever can removes who stood still for longer than a lease, as the sweeper does."""
        for node in self.world.nodes:
            ready = not node.stepping and self.world.people.ready(node)
            if not ready or not node.authority.follower().fresh:
                continue
            chores = node.authority.runtime.sweeper
            assert chores is not None
            node.stepping = True
            try:
                chores.sweep_nodes()
            except ClusterTokenError:
                pass
            finally:
                node.stepping = False

    def come_back(self, node_id: str) -> None:
        """What kept this node from the store is over, perhaps for this moment only."""
        for node in self.world.nodes:
            follower = node.authority.following
            if follower is not None and follower.node_id == node_id:
                node.cut_until = node.frozen_until = 0.0
                node.step()
                if self.world.rng.random() < 0.5:
                    node.cut_until = self.world.now + 12.0

    def roll_back(self) -> None:
        """The operator makes a backup, or restores the one there is while the nodes go on.

        Nobody restores a store within seconds: meanwhile every lease runs out.
        """
        if self.backup is None:
            self.backup = copy_of(self.world.shelf) | {"tokens": set(self.world.ledger.tokens)}
            return
        away = self.world.rng.choice((15.0, 60.0))
        self.world.away_until = self.world.now + away
        self.world.network.drive(away)
        backup, self.backup = self.backup, None
        here = {entry.seq for entry in backup["entries"]}
        ledger = self.world.ledger
        gone = [e["rev"] for e in ledger.attempts if e["seq"] is None or e["seq"] not in here]
        late = [name for name in ledger.tokens if name not in backup["tokens"]]
        ledger.note("lost", revs=gone, tokens=late, at=self.world.now)
        for name in HELD:
            setattr(self.world.shelf, name, backup[name])
        self.world.rolled_back = True
        if self.world.rng.random() < 0.5:
            self.restored(self.world.rng.choice(self.world.nodes))

    def restored(self, node: SimulatedNode) -> None:
        """The operator says so, and from then on everything is promised again."""
        event = self.world.ledger.revoked("realm", "", ("login",), node) | {"restored": True}
        self.world.ledger.tried(event)
        with contextlib.suppress(ClusterTokenError):
            self.world.ledger.acknowledged(event, node.authority.restored())

    def leap(self) -> None:
        """A night passes; everybody slept."""
        self.world.network.pass_time(
            self.world.rng.choice((600.0, 4100.0, 4100.0, 9000.0, 200_000.0))
        )

    def restore_often(self, number: int) -> None:
        """After a clock ran ahead: then the numbers of what was lost come again one by one."""
        if number == 3:
            self.run_ahead()
        if number > 3 and self.world.rng.random() < 0.25:
            self.roll_back()
        self.world.people.issue(self.world.rng.choice(self.world.nodes))
        self.world.people.revoke(self.world.rng.choice(self.world.nodes))
        for node in self.world.nodes:
            self.world.people.validate(node)

    def run_ahead(self) -> None:
        """A host whose clock is a month ahead revokes something: numbers go on from there."""
        node = self.world.rng.choice(self.world.nodes)
        node.clock.skew = 30 * 86_400.0
        node.clock.wrong_until = self.world.now + 1.0
        self.world.people.revoke(node)


def copy_of(shelf: Shelf) -> dict[str, Any]:
    """What a backup of it holds."""
    return {name: copy.copy(getattr(shelf, name)) for name in HELD}
