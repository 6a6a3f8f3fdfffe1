"""Browsers: they keep a login's copies as browsers do, and come to nodes over a slow network.

Real authorities again, and again one clock for all and one seed; but here everybody is honest with
the store, and what goes wrong goes wrong between a browser and a node: answers are lost, come late
and in another order, laptops sleep, browsers crash and go on with what was on their disk. A thief
is one more browser with a copy of the first one's jar.

A :class:`Site` knows what happened in truth, and so whether a report was right, and which was due.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import Clock
from flask_clustertoken.events import TokenReused
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import Token
from tests.doubles import SECRET, RemoteStore

GRACE = 60

#: Seconds that anything is under way between a browser and a node, at most.
UNDER_WAY = 6.0

#: Seconds of what its disk lacks when a browser crashes, at most.
UNSAVED = GRACE - 4 * UNDER_WAY

#: Seconds by which what is known of a use may be late or wrong: a step, and clocks.
SLACK = 3.0


class Time:
    """The true time, and the store's."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class OwnClock:
    """A node's own: wrong by up to half a minute, as is tolerated."""

    def __init__(self, true: Time, rng: Random) -> None:
        self._true = true
        self.wrong, self._start = rng.uniform(-25, 25), rng.uniform(0, 1e6)

    def time(self) -> float:
        return self._true.now + self.wrong

    def monotonic(self) -> float:
        return self._true.now - self._start


class SharedStore(RemoteStore):
    """What may wait is left to a step of the follower."""

    shared: ClassVar[bool] = True


@dataclass
class Used:
    """One generation of a login's copies, and when it was used in truth."""

    first: float
    last: float


@dataclass
class Site:
    """Nodes, with all that is under way to them and from them."""

    seed: int
    nodes: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    #: Who was told of a second holder.
    reports: list[TokenReused] = field(default_factory=list)
    #: Askings that were due for a report: the older copy's generation, and when.
    due: list[tuple[int, float]] = field(default_factory=list)
    renewals: int = 0

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.true = Time()
        self.shelf = Shelf()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.used: dict[int, Used] = {}
        self.members = [self._node() for _ in range(self.nodes)]

    def _node(self) -> TokenAuthority:
        clock: Clock = OwnClock(self.true, self.rng)
        store = SharedStore(self.shelf, clock=clock)
        store.server = self.true
        given = {"SECRET": SECRET, "STORE": "memory:", "REUSE_GRACE": GRACE} | self.settings
        node = TokenAuthority(
            Settings.from_mapping({f"CLUSTERTOKEN_{key}": one for key, one in given.items()}),
            clock=clock,
            store=store,
            threaded=False,
        )
        node.reuse.agent_of = str
        node.events.listen(TokenReused, self.reports.append)
        return node

    # time

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.at(self.true.now + seconds, what)

    def run(self, seconds: float) -> None:
        """Let *seconds* pass, with all that happens meanwhile."""
        end = self.true.now + seconds
        while self._queue and self._queue[0][0] <= end:
            when, _, what = heapq.heappop(self._queue)
            self.true.now = max(self.true.now, when)
            what()
        self.true.now = end

    def close(self) -> None:
        self.run(5)
        for node in self.members:
            node.close()

    def __enter__(self) -> Site:
        logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        logging.getLogger("flask_clustertoken").setLevel(logging.NOTSET)

    # what nodes do

    def node(self, number: int | None = None) -> TokenAuthority:
        node = self.members[number] if number is not None else self.rng.choice(self.members)
        self._be_fresh(node)
        # (Its thread does what waits, within a second.)
        self.after(self.rng.uniform(0.05, 1.0), lambda: self._step(node))
        return node

    def _be_fresh(self, node: TokenAuthority) -> None:
        """It has stepped all the while; here, hours may have passed since its last step."""
        for _ in range(3):
            node.follower().step()
            if node.follower().fresh:
                return
        raise AssertionError(node.follower().trouble)

    def _step(self, node: TokenAuthority) -> None:
        if not node.closed:
            node.follower().step()

    def login(self) -> str:
        return self.node().issue_login("alice").text

    def look(self, node: TokenAuthority, text: str, agent: str) -> Token | None:
        found = node.authenticate(text, request=agent)
        if not isinstance(found, Token):
            return None
        now, generation = self.true.now, found.generation
        if generation is not None:
            self.used.setdefault(generation, Used(now, now)).last = now
        return found

    def answer(
        self, node: TokenAuthority, text: str, token: Token, came_at: float, agent: str
    ) -> str | None:
        """The cookie that goes along, if any."""
        if not node.renewal_due(token):
            return None
        self._be_fresh(node)
        moment = node.clock.monotonic() - (self.true.now - came_at)
        issued = node.renew(text, token, came_at=moment, request=agent)
        self.after(self.rng.uniform(0.05, 1.0), lambda: self._step(node))
        if issued is None:
            return None
        self.renewals += 1
        if issued.token.generation != token.generation and token.generation is not None:
            self._note_due(token.generation, came_at)
        return issued.text

    def _note_due(self, generation: int, came_at: float) -> None:
        newest = max(self.used, default=0)
        use = self.used.get(newest)
        if use is None or newest <= generation:
            return
        if min(use.last, came_at - SLACK) - use.first > GRACE + SLACK:
            self.due.append((generation, came_at))


@dataclass
class Browser:
    """One cookie jar, with as many tabs as it takes."""

    site: Site
    jar: str
    name: str = "browser"
    #: Its network: seconds each way.
    under_way: float = UNDER_WAY

    def __post_init__(self) -> None:
        self.disk = self.jar
        self._life = 0
        self.asleep = False

    def thief(self) -> Browser:
        """Whoever has a copy of this jar."""
        return Browser(self.site, self.jar, "thief", self.under_way)

    def ask(
        self, *, takes: float = 0.0, lost: bool = False, node: int | None = None, now: bool = False
    ) -> None:
        """A request: it is looked at when it comes, and answered *takes* seconds later.

        *lost*: the answer does not come back. *now*: at once, each way.
        """
        if self.asleep:
            return
        site, text, life = self.site, self.jar, self._life

        def way() -> float:
            return 0.0 if now else site.rng.uniform(0, self.under_way)

        def come() -> None:
            server, came_at = site.node(node), site.true.now
            token = site.look(server, text, self.name)
            if token is None:
                return

            def answer() -> None:
                cookie = site.answer(server, text, token, came_at, self.name)
                if cookie is not None and not lost:
                    site.after(way(), lambda: self._take(cookie, life))

            site.after(takes, answer)

        site.after(way(), come)
        if now and not takes:
            site.run(0)

    def _take(self, cookie: str, life: int) -> None:
        # (What was under way when it crashed or fell asleep is lost.)
        if life == self._life and not self.asleep:
            self.jar = cookie
            self.site.after(self.site.rng.uniform(0, UNSAVED), lambda: self._save(life))

    def _save(self, life: int) -> None:
        if life == self._life:
            self.disk = self.jar

    def crash(self) -> None:
        self._life += 1
        self.jar = self.disk

    def sleep(self) -> None:
        """Its connections are closed; what it had is kept."""
        self._life += 1
        self.disk = self.jar
        self.asleep = True

    def wake(self) -> None:
        self.asleep = False
