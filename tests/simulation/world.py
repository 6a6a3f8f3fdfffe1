"""A cluster in one thread: real authorities over one simulated store, a network and clocks.

Everything random is drawn from one seed. Each call to the store is a point at which anything
may happen: time passes, other nodes act, the call fails before or after it took effect, the
answer is lost, or the write arrives long after its caller gave up.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import heapq
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, ClassVar, TypeVar

import flask_clustertoken.cluster.confirmation as confirmation_module
import flask_clustertoken.cluster.runtime as runtime_module
import flask_clustertoken.cluster.sweeper as housekeeping_module
from flask_clustertoken import backoff
from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.cluster import Revocation
from flask_clustertoken.errors import ClusterTokenError, StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import (
    Batch,
    ClusterStore,
    HeadIs,
    NewEntry,
    Presence,
    Purged,
    Record,
    Root,
    Vouched,
)
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import Token

T = TypeVar("T")

SUBJECTS = ("alice", "bob")
LABELS = ("sid-1", "sid-2", "sid-3")
LIFETIME = 3600
#: What a backup holds of a shelf.
HELD = ("root", "records", "entries", "known", "head", "floor", "presence")
#: What clocks that run up to 0.2 % apart can add to a lease of some 10 s.
MARGIN = 0.05


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


class ServerClock:
    """The store's own clock: true time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        return self._world.now

    monotonic = time


class Inner(MemoryStore):
    """The shared store itself: entries in the list of nodes are stamped by its own clock."""

    def __init__(self, world: World, clock: NodeClock) -> None:
        super().__init__(world.shelf, clock=clock)
        self._world = world

    def time(self) -> float:
        return self._world.now


