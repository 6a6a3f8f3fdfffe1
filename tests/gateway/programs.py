"""Programs that are no Python: started from the very files that the docs show, and ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun, Running
from tests.servers.zookeeper import _end_with_parent
from tests.waiting import wait_until

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "gateway"

#: Where things are that an ordinary user's PATH does not name.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/local/go/bin:/usr/lib/go/bin"


def found(name: str) -> str:
    where = shutil.which(name, path=PATH)
    if where is None:
        raise CannotRun(f"the gateway's tests need the program {name!r}, which is not here")
    return where


class Program(Running):
    """A server of a folder of its own; up as soon as it answers at *path*."""

    path = "/"

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port or spare_ports(1)[0]
        self.environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def log(self) -> Path:
        return self.folder / f"{type(self).__name__.lower()}-{self.port}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, "PATH": PATH, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # (With a run that is killed it ends as well.)
                preexec_fn=partial(_end_with_parent, signal.SIGTERM),
                start_new_session=True,
            )
        wait_until(self.answers, 60)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", self.path)
            connection.getresponse().read()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        return True

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Node(Program):
    """The service of docs/gateway/orders.mjs."""

    path = "/orders/health"

    def command(self) -> list[str]:
        self.environment["PORT"] = str(self.port)
        return [found("node"), str(DOCS / "orders.mjs")]


class Go(Program):
    """The service of docs/gateway/reports.go."""

    path = "/reports/health"

    def command(self) -> list[str]:
        self.environment["PORT"] = str(self.port)
        return [str(built())]


@cache
def built() -> Path:
    """The Go service, compiled once a run. (The compiler keeps what it has done for the next.)"""
    folder = Path(tempfile.mkdtemp(prefix="clustertoken-go-"))
    program = folder / "reports"
    env = {
        **os.environ,
        "PATH": PATH,
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
    }
    env.setdefault("HOME", str(folder))
    sources = [str(DOCS / name) for name in ("reports.go", "introspect.go")]
    subprocess.run(
        [found("go"), "build", "-o", str(program), *sources],
        cwd=folder,
        env=env,
        check=True,
        timeout=400,
    )
    return program


def with_ports(text: str, ports: Mapping[int, int]) -> str:
    """The docs' configuration with the ports of this run, and nothing else changed."""

    def replace(match: re.Match[str]) -> str:
        return f"{match[1]}:{ports[int(match[2])]}"

    return re.sub(r"(127\.0\.0\.1|http://):(\d+)", replace, text)


class Nginx(Program):
    """nginx with docs/gateway/nginx.conf as its only site."""

    path = "/healthz"

    def __init__(self, folder: Path, ports: Mapping[int, int]) -> None:
        super().__init__(folder, ports[8080])
        site = folder / "site.conf"
        site.write_text(with_ports((DOCS / "nginx.conf").read_text(), ports))
        user = "user root;" if os.getuid() == 0 else ""
        temporary = "".join(
            f"    {name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx-error.log;\n"
            f"worker_processes 1;\n{user}\nevents {{}}\nhttp {{\n    access_log off;\n"
            f"{temporary}    include {site};\n}}\n"
        )

    def command(self) -> list[str]:
        return [found("nginx"), "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]


class Caddy(Program):
    """Caddy with docs/gateway/Caddyfile."""

    path = "/healthz"

    def __init__(self, folder: Path, ports: Mapping[int, int]) -> None:
        super().__init__(folder, ports[8080])
        self.environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
        text = with_ports((DOCS / "Caddyfile").read_text(), ports)
        (folder / "Caddyfile").write_text(text)

    def command(self) -> list[str]:
        return [found("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile"]


PROXIES: dict[str, Callable[[Path, Mapping[int, int]], Program]] = {"nginx": Nginx, "caddy": Caddy}
