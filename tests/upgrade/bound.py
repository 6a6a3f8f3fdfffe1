"""A browser that takes an offer to bind its login, at hosts of both versions."""

from __future__ import annotations

import requests

from tests.binding.parts import REGISTRATION, new_key, parameter, proof
from tests.waiting import wait_until

from .crowd import Node
from .rolling import PATIENCE, Deployment

LOGIN, BOUND = "clustertoken", "clustertoken-bound"

#: A node's several workers: each of them has been asked most likely.
OFTEN = 6


class Browser:
    """Its cookies go to every host: they are one site."""

    def __init__(self) -> None:
        self._http = requests.Session()
        self.key = new_key()
        self.offered = ""

    def ask(self, node: Node, method: str, path: str, **headers: str) -> int:
        url = f"http://127.0.0.1:{node.server.port}{path}"
        answer = self._http.request(method, url, headers=headers, timeout=60)
        self.offered = answer.headers.get(REGISTRATION, "") or self.offered
        return answer.status_code

    def log_in(self, node: Node) -> None:
        wait_until(lambda: self.ask(node, "POST", "/login/alice") == 200, PATIENCE)

    def register(self, node: Node) -> int:
        said = proof(self.key, parameter(self.offered, "challenge"), brings=self.key)
        path = parameter(self.offered, "path")
        return self.ask(node, "POST", path, **{"Secure-Session-Response": said})

    def has(self, name: str) -> str:
        return self._http.cookies.get(name) or ""

    def copy(self, *names: str) -> Browser:
        """Who has taken these cookies along."""
        other = Browser()
        for name in names:
            other._http.cookies.set(name, self.has(name))
        return other

    def says(self, node: Node) -> set[int]:
        """What *node* says of its login."""
        return {self.ask(node, "GET", "/me") for _ in range(OFTEN)}

    def is_let_in(self, node: Node) -> bool:
        return self.says(node) == {200}


def bind_beside_old_hosts(deployment: Deployment) -> None:
    """While an old host is there, nobody's login is bound, and everybody's is good at both; what is
    bound later is good nowhere without its proof, and not at an old host that comes back."""
    old, new = deployment.start_all(True, False)
    browser = Browser()
    browser.log_in(new)
    assert browser.offered
    for _ in range(3):
        assert browser.register(new) == 503
    for node in (old, new):
        wait_until(lambda node=node: browser.is_let_in(node), PATIENCE)  # type: ignore[misc]
    assert not browser.has(BOUND)

    deployment.stop(old)
    browser.log_in(new)
    wait_until(lambda: browser.register(new) == 200, PATIENCE)
    thief, stranger = browser.copy(LOGIN), Browser()
    wait_until(lambda: browser.is_let_in(new), PATIENCE)
    assert 200 not in thief.says(new)

    late = deployment.start(old=True, ready=False)
    stranger.log_in(new)
    # (The old host is in the best of health: an unbound login is good there.)
    wait_until(lambda: stranger.is_let_in(late), PATIENCE)
    for one in (thief, browser):
        assert 200 not in one.says(late)
    wait_until(lambda: stranger.is_let_in(late), PATIENCE)
    # It has taken nothing away from anybody.
    assert browser.has(LOGIN)
    wait_until(lambda: browser.is_let_in(new), PATIENCE)
