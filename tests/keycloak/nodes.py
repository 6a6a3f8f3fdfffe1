"""Several hosts of one app on one machine: gunicorn on 127.0.0.1, 127.0.0.2, …, one port."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.waiting import came_true

ROOT = Path(__file__).resolve().parents[2]

_UNEXPECTED = re.compile(
    r"Exception on |WORKER TIMEOUT|Traceback \(most recent|could not be judged|a listener to "
    r"|a receiver of |OperationalError|flask_clustertoken\.errors\.|^(\w+\.)*\w*(Error|Exception)\b"
)

# (What the app imports is imported once for a host, not by each of its workers.)
_CONF = """
import tests.keycloak.app
from flask_clustertoken.gunicorn import post_worker_init, worker_exit
worker_class = "gthread"
threads = 8
keepalive = 300
graceful_timeout = 10
"""


def unexpected(log: str) -> list[str]:
    """The lines of *log* that no good run writes."""
    return [line for line in log.splitlines() if _UNEXPECTED.search(line)]


class Line:
    """A connection that stays with one worker, so that each can be asked for itself."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._http = requests.Session()
        self._http.cookies.clear()
        self.pid = int(self.ask("/").headers["X-Pid"])

    def ask(self, path: str, **headers: str) -> requests.Response:
        return self._http.get(
            self.base + path,
            headers={"Accept": "application/json", **headers},
            timeout=30,
            allow_redirects=False,
        )


class Nodes:
    """The app on *hosts*, each with *workers*. ``with Nodes(config) as nodes:``"""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        port: int,
        hosts: Sequence[str] = ("127.0.0.1", "127.0.0.2", "127.0.0.3"),
        workers: int = 2,
        more: Sequence[str] = (),
    ) -> None:
        self.hosts = tuple(hosts)
        self.port = port
        self._workers = workers
        self._more = tuple(more)
        self._config = dict(config)
        self._folder = Path(tempfile.mkdtemp(prefix="clustertoken-kc-nodes-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lines: list[Line] = []
        #: How much of each host's log is known already.
        self._forgotten: dict[str, int] = {}
        #: What each host wrote, once all are ended.
        self.logs: list[str] = []

    def url(self, number: int = 0) -> str:
        return f"http://{self.hosts[number]}:{self.port}"

    def start(self, number: int) -> None:
        """Start the host with this number, and wait until it is ready."""
        host = self.hosts[number]
        self._lines = []
        conf = self._folder / "gunicorn.conf.py"
        conf.write_text(_CONF)
        config = {**self._config, "KEYCLOAK_NODE_HOST": host}
        with (self._folder / f"log-{host}").open("ab") as log:
            self._processes[host] = subprocess.Popen(
                [
                    sys.executable, "-m", "gunicorn", "--config", str(conf),
                    "--bind", f"{host}:{self.port}", "--workers", str(self._workers),
                    *self._more, "tests.keycloak.app:create_app()",
                ],
                cwd=ROOT,
                env={**os.environ, "TEST_APP_CONFIG": json.dumps(config)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        assert came_true(lambda: self._is_ready(number), 60), self.log(number)

    def _is_ready(self, number: int) -> bool:
        assert self._processes[self.hosts[number]].poll() is None, self.log(number)
        try:
            return requests.get(f"{self.url(number)}/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self, number: int, how: signal.Signals = signal.SIGTERM) -> None:
        """End a host; with SIGKILL its workers too, at once."""
        process = self._processes.pop(self.hosts[number])
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = [int(one) for one in children.read_text().split()] if children.exists() else []
        process.send_signal(how)
        if how == signal.SIGKILL:
            for worker in workers:
                os.kill(worker, how)
        process.wait(30)

    def runs(self, number: int) -> bool:
        """Whether a host does: it was not stopped."""
        return self.hosts[number] in self._processes

    def log(self, number: int = 0) -> str:
        """What a host wrote since its log was forgotten."""
        host = self.hosts[number]
        return self._written(host)[self._forgotten.get(host, 0) :].decode(errors="replace")

    def _written(self, host: str) -> bytes:
        path = self._folder / f"log-{host}"
        return path.read_bytes() if path.exists() else b""

    def forget_logs(self) -> None:
        """What the hosts have written is not in their logs any more; exceptions are for ever."""
        self._forgotten = {host: len(self._written(host)) for host in self.hosts}

    def exceptions(self) -> list[str]:
        """Lines that tell of something unexpected, of all that was ever written."""
        logs = [self._written(host).decode(errors="replace") for host in self.hosts]
        return [line for log in logs for line in unexpected(log)]

    def lines(self) -> list[Line]:
        """One line to each worker of each host."""
        if self._lines:
            return self._lines
        end = time.monotonic() + 60
        for host in self.hosts:
            found: dict[int, Line] = {}
            while len(found) < self._workers:
                lines = [Line(f"http://{host}:{self.port}") for _ in range(4)]
                found |= {line.pid: line for line in lines}
                assert time.monotonic() < end, f"{host} shows {len(found)} workers only"
            self._lines += found.values()
        return self._lines

    def __enter__(self) -> Nodes:
        try:
            for number in range(len(self.hosts)):
                self.start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.logs = [self.log(number) for number in range(len(self.hosts))]
        shutil.rmtree(self._folder, ignore_errors=True)
