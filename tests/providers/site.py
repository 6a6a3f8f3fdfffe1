"""An app at a real address, whose logins a real provider vouches for, by Authlib's client."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urljoin

import requests
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, url_for
from werkzeug.serving import make_server

from flask_clustertoken import ClusterToken
from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import BackChannelLogout
from tests.providers.app import bare_app


class Site:
    """Two nodes of one app; the first answers at :attr:`url`. Its logins are made by hand of
    Authlib: what ours adds is the labels."""

    def __init__(self, store: str, token_store: str) -> None:
        # (The address has to be known before the provider is.)
        self.nodes = [bare_app(store, token_store, SECRET_KEY="of Authlib's cookie") for _ in "ab"]
        self.app = self.nodes[0]
        self._oauth = OAuth(self.app)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.providers: dict[str, BackChannelLogout] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def trust(self, issuer: str, names: Mapping[str, str]) -> None:
        """Logins by *issuer*: its clients, by the name of the addresses here."""
        tokens = ClusterToken()
        for name, client_id in names.items():
            self._oauth.register(
                name,
                server_metadata_url=f"{issuer}/.well-known/openid-configuration",
                client_id=client_id,
                client_secret="secret",
                client_kwargs={"scope": "openid"},
            )
            provider = BackChannelLogout(issuer=issuer, client_id=client_id, name=name)
            for node in self.nodes:
                provider.init_app(node)
            self.providers[name] = provider
        add_views(self.app, self._oauth, tokens, self.providers)
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(10)
        self._server.server_close()
        for node in self.nodes:
            state_of(node).authority.close()


def add_views(
    app: Flask, oauth: OAuth, tokens: ClusterToken, providers: Mapping[str, BackChannelLogout]
) -> None:
    """Login and callback for each provider."""

    @app.get("/login/<name>")
    def login(name: str) -> Any:
        return oauth.create_client(name).authorize_redirect(
            url_for("callback", name=name, _external=True)
        )

    @app.get("/callback/<name>")
    def callback(name: str) -> Any:
        since = tokens.login_begins()
        userinfo = oauth.create_client(name).authorize_access_token()["userinfo"]
        tokens.login(userinfo["sub"], since=since, labels=providers[name].labels(userinfo))
        return redirect("/me")


class Person:
    """A browser that fills in forms, and remembers what it is told."""

    def __init__(self) -> None:
        self._http = requests.Session()

    def get(self, url: str) -> requests.Response:
        return self._http.get(url, timeout=60)

    def submit(self, page: requests.Response, **fields: str) -> requests.Response:
        """Send the first form of *page*, filled in with *fields*."""
        form = re.search(r"<form\b.*?</form>", page.text, re.S)
        assert form, page.text[:2000]
        action = re.search(r'action="([^"]*)"', form[0])
        given = {
            name[1]: unescape(value[1]) if (value := re.search(r'value="([^"]*)"', one)) else ""
            for one in re.findall(r"<input\b[^>]*>", form[0])
            if (name := re.search(r'name="([^"]*)"', one))
        }
        where = urljoin(page.url, unescape(action[1])) if action else page.url
        return self._http.post(where, data={**given, **fields}, timeout=60)

    def is_in(self, app: str) -> bool:
        return self.get(f"{app}/me").status_code == 200

    def cookie(self, name: str) -> str:
        return next(one.value or "" for one in self._http.cookies if one.name == name)
