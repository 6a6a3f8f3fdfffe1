"""node-oidc-provider: an OpenID provider of somebody else's, fetched by npm and run on loopback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import requests

from tests.servers import npm
from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun, Running
from tests.waiting import came_true

HERE = Path(__file__).resolve().parent / "node"
#: What npm has fetched stays until the versions change.
FOLDER = npm.BUILD / "npm-oidc"
_READY = 60.0


def fetch() -> None:
    """Let npm fetch the versions of ``package-lock.json``, unless they are there already."""
    npm.fetch(HERE, FOLDER.name, "provider.mjs")


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
