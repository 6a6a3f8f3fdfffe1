"""A real Keycloak on loopback: fetched once, started for a run, driven through its admin API."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun, Running
from tests.servers.zookeeper import cache_folder, fetching
from tests.waiting import came_true

#: Pinned: what the tests say was seen on this version.
VERSION = "26.7.5"

REALM_FILE = Path(__file__).with_name("realm.json")

_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
_OPTIONS = (
    "--db=dev-file",
    "--http-host=127.0.0.1",
    "--log-level=warn,io.quarkus:info",
    # Shared signals: off in a realm until it is told. It pushes to no loopback address of itself,
    # and every half minute; and may be asked for a verification once a minute.
    "--features=ssf",
    "--spi-ssf-transmitter--default--allow-insecure-push-targets=true",
    "--spi-ssf-transmitter--default--outbox-drainer-interval=1s",
)
#: Starts soon. It runs for some minutes: what its code costs to be compiled well, or to be verified
#: although it was verified elsewhere, is not earned back.
_JAVA = (
    "-XX:-UseG1GC",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)
#: Seconds that it has to be ready: it is made of fifteen thousand classes.
_READY = 600.0
#: Seconds that it has to end by itself, where it is to leave its database whole.
_WRITTEN = 120.0
#: Where a distribution has the data that each start gets a copy of.
_PREPARED = "prepared"


def _zip() -> Path:
    """The distribution in the local Maven repository, fetched the first time."""
    name = f"keycloak-quarkus-dist-{VERSION}.zip"
    found = Path.home() / ".m2/repository/org/keycloak/keycloak-quarkus-dist" / VERSION / name
    if not found.exists():
        command = ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={_ARTIFACT}"]
        with fetching():
            done = subprocess.run(
                [*command, "-Dtransitive=false"],
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
        if done.returncode or not found.exists():
            raise CannotRun(f"Maven could not fetch Keycloak: {done.stdout[-500:]}")
    return found


def home() -> Path:
    """The unpacked distribution, built and with a database: by its first start, of a minute.

    What is built depends on the options. The database is what each start would have to make anew,
    for as much as all else that it does: its tables, the realm ``master`` and its administrator.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise CannotRun(f"the Keycloak tests need the program {program!r}, which is not here")
    options = hashlib.sha256(" ".join(_OPTIONS).encode()).hexdigest()[:8]
    folder = cache_folder() / f"keycloak-{VERSION}-{options}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        with zipfile.ZipFile(_zip()) as archive:
            archive.extractall(beside)
        unpacked = Path(beside, f"keycloak-{VERSION}")
        for script in (unpacked / "bin").glob("*.sh"):
            script.chmod(0o755)
        first = Keycloak(unpacked, scratch=False, realm_file=None)
        with first:
            first.stop(_WRITTEN)
        (unpacked / "data").rename(unpacked / _PREPARED)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


