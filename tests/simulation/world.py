"""A cluster in one thread: real authorities over one simulated store, a network and clocks.

Everything random is drawn from one seed. Each call to the store is a point at which anything
may happen: time passes, other nodes act, the call fails before or after it took effect, the
answer is lost, or the write arrives long after its caller gave up.

A world is made of parts: the :mod:`.network` with the time, :mod:`.people`, :mod:`.mishaps`, each
:mod:`.node` with its handle of the :mod:`.store`, and the :mod:`.ledger` of what happened.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from random import Random
from typing import Any, ClassVar

import flask_clustertoken.cluster.confirmation as confirmation_module
import flask_clustertoken.cluster.sweeper as sweeper_module
from flask_clustertoken import backoff
from flask_clustertoken.stores.base import Record
from flask_clustertoken.stores.memory import Shelf

from .ledger import LIFETIME, Ledger
from .mishaps import Mishaps
from .network import Network
from .node import SimulatedNode
from .people import SUBJECTS, People

#: What clocks that run up to 0.2 % apart can add to a lease of some 10 s.
MARGIN = 0.05


class World:
    """The cluster, its history, and a seed's worth of trouble."""

    #: Much is revoked, and old backups are put back again and again.
    restores: ClassVar[bool] = False
    #: Much is made on the strength of tokens that are being revoked.
    asks: ClassVar[bool] = False
    #: Subjects are locked out and let in again, and come back at once.
    locks: ClassVar[bool] = False

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.now = self.began = 1_800_000_000.0
        self.shelf = Shelf()
        self.deleted: dict[str, tuple[float, Record]] = {}
        self.depth = 0
        self.calm = False
        #: The servers are stopped.
        self.away_until = 0.0
        self.rolled_back = False
        self.ledger = Ledger(self)
        self.history = self.ledger.history
        self.network = Network(self)
        self.people = People(self)
        self.mishaps = Mishaps(self)
        self.rolls = rng.random() < 0.1
        self.leaps = rng.random() < 0.25
        shared = {
            "CLUSTERTOKEN_SECRET": "k" * 40,
            "CLUSTERTOKEN_TOKEN_STORE": rng.choice(("session", "session", "cookie")),
            "CLUSTERTOKEN_LIFETIME": LIFETIME,
            "CLUSTERTOKEN_RENEW_AFTER": rng.choice((5, 60)),
            "CLUSTERTOKEN_ALWAYS_RENEW": rng.random() < 0.3,
            "CLUSTERTOKEN_RECORD_CACHE": rng.choice((5, 600)),
        }
        self.nodes: list[SimulatedNode] = []
        for number in range(rng.choice((2, 3, 3, 4))):
            own: dict[str, Any] = {"CLUSTERTOKEN_MAX_STALENESS": rng.choice((10, 10, 4))}
            if number and rng.random() < 0.08:
                own["CLUSTERTOKEN_WHEN_STALE"] = "accept"
            self.nodes.append(SimulatedNode(self, f"n{number}", settings=shared | own))

    def run(self, actions: int) -> list[dict[str, Any]]:
        with self.installed():
            for node in self.nodes:
                node.step()
            for number in range(actions):
                self.network.drive(self.rng.choice((0.005, 0.05, 0.5, 2.0)))
                if self.restores:
                    self.mishaps.restore_often(number)
                if self.asks:
                    self.people.ask_often()
                if self.locks:
                    self.people.lock_often()
                self.act()
            self.settle()
        return self.history

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Whoever waits in :func:`confirm` waits in this world."""
        world = self

        class SimulatedEvent:
            def wait(self, seconds: float) -> None:
                world.network.drive(seconds)

        class SimulatedThreading:
            Event = SimulatedEvent

        saved = confirmation_module.threading, sweeper_module.QUIET
        random = secrets.token_bytes, secrets.token_hex
        chance, backoff.chance = backoff.chance, Random(self.seed).random
        secrets.token_bytes = lambda size=16: world.rng.randbytes(size)
        secrets.token_hex = lambda size=16: world.rng.randbytes(size).hex()
        confirmation_module.threading = SimulatedThreading  # type: ignore[misc,assignment]
        # (In production an entry stays for minutes longer. Here nobody has so much time.)
        sweeper_module.QUIET = 2.0
        level = logging.getLogger("flask_clustertoken").level
        logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            confirmation_module.threading, sweeper_module.QUIET = saved  # type: ignore[misc]
            secrets.token_bytes, secrets.token_hex = random
            backoff.chance = chance
            logging.getLogger("flask_clustertoken").setLevel(level)
            for node in self.nodes:
                node.kill()

    def act(self) -> None:
        rng = self.rng
        node = rng.choice(self.nodes)
        roll = rng.random()
        if roll < 0.42:
            self.people.validate(node)
        elif roll < 0.52:
            self.people.issue(node)
        elif roll < 0.62:
            self.people.renew(node)
        elif roll < 0.70:
            self.people.revoke(node)
        elif roll < 0.81:
            node.cut_until = self.now + rng.choice((0.5, 3.0, 12.0, 14.0, 30.0))
        elif roll < 0.85:
            node.frozen_until = self.now + rng.choice((0.3, 3.0, 9.0, 15.0))
        elif roll < 0.89:
            self.mishaps.restart(node)
        elif roll < 0.92:
            self.mishaps.sweep()
        elif roll < 0.94:
            far = rng.choice((90.0, 4000.0, 30 * 86_400.0))
            node.clock.skew = rng.choice((far, -far))
            node.clock.wrong_until = self.now + rng.choice((1.0, 5.0, 30.0))
        elif roll < 0.952 and self.rolls and self.depth == 0:
            self.mishaps.roll_back()
        elif roll < 0.98 and self.leaps and self.depth == 0:
            self.mishaps.leap()
        else:
            self.people.validate(node)

    def settle(self) -> None:
        """The trouble ends. Every node must come back, and accept what it should."""
        self.calm = True
        for node in self.nodes:
            node.cut_until = node.frozen_until = 0.0
            node.clock.wrong_until = 0.0
        self.network.pass_time(30.0)
        self.ledger.look_for_records()
        for subject in SUBJECTS if self.locks else ():
            self.people.unlock(self.nodes[0], subject)
        for _ in range(2):
            for node in self.nodes:
                node.due = self.now
                node.step()
            self.network.drive(1.0)
        for _ in range(2 if self.rolled_back else 0):
            # (Again, for a node that had not told yet how far it had been.)
            self.mishaps.restored(self.nodes[0])
            self.network.drive(5.0)
        for node in self.nodes:
            ready = node.authority.readiness()
            self.history.append(
                {
                    "type": "settled",
                    "node": node.instance,
                    "fresh": ready.fresh,
                    "trouble": ready.trouble,
                }
            )
            for texts, issued in self.ledger.tokens.values():
                self.network.pass_time(0.001)
                answer = self.people.validate_one(node, texts[-1], issued)
                if answer or self.rolled_back or answer.reason == "expired":
                    continue
                if not self.ledger.maybe_covered(issued):
                    self.history.append(
                        {
                            "type": "refused",
                            "node": node.instance,
                            "token": issued["token"],
                            "reason": answer.reason,
                            "detail": answer.detail,
                        }
                    )


def problems(world: World) -> list[str]:
    """What is wrong with the finished *world*, as sentences."""
    from .checker import check

    found = [str(one) for one in check(world.history, MARGIN)]
    for event in world.history:
        if event["type"] == "settled" and not event["fresh"]:
            found.append(f"a node did not come back: {event}")
        if event["type"] == "refused":
            found.append(f"a token was refused that nothing covers: {event}")
    return found
