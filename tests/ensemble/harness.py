"""Drives real worker processes through faults, and judges what they wrote down.

A :class:`Fleet` is a few :mod:`tests.ensemble.worker` processes on one ensemble. A scenario
does something bad while users log in and are logged out; :meth:`Fleet.verdict` reads every
worker's history and asks the checker.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.forked import Forked
from tests.rounds import FULL
from tests.servers.zookeeper import Ensemble
from tests.simulation.checker import Violation, check, covers
from tests.waiting import wait_until

from .proxy import Proxy

#: Of the workers here: short, so that a fault outlasts it many times over.
MAX_STALENESS = 3.0

#: What the promise adds to the bound for a call in flight and clocks of several rates.
MARGIN = 1.0

#: Seconds from one user who logs in and out to the next, where this goes on for a while: what
#: happens meanwhile takes seconds, and each login is looked at by every worker until the end. In
#: the full run as many come as the machine can bear.
PACE = 0.0 if FULL else 0.2


class Process:
    """One worker process and the pipe to it."""

    def __init__(self, name: str, store: str, history: Path, *options: str) -> None:
        self.name = name
        self._answers: queue.Queue[str] = queue.Queue()
        self._turn = threading.Lock()
        self._log = (history.parent / f"{name}.log").open("ab")
        self._process = Forked(
            "tests.ensemble.worker",
            *("--name", name, "--store", store, "--history", str(history)),
            *("--max-staleness", str(MAX_STALENESS), *options),
            store=store,
            stderr=self._log,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._answers.put(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, do: str, **command: Any) -> None:
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            self._answers.put('{"error": "gone"}')

    def answer(self, deadline: float = 30.0) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._answers.get(timeout=deadline))
            return found
        except queue.Empty:
            raise AssertionError(f"worker {self.name} did not answer in {deadline} s") from None

    def ask(self, do: str, deadline: float = 30.0, **command: Any) -> dict[str, Any]:
        """The answer to *do*; several threads may ask."""
        with self._turn:
            self.send(do, **command)
            return self.answer(deadline)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.running:
            self._process.kill()
        self._process.wait(10)
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                pipe.close()

    def stop(self) -> None:
        """Let it end by itself; its history is complete then."""
        if self.running and not self._process.stdin.closed:
            self.thaw()
            self.send("flush")
            self.send("close")
            try:
                self._process.stdin.close()
                self._process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()


def _done_or_fresh(worker: Process) -> bool:
    return not worker.running or bool(worker.ask("ready")["fresh"])


@dataclass(frozen=True)
class Verdict:
    """What the checker says of one scenario."""

    violations: list[Violation]
    revocations: int
    confirmed: int
    validations: int
    #: Seconds from an acknowledgement to the beginning of the last acceptance after it.
    worst_delay: float

    def __str__(self) -> str:
        return (
            f"{self.revocations} revocations ({self.confirmed} confirmed), "
            f"{self.validations} validations, worst delay {self.worst_delay * 1000:.0f} ms, "
            f"{len(self.violations)} violations"
        )


@dataclass
class Fleet:
    """Some workers on one ensemble, the last of them behind a network that can fail."""

    ensemble: Ensemble
    root: str
    folder: Path
    size: int = 3
    mutation: str = ""
    skews: Sequence[float] = ()
    workers: list[Process] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    _tokens: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _revocations: Iterator[int] = field(default_factory=itertools.count)
    _started: int = 0

    def __enter__(self) -> Fleet:
        for index in range(self.size):
            self.start_worker(cut=index == self.size - 1, index=index)
        self.wait_fresh()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.kill()
        for proxy in self.proxies:
            proxy.close()

    # workers

    def start_worker(
        self, *, cut: bool = False, index: int = 0, mutation: str | None = None
    ) -> Process:
        """One more worker; *mutation* instead of the fleet's."""
        store = self.ensemble.url(self.root)
        if cut:
            if not self.proxies:
                self.proxies = [Proxy(("127.0.0.1", one.port)) for one in self.ensemble.servers]
            hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.proxies)
            store = f"zookeeper://{hosts}{self.root}"
        mutation = self.mutation if mutation is None else mutation
        options = ["--mutation", mutation] if mutation else []
        if index < len(self.skews):
            options += ["--skew", str(self.skews[index])]
        self._started += 1
        name = f"w{self._started}"
        worker = Process(name, store, self.folder / f"{name}.jsonl", *options)
        self.workers.append(worker)
        return worker

    @property
    def behind_the_network(self) -> Process:
        return self.workers[self.size - 1]

    def wait_fresh(self, workers: Sequence[Process] | None = None, deadline: float = 40.0) -> float:
        """Wait until these workers vouch for tokens; returns the seconds that it took."""
        start = time.monotonic()
        for worker in workers or self.workers:
            wait_until(partial(_done_or_fresh, worker), deadline)
        return time.monotonic() - start

    # what users do

    def login(self, worker: Process, labels: Sequence[str] = ()) -> dict[str, Any]:
        """A new user logs in at *worker*; every running worker watches the token."""
        number = next(self._tokens)
        subject, label = f"user-{number}", f"sso:{number}"
        made = worker.ask("issue", subject=subject, labels=[label, *labels])
        if "error" in made:
            return made
        made |= {"id": made["token"], "subject": subject, "label": label, "realm": ""}
        for one in self.workers:
            if one.running:
                one.ask("add", token=made["token"], text=made["text"])
        return made

    def logins(self, count: int, worker: Process | None = None) -> list[dict[str, Any]]:
        return [self.login(worker or self.workers[0]) for _ in range(count)]

    def revoke(
        self, worker: Process, made: dict[str, Any], what: str = "", **more: Any
    ) -> dict[str, Any]:
        """End a login: by its id, its user, its label in turn; or all there are, with ``realm``."""
        what = what or ("id", "subject", "label")[next(self._revocations) % 3]
        return worker.ask("revoke", what=what, target=made[what], **more)

    def come_and_go(
        self, seconds: float, among: Sequence[Process] | None = None, realm_every: int = 0
    ) -> int:
        """Log users in and out for a while, at each of *among* in turn; how many were logged out.

        Every so many, *realm_every*, everybody is. Who could not be says why.
        """
        done, turn, end = 0, 0, time.monotonic() + seconds
        workers = among or self.workers
        while (begun := time.monotonic()) < end:
            worker = workers[turn % len(workers)]
            turn += 1
            made = self.login(worker)
            what = "realm" if realm_every and done % realm_every == realm_every - 1 else ""
            told = self.revoke(worker, made, what) if "error" not in made else made
            # (Who was refused does not wait as long to come again.)
            rest = PACE / 5 if "error" in told else PACE
            if "error" in told:
                print(told["error"])
            else:
                done += 1
            next_one = min(begun + rest, end)
            wait_until(lambda next_one=next_one: time.monotonic() >= next_one)  # type: ignore[misc]
        return done

    # judging

    def verdict(self) -> Verdict:
        """Stop the workers, read what they wrote, and judge it."""
        for worker in self.workers:
            worker.stop()
        events = [
            json.loads(line)
            for path in sorted(self.folder.glob("*.jsonl"))
            for line in path.read_text().splitlines()
            if line.endswith("}")
        ]
        acknowledged: dict[str, float] = {}
        issued = [one for one in events if one["type"] == "issued"]
        for one in events:
            if one["type"] == "revoked":
                for token in issued:
                    if covers(one, token):
                        first = acknowledged.get(token["token"], one["acknowledged"])
                        acknowledged[token["token"]] = min(first, one["acknowledged"])
        delays = [
            one["begin"] - acknowledged[one["token"]]
            for one in events
            if one["type"] == "validated" and one["accepted"] and one["token"] in acknowledged
        ]
        return Verdict(
            check(events, MARGIN),
            sum(one["type"] == "revoked" for one in events),
            sum(one["type"] == "confirmed" for one in events),
            # (Of a worker that was killed only those that it had written down.)
            sum(one["count"] for one in events if one["type"] == "watched"),
            max([0.0, *delays]),
        )