class Keycloak(Running):
    """One server in development mode, with the realm ``demo``. ``with Keycloak() as server:``"""

    realm = "demo"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        scratch: bool = True,
        realm_file: Path | None = REALM_FILE,
    ) -> None:
        """With *realm_file* imported; with none it has the realm ``master`` alone."""
        self.port = port or spare_ports(1)[0]
        self._scratch = Path(tempfile.mkdtemp(prefix="clustertoken-kc-")) if scratch else None
        folder = folder or home()
        if self._scratch is not None:
            # The files are shared by links, its data is its own.
            copy = self._scratch / "keycloak"
            apart = shutil.ignore_patterns(_PREPARED, "log")
            shutil.copytree(folder, copy, copy_function=os.link, ignore=apart)
            shutil.copytree(folder / _PREPARED, copy / "data")
            folder = copy
        self._home = folder
        self._realm_file = realm_file
        self._process: subprocess.Popen[bytes] | None = None
        self._token: tuple[str, float] = ("", 0.0)
        self._http = requests.Session()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{self.realm}"

    # -- life --------------------------------------------------------------------------

    def start(self) -> None:
        """Start it if it does not run, and wait until the realm answers."""
        if self._process is not None:
            return
        if self._realm_file is not None:
            imports = self._home / "data" / "import"
            imports.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._realm_file, imports / "demo-realm.json")
        management = spare_ports(1)[0]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._home / "bin" / "kc.sh"),
                    "start-dev",
                    *_OPTIONS,
                    f"--http-port={self.port}",
                    f"--http-management-port={management}",
                    *(() if self._realm_file is None else ("--import-realm",)),
                ],
                env={
                    **os.environ,
                    "KC_BOOTSTRAP_ADMIN_USERNAME": "root",
                    "KC_BOOTSTRAP_ADMIN_PASSWORD": "root",
                    "JAVA_OPTS_KC_HEAP": "-Xms256m -Xmx512m",
                    "JAVA_OPTS_APPEND": " ".join(_JAVA),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait(self._ready, _READY)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise CannotRun(f"Keycloak ended: {self.tail_of_log()}")
        try:
            realm = "master" if self._realm_file is None else self.realm
            return requests.get(f"{self.url}/realms/{realm}", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        if not came_true(done, deadline):
            raise CannotRun(f"Keycloak was not ready in {deadline:g} s: {self.tail_of_log()}")

    def tail_of_log(self) -> str:
        try:
            return (self._home / "log").read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def pause(self) -> None:
        """Freeze it: connections are accepted, nothing is answered."""
        subprocess.run(["kill", "-STOP", *self._java()], check=True)

    def resume(self) -> None:
        subprocess.run(["kill", "-CONT", *self._java()], check=True)

    def _java(self) -> list[str]:
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return children or [str(parent)]

    def stop(self, deadline: float = 15.0) -> None:
        """End it, by force if it has not ended by the deadline, and remove what it wrote."""
        process, self._process = self._process, None
        if process is not None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            pids = children.read_text().split() if children.exists() else []
            # kc.sh hands TERM on to its Java. A frozen one must be woken to hear it.
            process.terminate()
            if pids:
                subprocess.run(["kill", "-CONT", *pids], check=False, capture_output=True)
            try:
                process.wait(deadline)
            except subprocess.TimeoutExpired:
                if pids:
                    subprocess.run(["kill", "-KILL", *pids], check=False, capture_output=True)
                process.kill()
                process.wait(10)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    # -- its addresses -----------------------------------------------------------------

    @property
    def discovery(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/protocol/openid-connect/token"

    # -- its admin API -----------------------------------------------------------------

    def _admin_token(self) -> str:
        text, until = self._token
        if time.monotonic() >= until:
            answer = requests.post(
                f"{self.url}/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": "root",
                    "password": "root",
                },
                timeout=20,
            )
            answer.raise_for_status()
            text, until = answer.json()["access_token"], time.monotonic() + 30
            self._token = (text, until)
        return text

    def admin(
        self, method: str, path: str, body: Any = None, *, check: bool = True
    ) -> requests.Response:
        """A call of ``/admin/realms/demo`` + *path*."""
        answer = self._http.request(
            method,
            f"{self.url}/admin/realms/{self.realm}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._admin_token()}"},
            timeout=40,
        )
        if check and answer.status_code >= 400:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def user_id(self, name: str) -> str:
        return str(self.admin("GET", f"/users?username={name}&exact=true").json()[0]["id"])

    def client(self, client_id: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.admin("GET", f"/clients?clientId={client_id}").json()
        return found[0]

    def make_client(self, client_id: str, **settings: Any) -> None:
        """A confidential client with the secret ``secret``; *settings* replace the defaults."""
        self.remove_client(client_id)
        attributes = {
            "post.logout.redirect.uris": "+",
            "backchannel.logout.session.required": "true",
            **settings.pop("attributes", {}),
        }
        body = {
            "clientId": client_id,
            "enabled": True,
            "protocol": "openid-connect",
            "publicClient": False,
            "secret": "secret",
            "standardFlowEnabled": True,
            "directAccessGrantsEnabled": True,
            "frontchannelLogout": False,
            "redirectUris": ["http://127.0.0.1:*", "*"],
            "attributes": attributes,
            **settings,
        }
        self.admin("POST", "/clients", body)

    def remove_client(self, client_id: str) -> None:
        """A push calls every client that has an admin URL, and fails where one has no node."""
        for found in self.admin("GET", f"/clients?clientId={client_id}").json():
            self.admin("DELETE", f"/clients/{found['id']}")

    def change_client(self, client_id: str, **changes: Any) -> None:
        client = self.client(client_id)
        client.update(changes)
        self.admin("PUT", f"/clients/{client['id']}", client)

    def change_realm(self, **changes: Any) -> None:
        self.admin("PUT", "", changes)

    def change_realm_attributes(self, changes: Mapping[str, str]) -> None:
        there = self.admin("GET", "").json()["attributes"]
        self.change_realm(attributes={**there, **changes})

    def sessions(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.admin(
            "GET", f"/users/{self.user_id(name)}/sessions"
        ).json()
        return found

    def log_out(self, name: str) -> None:
        """An administrator ends every session of a user."""
        self.admin("POST", f"/users/{self.user_id(name)}/logout")

    def end_session(self, sid: str) -> None:
        """An administrator deletes one session."""
        self.admin("DELETE", f"/sessions/{sid}")

    def logout_all(self) -> Mapping[str, Any]:
        return dict(self.admin("POST", "/logout-all").json() or {})

    def push(self) -> Mapping[str, Any]:
        """Push the realm's not-before to every client."""
        answer = self.admin("POST", "/push-revocation", check=False)
        return dict(json.loads(answer.text or "{}")) | {"status": answer.status_code}

    def nodes(self, client_id: str) -> dict[str, int]:
        return dict(self.client(client_id).get("registeredNodes") or {})

    def password_grant(self, client_id: str, name: str, **form: str) -> dict[str, Any]:
        """Tokens of *name* without a browser."""
        answer = requests.post(
            self.token_endpoint,
            data={
                "grant_type": "password",
                "scope": "openid",
                "username": name,
                "password": name,
                **form,
            },
            auth=(client_id, "secret"),
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())
