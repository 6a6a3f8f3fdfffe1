"""A person with a browser, without the browser: cookies, redirects, Keycloak's login form.

Keycloak's cookies are ``Secure`` also over plain HTTP on loopback. A browser sends them there;
Python's cookie jars do not. So cookies are kept by hand.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import requests

from flask_clustertoken.keycloak.sessions.refresher import REFRESH_MARGIN
from tests.waiting import wait_past


def wait_until_due(token: str) -> None:
    """Return once *token*, an access token, is so near its end that it is refreshed."""
    body = token.split(".")[1]
    said = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    # It is kept by the seconds that it was said to live when it came, up to one later than this.
    wait_past(said["exp"] - REFRESH_MARGIN + 1.5)


class Person:
    """One browser profile. Cookies go by host and path; ports share them, as in browsers."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str, str], str] = {}
        self._http = requests.Session()
        self.visited: list[str] = []

    def _header(self, url: str) -> str:
        parts = urlsplit(url)
        found = [
            f"{name}={value}"
            for (host, path, name), value in self.cookies.items()
            if host == parts.hostname and (parts.path or "/").startswith(path)
        ]
        return "; ".join(found)

    def _keep(self, url: str, answer: requests.Response) -> None:
        host = urlsplit(url).hostname or ""
        for header in answer.raw.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(header).items():
                key = (host, morsel["path"] or "/", name)
                if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = morsel.value

    def ask(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> requests.Response:
        """A request, with redirects followed and cookies kept."""
        for _ in range(20):
            self.visited.append(url)
            answer = self._http.request(
                method,
                url,
                data=data,
                headers={"Accept": "text/html", **(headers or {}), "Cookie": self._header(url)},
                allow_redirects=False,
                timeout=30,
            )
            self._http.cookies.clear()
            self._keep(url, answer)
            if not follow or answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            url = urljoin(url, answer.headers["Location"])
            if answer.status_code < 307:
                method, data = "GET", None
        raise AssertionError("redirected in a loop: " + " → ".join(self.visited[-20:]))

    def get(self, url: str, **given: object) -> requests.Response:
        return self.ask("GET", url, **given)  # type: ignore[arg-type]

    def post(self, url: str, **given: object) -> requests.Response:
        return self.ask("POST", url, **given)  # type: ignore[arg-type]

    def fill_in(self, page: requests.Response, name: str, password: str = "") -> requests.Response:
        """Answer Keycloak's login form."""
        form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', page.text)
        assert form is not None, f"no login form: {page.status_code} {page.text[:500]}"
        return self.post(
            unescape(form[1]),
            data={"username": name, "password": password or name, "credentialId": ""},
        )

    def log_in(self, app: str, name: str, path: str = "/me") -> requests.Response:
        """Ask for a protected page of *app*, log in at Keycloak where it asks, and arrive."""
        page = self.get(app + path)
        return self.fill_in(page, name) if "kc-form-login" in page.text else page

    def copy(self) -> Person:
        """The same browser a moment later: same cookies."""
        other = Person()
        other.cookies = dict(self.cookies)
        return other
