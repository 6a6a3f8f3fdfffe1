"""The site of the docs: the Flask example, a service in Node and one in Go, behind one login."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.binding.parts import new_key, parameter, proof
from tests.gunicorn.server import COOKIE, GunicornServer
from tests.servers.ports import spare_ports
from tests.servers.running import Running

from .programs import PROXIES, Go, Node, Program

#: A page of each that needs a login: the app's own, and those that the proxy guards.
PAGES = ("/api/me", "/orders/", "/reports/")
#: Those on which the services ask the gateway themselves; they are behind the proxy as well.
ASKED = ("/orders/asked", "/reports/asked")

#: Seconds that a node of the site goes without a contact with its store.
STALENESS = 2.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]

    def __getitem__(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    @property
    def cookies(self) -> dict[str, str]:
        """What was set, by name."""
        pairs = [header.partition(";")[0].partition("=") for header in self.all("Set-Cookie")]
        return {name: value for name, _, value in pairs}

    @property
    def cookie(self) -> str | None:
        """What was set as our login."""
        return self.cookies.get(COOKIE)

    @property
    def service_saw(self) -> list[tuple[str, str]]:
        """The headers that a service behind the proxy got."""
        found = self.json["headers"]
        if isinstance(found, list):  # Node: names and values in turn
            return list(zip(found[::2], found[1::2], strict=True))
        return [(name, value) for name, values in found.items() for value in values]


def gateway_server(folder: Path, store: str, **settings: object) -> GunicornServer:
    """The gateway under gunicorn, as the docs start it."""
    return GunicornServer(
        folder,
        *("--config", "python:flask_clustertoken.gunicorn", "--worker-class", "gthread"),
        *("--threads", "4"),
        app="flask_clustertoken.gateway:create_app()",
        workers=1,
        hooks=False,
        settings={
            "STORE": store,
            "COOKIE_SECURE": "false",
            "MAX_STALENESS": STALENESS,
            "GATEWAY_TRUSTED": "127.0.0.1",
            **settings,
        },
    )


class Site(Running):
    """All of it, on spare ports of this machine; each of *proxies* in front of the same servers."""

    def __init__(
        self,
        folder: Path,
        proxies: Sequence[str] = tuple(PROXIES),
        store: str = "",
        **settings: object,
    ) -> None:
        self.folder = folder
        self._names = proxies
        self._store = store or f"directory://{folder}/instance/shared"
        self._settings = settings
        self._running = ExitStack()
        self.proxies: dict[str, Program] = {}

    def start(self) -> None:
        enter = self._running.enter_context
        settings = {"MAX_STALENESS": STALENESS, "STORE": self._store, **self._settings}
        # (Threads: nginx and Caddy keep no connection, and two proxies ask at once.)
        self.app = enter(GunicornServer(self.folder, workers=1, settings=settings))
        self.gateway = enter(gateway_server(self.folder, self._store, **self._settings))
        asking = {
            "GATEWAY": f"http://127.0.0.1:{self.gateway.port}",
            "GATEWAY_TOKEN": self.api_token("introspect"),
            "COOKIE_NAME": COOKIE,
        }
        node, go = Node(self.folder), Go(self.folder)
        for service in (node, go):
            service.environment |= asking
            enter(service)
        for name in self._names:
            ports = {
                8080: spare_ports(1)[0],
                8000: self.app.port,
                9000: self.gateway.port,
                9001: node.port,
                9002: go.port,
            }
            here = self.folder / name
            here.mkdir(exist_ok=True)
            self.proxies[name] = enter(PROXIES[name](here, ports))

    def stop(self) -> None:
        self._running.close()

    def api_token(self, *scopes: str, subject: str = "services") -> str:
        said = self.app.flask("tokens", "issue-api", subject, "services", "--json", *_each(scopes))
        text: str = json.loads(said)["text"]
        return text

    def ask(
        self,
        proxy: str,
        path: str,
        cookie: str | None = None,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Answer:
        """One request through *proxy*; *headers* are sent as they are, also twice."""
        connection = HTTPConnection("127.0.0.1", self.proxies[proxy].port, timeout=30)
        try:
            connection.putrequest(method, path)
            if cookie is not None:
                connection.putheader("Cookie", f"{COOKIE}={cookie}")
            if body or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def raw(self, proxy: str, text: bytes) -> bytes:
        """What comes back for bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.proxies[proxy].port), 30) as line:
            line.sendall(text)
            received = b""
            while piece := line.recv(65_536):
                received += piece
        return received

    def login(self, proxy: str, name: str = "alice") -> str:
        """The cookie of a login at the app, through *proxy*."""
        answer = self._log_in(proxy, name)
        assert answer.cookie
        return answer.cookie

    def _log_in(self, proxy: str, name: str) -> Answer:
        body = json.dumps({"username": name, "password": name}).encode()
        kind = [("Content-Type", "application/json")]
        answer = self.ask(proxy, "/login", method="POST", headers=kind, body=body)
        assert answer.status == 200, answer.body
        return answer

    def bound_login(self, proxy: str, name: str = "alice") -> tuple[str, str]:
        """Both cookies of a login that is bound to a device, by the steps that a browser takes."""
        offer = self._log_in(proxy, name)
        assert offer.cookie
        said = offer["Secure-Session-Registration"] or ""
        key = new_key()
        proven = ("Secure-Session-Response", proof(key, parameter(said, "challenge"), brings=key))
        answer = self.ask(proxy, parameter(said, "path"), offer.cookie, "POST", [proven])
        assert answer.status == 200, answer.body
        assert answer.cookie
        return answer.cookie, answer.cookies[f"{COOKIE}-bound"]

    def statuses(self, proxy: str, cookie: str, pages: Sequence[str] = PAGES) -> list[int]:
        return [self.ask(proxy, page, cookie).status for page in pages]


def _each(scopes: Sequence[str]) -> list[str]:
    return [part for one in scopes for part in ("--scope", one)]
