"""A real PgBouncer on loopback, which lends a connection for one transaction at a time."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.servers.ports import spare_ports
from tests.servers.postgresql import APP, Server
from tests.servers.unprivileged import as_somebody, give, new_folder
from tests.servers.zookeeper import CannotRun, _end_with_parent
from tests.waiting import wait_until


class PgBouncer:
    """PgBouncer before *server*, in the way of pooling that people use it for."""

    def __init__(self, server: Server, settings: Mapping[str, str] = {}) -> None:
        where = shutil.which("pgbouncer", path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        if where is None:
            raise CannotRun("the PostgreSQL tests need the program 'pgbouncer', which is not here")
        self._program = where
        self.folder = new_folder()
        (self.port,) = spare_ports(1)
        said = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": str(self.folder),
            "auth_type": "trust",
            "auth_file": str(self.folder / "users"),
            "admin_users": "postgres",
            "pool_mode": "transaction",
            # Few, so that the next transaction is likely to get another one's connection.
            "default_pool_size": "4",
            "max_client_conn": "500",
            **settings,
        }
        rows = ["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]"]
        rows += [f"{name} = {value}" for name, value in said.items()]
        self._write("pgbouncer.ini", "\n".join(rows) + "\n")
        self._write("users", f'"{APP}" "{APP}"\n"postgres" ""\n')
        self._process: subprocess.Popen[bytes] | None = None

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        give(path)

    @property
    def url(self) -> str:
        return f"postgresql://{APP}@127.0.0.1:{self.port}/{APP}"

    def start(self) -> None:
        with Path(self.folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self.folder / "pgbouncer.ini")],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=partial(_end_with_parent, signal.SIGKILL),
                **as_somebody(),
            )
        wait_until(self.answers, 30)

    def answers(self) -> bool:
        import psycopg

        if self._process is None or self._process.poll() is not None:
            log = self.folder.joinpath("log").read_text(errors="replace")
            raise CannotRun(f"PgBouncer ended: {log[-1500:]}")
        try:
            with psycopg.connect(self.url, connect_timeout=2, prepare_threshold=None) as line:
                return bool(line.execute("SELECT 1").fetchall())
        except psycopg.Error:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> PgBouncer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
