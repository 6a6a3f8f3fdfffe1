"""A site with the pages of a user's own devices, on each store that needs no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_clustertoken import ClusterToken
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.console import Devices
from flask_clustertoken.extension import state_of
from tests.extension.parts import SECRET

AT = "/account/devices"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Site:
    """An app with devices, of which anybody may log in as anybody."""

    def __init__(
        self, folder: Path, clock: ManualClock | None, pages: dict[str, Any], **settings: Any
    ) -> None:
        self.clock = clock
        self.app = app = Flask("site", instance_path=str(folder), root_path=str(folder))
        given = {"STORE": "memory:", "SECRET": SECRET, "COOKIE_SECURE": False}
        given |= {"LOGIN_VIEW": "login_page", **settings}
        app.config.update({f"CLUSTERTOKEN_{key}": value for key, value in given.items()})
        self.tokens = tokens = ClusterToken(app, clock=clock)
        self.devices = Devices(app, **pages)

        @app.post("/login")
        def login() -> str:
            return tokens.login(request.form["name"], device=request.form.get("device")).id

        @app.get("/login")
        def login_page() -> str:
            return "please log in"

        @app.get("/me")
        def me() -> str:
            from flask_clustertoken import require_token

            return require_token().subject

    @property
    def authority(self) -> TokenAuthority:
        return state_of(self.app).authority

    def person(self, name: str = "alice", device: str | None = None, agent: str = "") -> Person:
        return Person(self, name, device, agent)


class Person:
    """Somebody with a browser of their own, logged in."""

    def __init__(self, site: Site, name: str, device: str | None, agent: str) -> None:
        self.client: FlaskClient = site.app.test_client()
        form = {"name": name} if device is None else {"name": name, "device": device}
        self.id = self.client.post("/login", data=form, headers={"User-Agent": agent}).text

    def get(self, path: str, status: int = 200, **headers: str) -> str:
        answer = self.client.get(path, headers={**HTML, **headers})
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, status: int = 303, **form: str) -> str:
        """Where it leads; the page, where it leads nowhere."""
        answer = self.client.post(path, data=form, headers=HTML)
        assert answer.status_code == status, answer.text
        return answer.location or answer.text

    @property
    def is_logged_in(self) -> bool:
        return self.client.get("/me").status_code == 200


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path, clock: ManualClock) -> Iterator[MakeSite]:
    """Makes sites: settings by name in capitals, arguments of :class:`Devices` in small letters."""
    made: list[Site] = []

    def make(**given: Any) -> Site:
        settings = {name: value for name, value in given.items() if name.isupper()}
        pages = {name: value for name, value in given.items() if not name.isupper()}
        if settings.get("STORE") == "directory:":
            settings["STORE"] = f"directory://{tmp_path / 'shared'}"
        folder = tmp_path / f"site-{len(made)}"
        folder.mkdir()
        made.append(Site(folder, clock, pages, **settings))
        return made[-1]

    yield make
    for one in made:
        one.authority.close()
