"""A gateway on a store in memory, and a proxy in front of it that says what it is told to say."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.gateway import Gateway, GatewayOptions
from tests.doubles import Cluster

COOKIE = "__Host-clustertoken"
HOST = "app.example"

#: Where the trusted proxy is, in these tests.
PROXY = "10.0.0.1"

NAMES = ("X-Auth-Subject", "X-Auth-Kind", "X-Auth-Token-Id", "X-Auth-Scopes", "X-Auth-Claims")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __getitem__(self, name: str) -> str | None:
        """The header *name*; ``None``: it is not there."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]

    @property
    def identity(self) -> dict[str, str]:
        """The identity headers; each has to be there exactly once."""
        found = {name: self.all(name) for name in NAMES}
        assert all(len(values) == 1 for values in found.values()), found
        return {name.removeprefix("X-Auth-"): values[0] for name, values in found.items()}

    @property
    def claims(self) -> Any:
        text = self.identity["Claims"]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))

    @property
    def max_age(self) -> int:
        """For how long it may be kept; 0: not at all."""
        said = self["Cache-Control"] or ""
        return int(said.partition("max-age=")[2] or 0) if said != "no-store" else 0


class Door:
    """Asks a gateway as proxies and services do."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    @property
    def authority(self) -> TokenAuthority:
        return self.gateway.authority

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        peer: str = PROXY,
    ) -> Answer:
        path, _, query = path.partition("?")
        builder = EnvironBuilder(
            path=path,
            method=method,
            query_string=query,
            input_stream=None,
            data=body or None,
            headers={"Host": HOST, **(headers or {})},
            environ_base={"REMOTE_ADDR": peer},
        )
        environ = builder.get_environ()
        environ["PATH_INFO"] = path  # as it came: no dot is resolved
        sent, status, found = run_wsgi_app(self.gateway, environ)
        return Answer(int(status.split()[0]), list(found), b"".join(sent))

    def auth(
        self,
        text: str | None = None,
        *,
        bearer: str | None = None,
        method: str | None = "GET",
        query: str = "",
        peer: str = PROXY,
        **headers: str,
    ) -> Answer:
        """As nginx asks: by GET, with the original's headers and method."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if method is not None:
            given["X-Original-Method"] = method
        if text is not None:
            given["Cookie"] = f"{COOKIE}={text}"
        if bearer is not None:
            given["Authorization"] = f"Bearer {bearer}"
        return self.ask("GET", f"/auth?{query}" if query else "/auth", given, peer=peer)

    def post(self, path: str, caller: str | None, peer: str = "10.9.9.9", **form: str) -> Answer:
        """As a service asks, with its API token."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if caller is not None:
            headers["Authorization"] = f"Bearer {caller}"
        return self.ask("POST", path, headers, body=urlencode(form).encode(), peer=peer)

    def end_person(self, caller: str | None, sub_id: object) -> Answer:
        headers = {"Content-Type": "application/json"}
        if caller is not None:
            headers["Authorization"] = f"Bearer {caller}"
        body = json.dumps({"sub_id": sub_id}).encode()
        return self.ask("POST", "/global-token-revocation", headers, body=body)

    # tokens

    def login(self, subject: str = "alice", claims: Any = None, **more: Any) -> str:
        return self.authority.issue_login(subject, claims, **more).text

    def api_token(self, *scopes: str, subject: str = "service") -> str:
        return self.authority.issue_api_token(subject, "a service", scopes=scopes).text


def door(cluster: Cluster, *, subject_of: Any = None, gateway: Any = None, **settings: Any) -> Door:
    """A gateway that is a node of *cluster*, behind the proxy."""
    options = {"GATEWAY_TRUSTED": [PROXY], **(gateway or {})}
    made = GatewayOptions.from_mapping(
        {f"CLUSTERTOKEN_{name}": value for name, value in options.items()}
    )
    return Door(Gateway(cluster.node(**settings), made, subject_of=subject_of))
