"""People and programs who go on meanwhile, and what is found in what they wrote down."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from tests.gunicorn.server import Answer, GunicornServer
from tests.rounds import FULL

#: Requests on their way at the same time.
CROWD = 3

#: Seconds that each waits before the next one: a node's answer takes a tenth of it, and what is
#: looked for goes on for seconds. In the full run they hurry.
PAUSE = 0.01 if FULL else 0.05

#: Logins that are not over, which the crowd keeps up.
AT_ONCE = 12


@dataclass
class Node:
    """A host of the deployment; *old*: it runs the version before."""

    server: GunicornServer
    old: bool
    #: Whether it is to answer: it is neither starting nor stopping.
    live: bool = False


@dataclass(frozen=True)
class Check:
    """What *node* said of a token, asked and answered at these moments."""

    node: Node
    begun: float
    ended: float
    status: int


@dataclass(eq=False)
class Pass:
    """A token that somebody has, and all texts of it; made between two moments (wall clock)."""

    id: str
    subject: str
    kind: Literal["login", "api"]
    texts: list[str]
    begun: float
    made: float
    seen: list[Check] = field(default_factory=list)


@dataclass(eq=False)
class Ending:
    """A revocation: of whom, and when it was asked for and confirmed (wall clock).

    It is for what was made by *before*; whether also for what was made by *to*, nobody can say.
    """

    covers: Callable[[Pass], bool]
    sent: float
    before: float
    to: float = float("inf")
    confirmed: float = float("inf")


class Refused(Exception):
    """No login was made."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a login was answered {status}")
        self.status = status


class Crowd:
    """Logs in, and asks with what it has, at all nodes that are live; notes each answer."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._names = itertools.count(1)
        self._mine: list[Pass] = []
        self.passes: list[Pass] = []
        self.endings: list[Ending] = []
        self.trouble: list[str] = []
        self.counted: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CROWD)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        chance = random.Random(threading.get_ident())
        while not self._over.wait(PAUSE):
            node = chance.choice([one for one in self._nodes if one.live])
            try:
                if len(self._mine) < AT_ONCE:
                    made = self.login(node)
                    with self._lock:
                        self._mine.append(made)
                else:
                    one = chance.choice(self._mine)
                    if self.check(node, one).status == 401:
                        with self._lock, suppress(ValueError):
                            self._mine.remove(one)
            except Refused as error:
                # (A mark over all that fell into it; or a node that was slow.)
                self.counted[f"logins that were answered {error.status}"] += 1
            except (OSError, http.client.HTTPException) as error:
                if node.live:
                    self.trouble.append(repr(error))

    def name(self) -> str:
        """Somebody who was not there before."""
        with self._lock:
            return f"user-{next(self._names)}"

    def login(self, node: Node, subject: str = "") -> Pass:
        subject = subject or self.name()
        begun = time.time()
        answer = node.server.ask("POST", f"/login/{subject}")
        if answer.status in (401, 403, 503):
            raise Refused(answer.status)
        assert answer.status == 200, answer.body
        assert answer.cookie
        self.counted["logins"] += 1
        return self._keep(answer.body.decode(), subject, "login", answer.cookie, begun)

    def program(self, node: Node, subject: str = "") -> Pass:
        subject = subject or self.name()
        begun = time.time()
        answer = node.server.ask("POST", f"/program/{subject}")
        if answer.status in (401, 403, 503):
            raise Refused(answer.status)
        assert answer.status == 200, answer.body
        return self._keep(answer.json["id"], subject, "api", answer.json["text"], begun)

    def _keep(
        self, id: str, subject: str, kind: Literal["login", "api"], text: str, begun: float
    ) -> Pass:
        made = Pass(id, subject, kind, [text], begun, time.time())
        with self._lock:
            self.passes.append(made)
        return made

    def check(self, node: Node, one: Pass) -> Answer:
        """Ask with it at *node*: by turns with its first text, and the last one that was given."""
        text = one.texts[-1] if len(one.seen) % 2 else one.texts[0]
        begun = time.time()
        if one.kind == "login":
            answer = node.server.ask("GET", "/me", cookie=text)
        else:
            answer = node.server.ask("GET", "/me", bearer=text)
        one.seen.append(Check(node, begun, time.time(), answer.status))
        self.counted["checks"] += 1
        if answer.status == 200 and answer.cookie:
            one.texts.append(answer.cookie)
            self.counted["renewals by the old" if node.old else "renewals by the new"] += 1
        return answer

    def findings(self) -> list[str]:
        """What should not have been: an acceptance behind a confirmation, a login that nobody
        ended and that was refused."""
        found = list(self.trouble)
        for one in self.passes:
            mine = [ending for ending in self.endings if ending.covers(one)]
            over = [ending.confirmed for ending in mine if one.made < ending.before]
            meant = [ending.sent for ending in mine if one.begun < ending.to]
            for check in one.seen:
                who = f"{'old' if check.node.old else 'new'} node, {one.kind} of {one.subject}"
                if check.status == 200 and check.begun > min(over, default=float("inf")):
                    found.append(f"accepted {check.begun - min(over):.2f} s after its end: {who}")
                if check.status in (401, 403) and check.ended < min(meant, default=float("inf")):
                    found.append(f"{check.status}, and nobody had ended it: {who}")
                if check.status not in (200, 401, 403, 503):
                    found.append(f"{check.status}: {who}")
        return found
