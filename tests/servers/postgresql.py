"""Real PostgreSQL servers on loopback, which can be killed and frozen."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.ports import spare_ports
from tests.servers.unprivileged import as_somebody, new_folder, programs, run
from tests.servers.zookeeper import CannotRun, _end_with_parent
from tests.waiting import wait_until

#: What every server of a test is told, unless the test says otherwise. Whatever is written is in
#: the system's cache, which outlives a killed server: no test here cuts the power.
USUAL = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "fsync": "off",
    "full_page_writes": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "wal_level": "replica",
    "max_wal_senders": "6",
    "hot_standby": "on",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
    "jit": "off",
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
}

#: Who owns the servers, and whom the app connects as (to a database of that name).
ADMIN, APP = "postgres", "app"

#: Everybody is believed, on loopback.
TRUST = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


class Server:
    """One server: a folder, a port and, while it runs, its processes."""

    def __init__(
        self,
        settings: Mapping[str, str] = {},
        folder: Path | None = None,
        *,
        own_clock: bool = False,
    ) -> None:
        """*folder*: an existing one to work in, which stays; else one of its own, which goes.

        *own_clock*: :meth:`set_clock` sets it.
        """
        self._own = folder is None
        self.folder = new_folder() if folder is None else folder
        self.data = self.folder / "data"
        (self.port,) = spare_ports(1)
        self.settings = dict(settings)
        self.hba = TRUST
        self._clock = self.folder / "clock" if own_clock else None
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []

    def __repr__(self) -> str:
        return f"<PostgreSQL at {self.address}>"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"postgresql://{APP}@{self.address}/{APP}"

    # making

    def initialise(self, *, shut: bool = False) -> None:
        """Start it with a system identifier of its own, and with the app's role and database.

        *shut*: for :meth:`restore`; nodes that found it empty would begin a new store in it.
        """
        options = ("--no-sync", "--no-instructions", "--auth=trust", "--locale=C")
        run("initdb", "-D", self.data, "-U", ADMIN, "--encoding=UTF8", *options)
        self.start()
        self.sql(f"CREATE ROLE {APP} LOGIN PASSWORD '{APP}'")
        limit = "CONNECTION LIMIT 0" if shut else ""
        self.sql(f"CREATE DATABASE {APP} OWNER {APP} {limit}")

    def copy_of(self, primary: Server, name: str) -> None:
        """Become a standby of *primary*, with all that it has now."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user={ADMIN}"
        options = ("--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--wal-method=stream")
        run("pg_basebackup", "-D", self.data, "-d", source, *options)
        # (By it the primary calls the one that follows. The copying itself has another name.)
        self.settings["cluster_name"] = name

    def configure(self, **settings: str) -> None:
        """Change its settings; a running one reads those that it can."""
        self.settings |= settings
        self._write()
        if self.running:
            self.sql("SELECT pg_reload_conf()")

            def known() -> bool:
                rows = self.sql(
                    "SELECT name, current_setting(name), pending_restart FROM pg_settings"
                )
                found = {name: (value, pending) for name, value, pending in rows}
                return all(
                    found[name][0] == value or found[name][1] for name, value in settings.items()
                )

            wait_until(known, 20)

    def _write(self) -> None:
        said = {
            **USUAL,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            **self.settings,
        }
        rows = [f"{name} = '{value}'\n" for name, value in said.items()]
        (self.data / "postgresql.conf").write_text("".join(rows))
        (self.data / "pg_hba.conf").write_text("local all all trust\n" + self.hba)

    # life

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        if not self.running:
            if not self.data.exists():
                self._fill()
            self._write()
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [str(programs() / "postgres"), "-D", str(self.data)],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    # (A killed one would leave a bit of shared memory behind.)
                    preexec_fn=functools.partial(_end_with_parent, signal.SIGQUIT),
                    **self._somebody(),
                )
        if wait:
            wait_until(self.answers, 60)

    def _somebody(self) -> dict[str, Any]:
        how = as_somebody()
        if self._clock is not None:
            found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
            if not found:
                raise CannotRun("a clock of a server's own needs the package faketime")
            self.set_clock(0)
            how["env"] |= {
                "LD_PRELOAD": found[0],
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return how

    def set_clock(self, ahead: float) -> None:
        """Let its time of day be so many seconds ahead of the true one."""
        assert self._clock is not None
        self._clock.write_text(f"{ahead:+}\n")
        self._clock.chmod(0o644)

    def _fill(self) -> None:
        """As :meth:`initialise` does, from a copy: that is quicker, and has its identifier."""
        copy = ["cp", "-a", str(template()), str(self.data)]
        subprocess.run(copy, cwd="/", check=True, timeout=60, **as_somebody())

    def answers(self) -> bool:
        import psycopg

        if not self.running:
            raise CannotRun(f"the server ended: {self.tail_of_log()}")
        try:
            return bool(self.sql("SELECT 1", timeout=2))
        except psycopg.Error:
            return False

    def stop(self) -> None:
        """Shut it down properly: clients are cut off, standbys have everything."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Shut it down ``immediate``: no process of it does anything more."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        self.thaw()
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def processes(self) -> list[int]:
        """The postmaster and all its children."""
        assert self._process is not None
        found = [self._process.pid]
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = entry.joinpath("stat").read_text().rpartition(")")[2].split()[1]
                if parent == str(self._process.pid):
                    found.append(int(entry.name))
        return found

    def freeze(self) -> None:
        """Stop every process of it; its connections stay open."""
        while set(now := self.processes()) - set(self._frozen):
            for pid in now:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            self._frozen = now

    def thaw(self) -> None:
        for pid in reversed(self._frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def tail_of_log(self) -> str:
        try:
            return (self.folder / "log").read_text(errors="replace")[-1500:]
        except OSError:
            return ""

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    # backups

    def dump(self) -> str:
        """The app's database as ``pg_dump`` writes it."""
        return run("pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, APP)

    def restore(self, dump: str) -> None:
        """Put a dump in the place of the app's database, as an operator does: nodes are cut off."""
        self.sql(f"DROP DATABASE {APP} WITH (FORCE)")
        # (Only the administrator gets in: nodes that find it empty would begin a new store in it.)
        self.sql(f"CREATE DATABASE {APP} OWNER {APP} CONNECTION LIMIT 0")
        # (In the servers' own folder: whoever they run as may not look into pytest's.)
        file = self.folder / "dump.sql"
        file.write_text(dump)
        whom = ("-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, "-d", APP)
        run("psql", *whom, "-v", "ON_ERROR_STOP=1", "-1", "-q", "-f", file)
        self.sql(f"ALTER DATABASE {APP} CONNECTION LIMIT -1")

    # asking

    def sql(
        self, text: str, *values: object, user: str = ADMIN, database: str = "", timeout: float = 20
    ) -> list[tuple[Any, ...]]:
        """One statement's rows, over a connection of its own."""
        with self.line(user, database, timeout) as line:
            cursor = line.execute(text, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def line(self, user: str = ADMIN, database: str = "", timeout: float = 20) -> Any:
        """A connection, for whoever has much to ask."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            dbname=database or ADMIN,
            connect_timeout=max(2, int(timeout)),
            options=f"-c statement_timeout={timeout * 1000:.0f}",
            autocommit=True,
        )

    def promote(self) -> None:
        """Make a standby a primary, and wait until it is one."""
        self.sql("SELECT pg_promote(true, 60)", timeout=70)
        wait_until(lambda: self.sql("SELECT NOT pg_is_in_recovery()") == [(True,)], 30)

    def unfollow(self) -> None:
        """A standby hears no more of its primary, and stays a standby."""
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.sql("SELECT pg_reload_conf()")
        wait_until(lambda: self.sql("SELECT 1 FROM pg_stat_wal_receiver") == [], 30)

    def streaming(self) -> int:
        """How many standbys follow it now."""
        rows = self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        return int(rows[0][0])

    def cancel_waits(self, line: Any = None) -> int:
        """What somebody does who sees commits hang: cancel each that waits for a standby.

        *line*: a connection for who does so all the time.
        """
        text = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return len(self.sql(text) if line is None else line.execute(text).fetchall())

    def cut_lines(self, user: str = APP) -> int:
        """End every connection of *user*; how many there were."""
        rows = self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user
        )
        return len(rows)


@functools.cache
def template() -> Path:
    """The data of a server with the app's role and database; made once a run."""
    import atexit

    folder = new_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Server(folder=folder)
    try:
        server.initialise()
    finally:
        server.stop()
    return server.data
