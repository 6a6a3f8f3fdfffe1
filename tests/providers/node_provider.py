"""node-oidc-provider: an OpenID provider of somebody else's, fetched by npm and run on loopback."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import requests

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun, Running
from tests.waiting import came_true

HERE = Path(__file__).resolve().parent / "node"
#: What npm has fetched stays until the versions change.
FOLDER = HERE.parent.parent.parent / "build" / "npm-oidc"
_READY = 60.0


def fetch() -> None:
    """Let npm fetch the versions of ``package-lock.json``, unless they are there already."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CannotRun(f"this test needs the program {program!r}, which is not here")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("wb") as lock:
        # (Tests run side by side, and half of what one fetches is of no use to another.)
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copy(HERE / "provider.mjs", FOLDER)
        fetched = FOLDER / "fetched.json"
        wanted = (HERE / "package-lock.json").read_bytes()
        if fetched.exists() and fetched.read_bytes() == wanted:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, FOLDER / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=FOLDER, check=True, timeout=180, stdin=subprocess.DEVNULL)
        fetched.write_bytes(wanted)


class NodeProvider(Running):
    """The provider of an app at *app*; its clients are ``session`` and ``person``."""

    def __init__(self, app: str) -> None:
        self.port = spare_ports(1)[0]
        self._app = app
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = FOLDER / f"log-{self.port}"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def start(self) -> None:
        fetch()
        with (FOLDER / f"log-{self.port}").open("wb") as log:
            self._process = subprocess.Popen(
                ["node", "provider.mjs", str(self.port), self._app],
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if not came_true(self._answers, _READY):
            raise CannotRun(f"node-oidc-provider was not ready in {_READY:g} s: {self.log}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise CannotRun(f"node-oidc-provider ended: {self.log}")
        try:
            document = f"{self.issuer}/.well-known/openid-configuration"
            return requests.get(document, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        (FOLDER / f"log-{self.port}").unlink(missing_ok=True)
