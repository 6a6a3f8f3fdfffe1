"""A deployment whose nodes are replaced one by one, and what is looked at on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

from tests.gunicorn.server import GunicornServer
from tests.waiting import came_true, next_second, wait_until

from .crowd import Crowd, Ending, Node, Pass, Refused

HERE = Path(__file__).resolve().parent
BEFORE = HERE / "before.zip"

#: Seconds within which a node knows of a revocation, or is stale.
BOUND = 5

#: Seconds that a confirmation may take on a machine that does other things as well.
PATIENCE = 60

#: Every kind of revocation that both versions have.
KINDS = ("id", "subject", "label", "programs of one", "programs", "not before", "all")


class Deployment:
    """Hosts of both versions on one store; *store* left out: all in one folder, on one host.

    *of_the_new* are settings that the version before does not know.
    """

    def __init__(
        self, folder: Path, store: str = "", *, workers: int = 2, **of_the_new: object
    ) -> None:
        self._of_the_new = of_the_new
        self._folder = folder
        self._settings: dict[str, object] = {"MAX_STALENESS": BOUND}
        if store:
            self._settings["STORE"] = store
        self._workers = workers
        self._running = ExitStack()
        self.nodes: list[Node] = []
        self.crowd = Crowd(self.nodes)

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    # nodes

    def start(self, *, old: bool, ready: bool = True) -> Node:
        """Another node; *ready*: which then takes part."""
        server = GunicornServer(
            self._folder,
            *("--worker-class", "gthread", "--threads", "8"),
            workers=self._workers,
            app="node:app",
            settings=self._settings if old else {**self._settings, **self._of_the_new},
            hooks=False,
            cwd=HERE,
            package=BEFORE if old else None,
        )
        node = Node(server, old)
        self._running.enter_context(server)
        if ready:
            # (Each worker joins with its first request.)
            wait_until(partial(self.is_ready, node), PATIENCE)
            package = node.server.ask("GET", "/readyz").json["package"]
            assert (BEFORE.name in package) is old, package
            node.live = True
        self.nodes.append(node)
        return node

    def start_all(self, *old: bool) -> list[Node]:
        """So many at once."""
        with ThreadPoolExecutor(len(old)) as starting:
            return list(starting.map(lambda one: self.start(old=one), old))

    def stop(self, node: Node) -> None:
        node.live = False
        node.server.stop()

    def replace(self, node: Node) -> Node:
        """The way of a rolling upgrade: a new one beside it, then it goes."""
        new = self.start(old=False)
        self.stop(node)
        return new

    @contextmanager
    def frozen(self, node: Node) -> Iterator[None]:
        """Its processes stand still, and do not know it."""
        pids = node.server.pids()
        node.live = False
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @property
    def live(self) -> list[Node]:
        return [one for one in self.nodes if one.live]

    def _each(self, call: Callable[[], int]) -> set[int]:
        """What a node's workers answer, each of them most likely."""
        return {call() for _ in range(2 * self._workers)}

    def is_ready(self, node: Node) -> bool:
        return self._each(lambda: node.server.ask("GET", "/readyz").status) == {200}

    def said_by(self, node: Node, one: Pass) -> set[int]:
        """What *node* says of a token."""
        return self._each(lambda: self.crowd.check(node, one).status)

    def made(self, make: Callable[[Node, str], Pass], node: Node, subject: str = "") -> Pass:
        """A token by *make*, as soon as *node* is sure enough of itself to make one."""
        found: list[Pass] = []

        def try_it() -> bool:
            try:
                found.append(make(node, subject))
            except Refused as refused:
                if refused.status != 503:
                    raise
            return bool(found)

        wait_until(try_it, PATIENCE)
        return found[0]

    def answers(self, node: Node, path: str, status: int) -> None:
        """*node* answers a POST so, now or soon."""
        wait_until(lambda: node.server.ask("POST", path).status == status, PATIENCE)

    # endings

    def revoke(self, by: Node, what: str) -> None:
        """*what* of :data:`KINDS`, asked of *by*: from the confirmation on, everybody refuses
        those whom it is for, and nobody else."""
        other = next(one for one in self.live if one is not by)
        # Of one and the same person: a kind that is not meant stays.
        login = self.made(self.crowd.login, other)
        program = self.made(self.crowd.program, by, login.subject)
        ended, stays, target = {
            "id": (login, program, login.id),
            "subject": (login, program, login.subject),
            "label": (login, program, login.subject),
            "programs of one": (program, login, program.subject),
            "programs": (program, login, "-"),
            "not before": (login, program, ""),
            "all": (login, program, "-"),
        }[what]
        for node in self.live:
            for one in (ended, stays):
                self.says(node, one, 200)
        if what == "not before":
            next_second()
            target = str(int(time.time()))
        if what == "id":
            covers: Callable[[Pass], bool] = lambda one: one.id == target  # noqa: E731
        elif what in ("programs", "all", "not before"):
            covers = lambda one: one.kind == ended.kind  # noqa: E731
        else:
            covers = lambda one: one.kind == ended.kind and one.subject == target  # noqa: E731
        ending = Ending(covers, sent=time.time(), before=time.time())
        if what == "not before":
            ending.before = ending.to = float(target)
        self.crowd.endings.append(ending)
        path = f"/revoke/{quote(what)}/{quote(target)}?timeout={PATIENCE}"
        told = by.server.ask("POST", path, timeout=2 * PATIENCE)
        assert told.status == 200, told.body
        assert told.json == {"in_force": True}
        ending.confirmed = time.time()
        ending.to = min(ending.to, ending.confirmed)
        # (That nobody accepts it meanwhile is found out from what the crowd wrote down.)
        for node in self.live:
            self.says(node, ended, 401)
            self.says(node, stays, 200)

    def says(self, node: Node, one: Pass, status: int) -> None:
        """*node* says so on each worker, now or soon: a slow machine is unsure for a moment."""
        wait_until(lambda: self.said_by(node, one) == {status}, PATIENCE)

    def lock(self, by: Node, subject: str) -> tuple[int, dict[str, object]]:
        answer = by.server.ask("POST", f"/lock/{subject}?timeout={PATIENCE}", timeout=2 * PATIENCE)
        return answer.status, answer.json

    def check_locked(self, by: Node) -> None:
        """A lock by *by* keeps out whom it is for, at every node that is live."""
        login, bystander = self.made(self.crowd.login, by), self.made(self.crowd.login, by)
        sent = time.time()
        self.crowd.endings.append(Ending(lambda one: one is login, sent, sent))
        # A node that has just gone may stand in the list for a moment.
        answers: list[tuple[int, dict[str, object]]] = []
        wait_until(
            lambda: answers.append(self.lock(by, login.subject)) or answers[-1][0] == 200,  # type: ignore[func-returns-value]
            PATIENCE,
        )
        assert answers[-1][1] == {"in_force": True}
        for node in self.live:
            self.says(node, login, 403)
            self.answers(node, f"/login/{login.subject}", 403)
            self.says(node, bystander, 200)

    def check_stale(self, node: Node, passes: Sequence[Pass]) -> None:
        """*node*, of the version before, lets nobody in, whoever it may be; and says why."""
        wait_until(partial(self._is_stale, node), PATIENCE)
        for one in passes:
            self.says(node, one, 503)
        assert node.server.ask("POST", "/login/anybody").status == 503
        assert not came_true(lambda: 200 in self.said_by(node, passes[0]), 2)
        trouble = node.server.ask("GET", "/readyz").json["trouble"]
        assert "cannot be read by this version" in trouble, trouble

    def _is_stale(self, node: Node) -> bool:
        answer = node.server.ask("GET", "/readyz")
        return answer.status == 503 and "version" in answer.json["trouble"]


