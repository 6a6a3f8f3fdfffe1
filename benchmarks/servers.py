"""The servers that are measured against, on spare ports of this machine, ended with the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

from tests.servers.ports import spare_ports
from tests.servers.postgresql import APP, Server
from tests.servers.unprivileged import new_folder
from tests.servers.zookeeper import CannotRun, Ensemble

from .measure import wait_until

__all__ = ["CannotRun", "Ensemble", "Servers", "spare_ports"]


#: Room for two million znodes in each, and a collector that stops seldom and shortly: three
#: servers that stop for seconds on one small machine lose each other.
LARGE = ("-Xms3g", "-Xmx3g", "-XX:+UseParallelGC")

#: What ZooKeeper's manual recommends; the tests want elections that are over soon.
PATIENT = ("tickTime=2000", "initLimit=30", "syncLimit=15")


#: What people run: every commit is on the disk, and some memory for the tables.
DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "log_checkpoints": "off",
}


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis server that keeps nothing on disk; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise CannotRun("redis-server is not installed (Debian: apt-get install redis-server)")
    import redis

    (port,) = spare_ports(1)
    folder = tempfile.mkdtemp(prefix="clustertoken-redis-")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    command += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(redis.ConnectionError):
            return bool(redis.Redis(port=port).ping())
        return False

    try:
        wait_until(answers, 20, "redis-server's first answer")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Servers:
    """Redis, PostgreSQL and a ZooKeeper ensemble, each started when it is first asked for."""

    #: Three servers, as a cluster has.
    size: int = 3
    _stack: ExitStack = field(default_factory=ExitStack)
    _redis: int = 0
    _ensemble: Ensemble | None = None
    _postgresql: Server | None = None
    _folders: int = 0

    @property
    def redis_port(self) -> int:
        if not self._redis:
            self._redis = self._stack.enter_context(redis_server())
        return self._redis

    @property
    def ensemble(self) -> Ensemble:
        if self._ensemble is None:
            ensemble = Ensemble(self.size, settings=PATIENT, java=LARGE)
            self._ensemble = self._stack.enter_context(ensemble)
        return self._ensemble

    @property
    def postgresql(self) -> Server:
        if self._postgresql is None:
            folder = new_folder(disk=True)
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._postgresql = self._stack.enter_context(Server(DURABLE, folder))
        return self._postgresql

    def folder(self) -> str:
        """A new folder, removed with the run."""
        return self._stack.enter_context(tempfile.TemporaryDirectory(prefix="clustertoken-bench-"))

    def store(self, kind: str) -> str:
        """The URL of a new and empty store: ``directory``, ``zookeeper`` or ``postgresql``."""
        if kind == "directory":
            return f"directory://{self.folder()}/shared"
        self._folders += 1
        if kind == "postgresql":
            database = f"benchmark_{self._folders}"
            self.postgresql.sql(f"CREATE DATABASE {database} OWNER {APP}")
            return f"postgresql://{APP}@{self.postgresql.address}/{database}"
        return self.ensemble.url(f"/benchmark-{os.getpid()}-{self._folders}")

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
