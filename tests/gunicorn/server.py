"""A real gunicorn with the example in it, on a spare port of this machine."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask_clustertoken.cluster import Node
from flask_clustertoken.stores.base import Presence
from tests.servers.ports import spare_ports
from tests.servers.running import Running
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
COOKIE = "clustertoken"


@dataclass(frozen=True)
class Answer:
    """What came back: *cookie* is what the server set; ``""`` cleared it, ``None`` left it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookie: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pid(self) -> int:
        """The worker that answered."""
        return int(self.headers["x-answered-by"].rpartition("/")[2])


class GunicornServer(Running):
    """Gunicorn, started in a context and always ended with it.

    *settings* are ``CLUSTERTOKEN_`` names without the prefix. Whatever the tests' own
    environment says of such settings does not reach it. *hooks* ``False``: without the
    example's configuration file, so that no worker joins before its first request. *cwd* is where
    *app* is looked for first, and *package* what is imported before anything that is installed.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        workers: int = 4,
        app: str = "example_app:create_app()",
        settings: Mapping[str, object] | None = None,
        node: str = "here",
        hooks: bool = True,
        cwd: Path = ROOT,
        package: Path | None = None,
    ) -> None:
        self.folder = folder
        self._cwd = cwd
        self.port = spare_ports(1)[0]
        self.workers = workers
        self._hooks = hooks
        self.log = folder / f"gunicorn-{self.port}.log"
        self._command = [
            *(sys.executable, "-m", "gunicorn"),
            *(("--config", "example_app/gunicorn.conf.py") if hooks else ()),
            *("--bind", f"127.0.0.1:{self.port}", "--workers", str(workers)),
            *("--worker-tmp-dir", str(folder), "--graceful-timeout", "5", *options, app),
        ]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLUSTERTOKEN_", "GUNICORN_", "PROMETHEUS_"))
        }
        given = {f"CLUSTERTOKEN_{name}": str(value) for name, value in (settings or {}).items()}
        self._environment = {
            **kept,
            "INSTANCE": str(folder / "instance"),
            "NODE_NAME": node,
            "PYTHONUNBUFFERED": "1",
            # Where gunicorn's control socket goes, if it makes one, and what workers count.
            "XDG_RUNTIME_DIR": str(folder),
            "TMPDIR": str(folder),
            **given,
        }
        if package is not None:
            self._environment["PYTHONPATH"] = str(package)
        self._process: subprocess.Popen[bytes] | None = None
        self._crowd: ThreadPoolExecutor | None = None
        self._fresh: set[int] = set()

    # life

    def start(self) -> None:
        """Start it, and wait until its workers are there and fresh."""
        self._launch()
        wait_until(self._has_joined if self._hooks else self._is_up, 60)

    def start_unready(self) -> None:
        """Start it where its workers may not become fresh."""
        self._launch()
        wait_until(self._is_up, 60)

    def _launch(self) -> None:
        self._fresh = set()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own, so that no worker is left behind.
                start_new_session=True,
            )

    def flask(self, *command: str) -> str:
        """Run ``flask`` beside it, with the same settings; what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "example_app", *command],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        if self._crowd is not None:
            self._crowd.shutdown()
            self._crowd = None
        process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _has_joined(self) -> bool:
        of_hosts = ("zookeeper:", "redis:", "postgresql:")
        if self._environment.get("CLUSTERTOKEN_STORE", "").startswith(of_hosts):
            return self._is_up() and self._are_fresh()
        # Without a request: with --max-requests 1 that would end a worker.
        with suppress(sqlite3.Error):
            found = self.pids()
            return len(found) == self.workers and self.listed() >= set(found) and self._is_up()
        return False

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        with suppress(OSError, HTTPException):
            return len(self.pids()) == self.workers and self.ask("GET", "/healthz").status == 200
        return False

    def wait_fresh(self, since: float = float("-inf"), deadline: float = 60) -> None:
        """Wait until each worker is fresh by a contact with the store that began after *since*.

        (By the monotonic clock. However many answers in a row say nothing of a worker that gave
        none of them, and what a worker says may rest on a contact of before.)
        """
        self._fresh = set()
        wait_until(lambda: self._are_fresh(since), deadline)

    def _are_fresh(self, since: float = float("-inf")) -> bool:
        """Whether each worker has said so, now or when this was asked before."""
        asked = time.monotonic()
        with suppress(OSError, HTTPException):
            for answer in self._all_at_once("/readyz", None, 2 * self.workers):
                if answer.status == 200 and answer.json["staleness_seconds"] <= asked - since:
                    self._fresh.add(answer.pid)
        pids = self.pids()
        return len(pids) == self.workers and self._fresh.issuperset(pids)

    def said(self) -> str:
        """What gunicorn and its workers wrote."""
        return self.log.read_text(errors="replace")

    def pids(self) -> list[int]:
        """The workers: the children of gunicorn's master that are no zombies."""
        found = []
        # (Its thread has them all, and asking Linux for them is asked a thousand times.)
        with suppress(OSError):
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            for pid in map(int, children.split()):
                with suppress(OSError):
                    stat = Path(f"/proc/{pid}/stat").read_text()
                    if stat.rpartition(")")[2].split()[0] != "Z":
                        found.append(pid)
        return found

    @property
    def shared(self) -> Path:
        """The folder of the embedded store."""
        return self.folder / "instance" / "shared"

    def listed(self) -> set[int]:
        """The processes in the list of nodes."""
        if not (self.shared / "default.sqlite3").exists():
            return set()
        database = sqlite3.connect(f"file:{self.shared}/default.sqlite3?mode=ro", uri=True)
        with closing(database):
            rows = database.execute("SELECT info FROM presence").fetchall()
        return {Node.decode(Presence("", info, 0, 0.0)).pid for (info,) in rows}

    # asking

    def ask(
        self,
        method: str,
        path: str,
        *,
        cookie: str | None = None,
        bearer: str | None = None,
        form: Mapping[str, str] | None = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        line: HTTPConnection | None = None,
    ) -> Answer:
        """One request on a connection of its own, so that any worker may get it; or on *line*."""
        sent = dict(headers or {})
        if cookie is not None:
            sent["Cookie"] = f"{COOKIE}={cookie}"
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        body = None
        if form is not None:
            body, sent["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        elif data is not None:
            body, sent["Content-Type"] = json.dumps(data), "application/json"
        connection = line or HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            content = response.read()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                content,
                _cookie_of(response.headers.get_all("Set-Cookie") or []),
            )
        finally:
            if line is None:
                connection.close()

    def line_to_each(self) -> dict[int, HTTPConnection]:
        """A connection to each worker, by its process, that the worker keeps (with threads)."""
        found: dict[int, HTTPConnection] = {}
        end = time.monotonic() + 60
        while not set(found) >= set(self.pids()):
            assert time.monotonic() < end, f"of {self.pids()} only {sorted(found)} answered"
            line = HTTPConnection("127.0.0.1", self.port, timeout=60)
            pid = self.ask("GET", "/healthz", line=line).pid
            if found.setdefault(pid, line) is not line:
                line.close()
        return found

    def me(self, cookie: str, timeout: float = 30.0, line: HTTPConnection | None = None) -> Answer:
        return self.ask("GET", "/api/me", cookie=cookie, timeout=timeout, line=line)

    def login(self, name: str = "alice", line: HTTPConnection | None = None) -> str:
        """The cookie of a new login."""
        wish = {"username": name, "password": name}
        answer = self.ask("POST", "/login", data=wish, line=line)
        assert answer.status == 200, answer.body
        assert answer.cookie
        return answer.cookie

    def at_once(self, cookie: str, count: int) -> list[Answer]:
        """``/api/me`` so many times at the same moment, each on a connection of its own."""
        return self._all_at_once("/api/me", cookie, count)

    def _all_at_once(self, path: str, cookie: str | None, count: int) -> list[Answer]:
        if self._crowd is None:
            self._crowd = ThreadPoolExecutor(64)
        asked = [self._crowd.submit(self.ask, "GET", path, cookie=cookie) for _ in range(count)]
        return [one.result() for one in asked]

    def of_all_workers(self, cookie: str) -> dict[int, list[Answer]]:
        """Ask ``/api/me`` until each of the workers has answered."""
        found: dict[int, list[Answer]] = {}
        end = time.monotonic() + 30
        while not set(found) >= set(self.pids()):
            assert time.monotonic() < end, f"of {self.pids()} only {sorted(found)} answered"
            for answer in self.at_once(cookie, 2 * self.workers):
                found.setdefault(answer.pid, []).append(answer)
        return found


def _cookie_of(headers: Iterable[str]) -> str | None:
    for header in headers:
        name, _, value = header.partition(";")[0].partition("=")
        if name == COOKIE:
            return value
    return None