def roll(deployment: Deployment, kinds: Sequence[str], rounds: int) -> None:
    """Two old nodes, replaced one by one while a crowd goes on; *kinds* of revocations are made
    on each side, in the states of the upgrade that both versions are part of."""
    crowd = deployment.crowd
    *olds, new = deployment.start_all(True, True, False)
    news = [new]
    with crowd:
        for _ in range(rounds):
            for what in kinds:
                deployment.revoke(olds[0], what)
                deployment.revoke(news[0], what)

        # What the old ones would not understand is not written, and they are named.
        status, said = deployment.lock(news[0], "alice")
        assert status == 409
        assert len(said["too_old"]) == sum(len(one.server.pids()) for one in olds)  # type: ignore[arg-type]
        for node in deployment.nodes:
            wait_until(partial(deployment.is_ready, node), PATIENCE)
        deployment.answers(news[0], "/login/alice", 200)

        deployment.stop(olds[0])
        for what in kinds[:2]:
            deployment.revoke(olds[1], what)
            deployment.revoke(news[0], what)
        news.append(deployment.replace(olds[1]))
        deployment.revoke(news[1], kinds[0])
        deployment.check_locked(news[0])
        standing = [
            deployment.made(crowd.login, news[1]),
            deployment.made(crowd.program, news[0]),
        ]
        for one in standing:
            deployment.says(news[0], one, 200)

        late = deployment.start(old=True, ready=False)
        deployment.check_stale(late, standing)
        for one in standing:
            deployment.says(news[1], one, 200)
    assert crowd.findings() == []