class SimulatedStore(ClusterStore):
    """One node's handle of the shared store, behind a line on which anything may happen."""

    scheme: ClassVar[str] = "simulated"
    shared: ClassVar[bool] = True
    embedded: ClassVar[bool] = False

    def __init__(self, world: World, node: SimulatedNode) -> None:
        super().__init__(clock=node.clock)
        self._world = world
        self._node = node
        self._inner = Inner(world, node.clock)
        self._shown: set[str] = set()

    def _read(self, work: Callable[[], T]) -> T:
        return self._world.call(self._node, work, writes=False)

    def _write(self, work: Callable[[], T]) -> T:
        return self._world.call(self._node, work, writes=True)

    def forget(self) -> None:
        pass

    def close(self) -> None:
        self._inner.close()

    @property
    def url(self) -> str:
        return "simulated:"

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        def work() -> dict[str, Record]:
            found = dict(self._inner.get_many(keys))
            if self._world.lags():
                # A replica that lags still shows what was deleted a moment ago.
                now = self.clock.time()
                for key in keys:
                    old = self._world.deleted.get(key)
                    recent = old is not None and self._world.now - old[0] < 2.0
                    if old is not None and recent and key not in found and old[1].alive(now):
                        found[key] = old[1]
            return found

        return self._read(work)

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        return self._write(lambda: self._inner.add(key, value, expires_at))

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        self._write(lambda: self._inner.put(key, value, expires_at))

    def touch(self, key: str, expires_at: float | None) -> bool:
        return self._write(lambda: self._inner.touch(key, expires_at))

    def delete(self, key: str) -> bool:
        return self._write(lambda: self._keeping(key, lambda: self._inner.delete(key)))

    def _keeping(self, key: str, work: Callable[[], T]) -> T:
        record = self._world.shelf.records.get(key)
        if record is not None:
            self._world.deleted[key] = (self._world.now, record)
        return work()

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[tuple[str, Record]]:
        return self._read(lambda: self._inner.scan(prefix, after, limit))

    def purge(self, before: float, limit: int = 1000) -> Purged:
        return self._write(lambda: self._inner.purge(before, limit))

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Any] = (), *, above: int = 0
    ) -> list[int]:
        def work() -> list[int]:
            for change in changes:
                if isinstance(change, HeadIs):
                    continue
                record = self._world.shelf.records.get(change.key)
                if record is not None:
                    self._world.deleted[change.key] = (self._world.now, record)
            head = self._world.shelf.head
            seqs = self._inner.append(entries, changes, above=above)
            # (A number may come again after a restore, if a node's clock had run ahead.)
            self._world.appended_at |= {seq: self._world.now for seq in seqs if seq > head}
            return seqs

        return self._write(work)

    def read(self, after: int, limit: int = 1000) -> Batch:
        def work() -> Batch:
            batch = self._inner.read(after, self._world.rng.choice((2, 5, 1000)))
            if batch.entries and self._world.lags():
                # (Through one client nobody is shown less than was shown before.)
                shown = sum(one.id in self._shown for one in batch.entries)
                kept = batch.entries[: self._world.rng.randrange(shown, len(batch.entries) + 1)]
                self._shown |= {one.id for one in kept}
                if kept:
                    return Batch(kept, kept[-1].seq, False, min(batch.floor, kept[-1].seq))
                return Batch((), after, False, min(batch.floor, after))
            self._shown |= {one.id for one in batch.entries}
            return batch

        return self._read(work)

    def head(self) -> int:
        return self._read(self._inner.head)

    def watch(self, moved: Callable[[], None]) -> None:
        pass

    def ended(self, before: float, after: int = 0, limit: int = 1000) -> list[Any]:
        return self._read(lambda: self._inner.ended(before, after, limit))

    def trim(self, seqs: Sequence[int]) -> None:
        self._write(lambda: self._inner.trim(seqs))

    def announce(self, node_id: str, info: bytes) -> None:
        self._write(lambda: self._inner.announce(node_id, info))

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        return self._write(lambda: self._inner.vouch(node_id, info))

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        if unchanged is not None and not self._world.calm and self._world.rng.random() < 0.5:
            # The moment that matters: it was listed as silent, and is about to be removed.
            self._world.come_back(node_id)
        return self._write(lambda: self._inner.withdraw(node_id, unchanged))

    def time(self) -> float:
        return self._world.now

    def nodes(self) -> list[Presence]:
        return self._read(self._inner.nodes)

    def root(self) -> Root:
        return self._read(self._inner.root)

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        return self._write(lambda: self._inner.change_root(old, new, entry))

    def load(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


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
        self.deferred: list[tuple[float, int, Callable[[], Any]]] = []
        self.deleted: dict[str, tuple[float, Record]] = {}
        self.appended_at: dict[int, float] = {}
        self.history: list[dict[str, Any]] = []
        #: token id → (texts, the ``issued`` event)
        self.tokens: dict[str, tuple[list[str], dict[str, Any]]] = {}
        self.attempts: list[dict[str, Any]] = []
        self.depth = 0
        self.count = 0
        self.calm = False
        #: The servers are stopped.
        self.away_until = 0.0
        self.backup: dict[str, Any] | None = None
        self.rolled_back = False
        # How rough this schedule is, and in which way.
        self.trouble = rng.choice((0.0, 0.02, 0.02, 0.1))
        self.late = rng.choice((0.0, 0.3, 0.6))
        self.lag = rng.choice((0.0, 0.1, 0.4))
        self.slow = rng.choice((0.0, 0.01, 0.06))
        self.busy = rng.choice((0.05, 0.2, 0.4))
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
        self.recorded = shared["CLUSTERTOKEN_TOKEN_STORE"] == "session"
        self.nodes: list[SimulatedNode] = []
        for number in range(rng.choice((2, 3, 3, 4))):
            own: dict[str, Any] = {"CLUSTERTOKEN_MAX_STALENESS": rng.choice((10, 10, 4))}
            if number and rng.random() < 0.08:
                own["CLUSTERTOKEN_WHEN_STALE"] = "accept"
            self.nodes.append(SimulatedNode(self, f"n{number}", settings=shared | own))

    # -- time and the network ----------------------------------------------------------

    def call(self, node: SimulatedNode, work: Callable[[], T], *, writes: bool) -> T:
        """One call of *node* to the store."""
        rng = self.rng
        if self.calm:
            return work()
        self._meanwhile()
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
                self._meanwhile()
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
        self._meanwhile()
        return answer

    def lags(self) -> bool:
        return not self.calm and self.rng.random() < self.lag

    def _arrives_late(self, work: Callable[[], Any]) -> None:
        self.count += 1
        when = self.now + self.rng.choice((0.01, 1.0, 8.0, 20.0))
        heapq.heappush(self.deferred, (when, self.count, work))

    def _stall(self) -> None:
        """The caller is suspended in the middle of its call; the world goes on."""
        left = self.rng.choice((0.5, 3.0, 9.0, 25.0))
        if self.depth:
            self.pass_time(left)
            return
        for _ in range(3):
            self.drive(left / 3)
            self._meanwhile()

    def _meanwhile(self) -> None:
        if self.depth < 2 and self.rng.random() < self.busy:
            self.depth += 1
            try:
                self.act()
            finally:
                self.depth -= 1

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.deferred and self.deferred[0][0] <= end:
            when, _, work = heapq.heappop(self.deferred)
            self.now = max(self.now, when)
            with contextlib.suppress(ClusterTokenError):
                work()
        self.now = max(self.now, end)

    def drive(self, seconds: float) -> None:
        """Let *seconds* pass; the followers do what they would do meanwhile."""
        end = self.now + seconds
        self.depth += 1
        try:
            for _ in range(20):
                ready = [node for node in self.nodes if not node.stepping and not node.joining]
                when = min((max(node.due, node.frozen_until) for node in ready), default=end)
                if when >= end or self.now >= end:
                    break
                self.pass_time(max(0.0, when - self.now))
                for node in ready:
                    if node.due <= self.now and node.awake:
                        node.step()
        finally:
            self.depth -= 1
        self.pass_time(max(0.0, end - self.now))

    # -- what may happen ---------------------------------------------------------------

    def run(self, actions: int) -> list[dict[str, Any]]:
        with self.installed():
            for node in self.nodes:
                node.step()
            for number in range(actions):
                self.drive(self.rng.choice((0.005, 0.05, 0.5, 2.0)))
                if self.restores:
                    self.restore_often(number)
                if self.asks:
                    self.ask_often()
                if self.locks:
                    self.lock_often()
                self.act()
            self.settle()
        return self.history

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Whoever waits in :func:`confirm` waits in this world."""
        world = self

        class SimulatedEvent:
            def wait(self, seconds: float) -> None:
                world.drive(seconds)

        class SimulatedThreading:
            Event = SimulatedEvent

        saved = confirmation_module.threading, housekeeping_module.QUIET
        random = secrets.token_bytes, secrets.token_hex
        chance, backoff.chance = backoff.chance, Random(self.seed).random
        secrets.token_bytes = lambda size=16: world.rng.randbytes(size)
        secrets.token_hex = lambda size=16: world.rng.randbytes(size).hex()
        confirmation_module.threading = SimulatedThreading  # type: ignore[misc,assignment]
        # (In production an entry stays for minutes longer. Here nobody has so much time.)
        housekeeping_module.QUIET = 2.0
        level = logging.getLogger("flask_clustertoken").level
        logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            confirmation_module.threading, housekeeping_module.QUIET = saved  # type: ignore[misc]
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
            self.validate(node)
        elif roll < 0.52:
            self.issue(node)
        elif roll < 0.62:
            self.renew(node)
        elif roll < 0.70:
            self.revoke(node)
        elif roll < 0.81:
            node.cut_until = self.now + rng.choice((0.5, 3.0, 12.0, 14.0, 30.0))
        elif roll < 0.85:
            node.frozen_until = self.now + rng.choice((0.3, 3.0, 9.0, 15.0))
        elif roll < 0.89:
            self.restart(node)
        elif roll < 0.92:
            self.sweep()
        elif roll < 0.94:
            far = rng.choice((90.0, 4000.0, 30 * 86_400.0))
            node.clock.skew = rng.choice((far, -far))
            node.clock.wrong_until = self.now + rng.choice((1.0, 5.0, 30.0))
        elif roll < 0.952 and self.rolls and self.depth == 0:
            self.roll_back()
        elif roll < 0.98 and self.leaps and self.depth == 0:
            self.leap()
        else:
            self.validate(node)

    def restart(self, node: SimulatedNode) -> None:
        if node.stepping or node.joining or self.depth:
            return
        if self.rng.random() < 0.5:
            node.authority.close()
        node.kill()
        node.start()

    def sweep(self) -> None:
        """Whoever can removes who stood still for longer than a lease, as house-keeping does."""
        for node in self.nodes:
            if node.stepping or not self.ready(node) or not node.authority.follower().fresh:
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
        for node in self.nodes:
            follower = node.authority.following
            if follower is not None and follower.node_id == node_id:
                node.cut_until = node.frozen_until = 0.0
                node.step()
                if self.rng.random() < 0.5:
                    node.cut_until = self.now + 12.0

    def roll_back(self) -> None:
        """The operator makes a backup, or restores the one there is while the nodes go on.

        Nobody restores a store within seconds: meanwhile every lease runs out.
        """
        if self.backup is None:
            self.backup = copy_of(self.shelf) | {"tokens": set(self.tokens)}
            return
        away = self.rng.choice((15.0, 60.0))
        self.away_until = self.now + away
        self.drive(away)
        backup, self.backup = self.backup, None
        here = {entry.seq for entry in backup["entries"]}
        gone = [e["rev"] for e in self.attempts if e["seq"] is None or e["seq"] not in here]
        late = [name for name in self.tokens if name not in backup["tokens"]]
        self.history.append({"type": "lost", "revs": gone, "tokens": late, "at": self.now})
        for name in HELD:
            setattr(self.shelf, name, backup[name])
        self.rolled_back = True
        if self.rng.random() < 0.5:
            self.restored(self.rng.choice(self.nodes))

    def restored(self, node: SimulatedNode) -> None:
        """The operator says so, and from then on everything is promised again."""
        event = self.revoked("realm", "", ("login",), node) | {"restored": True}
        self.attempts.append(event)
        self.history.append(event)
        with contextlib.suppress(ClusterTokenError):
            self.acknowledged(event, node.authority.restored())

    def leap(self) -> None:
        """A night passes; everybody slept."""
        self.pass_time(self.rng.choice((600.0, 4100.0, 4100.0, 9000.0, 200_000.0)))

    def restore_often(self, number: int) -> None:
        """After a clock ran ahead: then the numbers of what was lost come again one by one."""
        if number == 3:
            self.run_ahead()
        if number > 3 and self.rng.random() < 0.25:
            self.roll_back()
        self.issue(self.rng.choice(self.nodes))
        self.revoke(self.rng.choice(self.nodes))
        for node in self.nodes:
            self.validate(node)

    def run_ahead(self) -> None:
        """A host whose clock is a month ahead revokes something: numbers go on from there."""
        node = self.rng.choice(self.nodes)
        node.clock.skew = 30 * 86_400.0
        node.clock.wrong_until = self.now + 1.0
        self.revoke(node)

    # -- what people do ----------------------------------------------------------------

    def ready(self, node: SimulatedNode) -> bool:
        return node.awake and not node.joining and node.join()

    def issue(self, node: SimulatedNode) -> None:
        if not self.ready(node):
            return
        rng, authority = self.rng, node.authority
        subject = rng.choice(SUBJECTS)
        labels = [label for label in LABELS if rng.random() < 0.3]
        kind = "api" if rng.random() < 0.15 else "login"
        begin = self.now
        try:
            if kind == "api":
                issued = authority.issue_api_token(subject, "ci")
                since_read = self.now
                labels = []
            else:
                since = authority.begin()
                since_read = self.now
                self._meanwhile()
                issued = authority.issue_login(subject, since=since, labels=labels)
        except ClusterTokenError:
            return
        self._issued(issued, node, begin, since_read, labels)

    def _issued(
        self,
        issued: IssuedToken,
        node: SimulatedNode,
        begin: float,
        since_read: float,
        labels: Sequence[str],
        *,
        asked: str | None = None,
    ) -> None:
        event = {
            "type": "issued",
            "token": issued.token.id,
            "subject": issued.token.subject,
            "labels": list(labels),
            "kind": issued.token.kind,
            "since_read": since_read,
            "begin": begin,
            "end": self.now,
            "node": node.instance,
            "asked": asked,
        }
        self.tokens[issued.token.id] = ([issued.text], event)
        self.history.append(event)

    def ask_often(self) -> None:
        """A login, and at once it is ended on one node and used on another to make something."""
        self.issue(self.rng.choice(self.nodes))
        self.ask(self.rng.choice(self.nodes))

    def lock_often(self) -> None:
        """A subject is locked out, or let in, and comes back at once, everywhere."""
        node, subject = self.rng.choice(self.nodes), self.rng.choice(SUBJECTS)
        if self.rng.random() < 0.6:
            self.lock(node, subject)
        else:
            self.unlock(node, subject)
        self._meanwhile()
        self.issue(self.rng.choice(self.nodes))
        for other in self.nodes:
            self.validate(other)

    def lock(self, node: SimulatedNode, subject: str) -> None:
        if not self.ready(node):
            return
        # It ends logins as a mark does, and it stands.
        event = self.revoked("subject", subject, ("login",), node) | {"lock": True}
        self.attempts.append(event)
        self.history.append(event)
        try:
            receipt = node.authority.locking.lock(subject=subject)
        except ClusterTokenError:
            return
        self.acknowledged(event, receipt)
        if self.rng.random() < 0.6 and not node.stepping:
            node.stepping = True
            try:
                done = receipt.confirm(self.rng.choice((2.0, 15.0)))
            except ClusterTokenError:
                return
            finally:
                node.stepping = False
            if done.in_force:
                self.history.append({"type": "confirmed", "rev": event["rev"], "at": self.now})

    def unlock(self, node: SimulatedNode, subject: str) -> None:
        if not self.ready(node):
            return
        # From here on nobody is promised to be kept out.
        self.history.append({"type": "unlocked", "target": subject, "begin": self.now})
        with contextlib.suppress(ClusterTokenError):
            node.authority.locking.unlock(subject=subject)

    def ask(self, node: SimulatedNode) -> None:
        """A request whose body comes slowly makes something on the strength of its token."""
        picked = self._pick()
        if picked is None or picked[1]["kind"] == "api" or not self.ready(node):
            return
        texts, issued = picked
        asked = self.validate_one(node, self.rng.choice(texts), issued)
        if not asked:
            return
        for _ in range(self.rng.randrange(3)):
            self.revoke(self.rng.choice(self.nodes))
        self._meanwhile()
        begin = self.now
        what = self.rng.choice(("carry on", "log in again", "api token"))
        try:
            made, since_read = self._make(node, asked, what)
        except ClusterTokenError:
            return
        self._issued(made, node, begin, since_read, [], asked=issued["token"])

    def _make(self, node: SimulatedNode, asked: Token, what: str) -> tuple[IssuedToken, float]:
        authority = node.authority
        if what == "api token":
            return authority.issue_api_token(asked.subject, "ci", on=asked), self.now
        if what == "log in again":
            since = authority.begin()
            since_read = self.now
            self._meanwhile()
            # Whatever comes back, the token that asked may be ended by this.
            event = self.revoked("id", asked.id, ("login",), node)
            self.attempts.append(event)
            self.history.append(event)
            made = authority.issue_login(asked.subject, since=since, replaces=asked, on=asked)
            return made, since_read
        event = self.revoked("subject", asked.subject, ("login",), node)
        self.attempts.append(event)
        self.history.append(event)
        revocation = authority.revoke_subject(asked.subject, on=asked)
        self.acknowledged(event, revocation)
        since_read = self.now
        self._meanwhile()
        on = replace(asked, since=revocation.seq)
        made = authority.issue_login(asked.subject, since=revocation.seq, carries_on=asked, on=on)
        return made, since_read

    def _pick(self) -> tuple[list[str], dict[str, Any]] | None:
        if not self.tokens:
            return None
        names = list(self.tokens)
        # Mostly the latest: there the races are.
        name = names[-1 - min(int(self.rng.expovariate(0.3)), len(names) - 1)]
        return self.tokens[name]

    def validate(self, node: SimulatedNode) -> None:
        picked = self._pick()
        if picked is None or not self.ready(node):
            return
        texts, issued = picked
        self.validate_one(node, self.rng.choice(texts), issued)

    def validate_one(self, node: SimulatedNode, text: str, issued: dict[str, Any]) -> Any:
        begin, instance = self.now, node.instance
        strict = self.rng.random() < 0.1
        answer = node.authority.authenticate(text, issued["kind"], strict=strict)
        self._validated(node, instance, issued, begin, answer)
        return answer

    def _validated(
        self,
        node: SimulatedNode,
        instance: str,
        issued: dict[str, Any],
        begin: float,
        answer: Any,
    ) -> None:
        self.history.append(
            {
                "type": "validated",
                "node": instance,
                "token": issued["token"],
                "begin": begin,
                "end": self.now,
                "accepted": bool(answer),
                "reason": "" if answer else getattr(answer, "reason", "not renewed"),
                "from_view": not answer and answer.detail == "a revocation covers it",
                "max_staleness": node.settings.max_staleness,
                "accepts_when_stale": node.settings.when_stale == "accept",
            }
        )

    def renew(self, node: SimulatedNode) -> None:
        picked = self._pick()
        if picked is None or not self.ready(node) or picked[1]["kind"] == "api":
            return
        texts, issued = picked
        text = self.rng.choice(texts)
        token = self.validate_one(node, text, issued)
        if not token:
            return
        self._meanwhile()
        try:
            renewed = node.authority.renew(text, token)
        except ClusterTokenError:
            return
        if renewed is not None:
            texts.append(renewed.text)
            # A copy may be handed out late, if the revocation covers it: not an acceptance.

    def revoke(self, node: SimulatedNode) -> None:
        if not self.ready(node):
            return
        rng, authority = self.rng, node.authority
        what = rng.choice(("id", "id", "id", "label", "subject", "subject", "realm"))
        kinds = rng.choice((("login",), ("login",), ("login", "api")))
        picked = self._pick()
        if what == "id" and picked is None:
            return
        target = {
            "id": picked[1]["token"] if picked else "",
            "label": rng.choice(LABELS),
            "subject": rng.choice(SUBJECTS),
            "realm": "",
        }[what]
        event = self.revoked(what, target, kinds, node)
        self.attempts.append(event)
        self.history.append(event)
        try:
            if what == "id":
                revocation = authority.revoke_ids([target])
            elif what == "label":
                revocation = authority.revoke_labels([target])
            elif what == "subject":
                revocation = authority.revoke_subject(target, kinds)
            else:
                revocation = authority.revoke_all(kinds)
        except ClusterTokenError:
            return
        self.acknowledged(event, revocation)
        self.look_for_records()
        if rng.random() < 0.6 and not node.stepping:
            node.stepping = True
            try:
                done = revocation.confirm(rng.choice((0.1, 2.0, 15.0)))
            except ClusterTokenError:
                return
            finally:
                node.stepping = False
            if done.in_force:
                self.history.append({"type": "confirmed", "rev": event["rev"], "at": self.now})

    def revoked(
        self, what: str, target: str, kinds: Sequence[str], node: SimulatedNode
    ) -> dict[str, Any]:
        """The event of a revocation that begins now."""
        return {
            "type": "revoked",
            "rev": len(self.attempts),
            "what": what,
            "target": target,
            "kinds": list(kinds),
            "begin": self.now,
            "acknowledged": None,
            "ended": float("inf"),
            "remembered_for": LIFETIME,
            "node": node.instance,
            "seq": None,
        }

    def acknowledged(self, event: dict[str, Any], revocation: Revocation) -> None:
        event["seq"] = revocation.seq
        event["acknowledged"] = self.appended_at[revocation.seq]
        event["ended"] = self.now

    def look_for_records(self) -> None:
        """Note which revoked tokens still have a living record (there must be none)."""
        for event in self.attempts:
            if event["what"] != "id" or event["acknowledged"] is None:
                continue
            name = event["target"]
            from flask_clustertoken.tokens import record_key

            record = self.shelf.records.get(record_key(name))
            if record is not None and record.alive(self.now):
                self.history.append({"type": "record", "token": name, "at": self.now})

    # -- the end -----------------------------------------------------------------------

    def settle(self) -> None:
        """The trouble ends. Every node must come back, and accept what it should."""
        self.calm = True
        for node in self.nodes:
            node.cut_until = node.frozen_until = 0.0
            node.clock.wrong_until = 0.0
        self.pass_time(30.0)
        self.look_for_records()
        for subject in SUBJECTS if self.locks else ():
            self.unlock(self.nodes[0], subject)
        for _ in range(2):
            for node in self.nodes:
                node.due = self.now
                node.step()
            self.drive(1.0)
        for _ in range(2 if self.rolled_back else 0):
            # (Again, for a node that had not told yet how far it had been.)
            self.restored(self.nodes[0])
            self.drive(5.0)
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
            for texts, issued in self.tokens.values():
                self.pass_time(0.001)
                answer = self.validate_one(node, texts[-1], issued)
                if answer or self.rolled_back or answer.reason == "expired":
                    continue
                if not self._maybe_covered(issued):
                    self.history.append(
                        {
                            "type": "refused",
                            "node": node.instance,
                            "token": issued["token"],
                            "reason": answer.reason,
                            "detail": answer.detail,
                        }
                    )

    def _maybe_covered(self, issued: dict[str, Any]) -> bool:
        for event in self.attempts:
            what, target = event["what"], event["target"]
            if what == "id" and target == issued["token"]:
                return True
            if what == "label" and target in issued["labels"]:
                return True
            if (
                what in ("subject", "realm")
                and target in ("", issued["subject"])
                and issued["kind"] in event["kinds"]
                and issued["begin"] <= event["ended"]
            ):
                return True
        return False


def copy_of(shelf: Shelf) -> dict[str, Any]:
    """What a backup of it holds."""
    return {name: copy.copy(getattr(shelf, name)) for name in HELD}


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
