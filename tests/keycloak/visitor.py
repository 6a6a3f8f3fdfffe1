"""A person whom Keycloak lets in to a site that has no adapter."""

from __future__ import annotations

from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token
from tests.keycloak.person import Person
from tests.providers.site import Site
from tests.waiting import wait_until


class Visitor(Person):
    """A person with one login at the site, through one of Keycloak's clients."""

    def __init__(self, site: Site, client: str, name: str) -> None:
        super().__init__()
        self.site = site
        self.come(client, name)

    def come(self, client: str, name: str) -> None:
        page = self.log_in(self.site.url, name, f"/login/{client}")
        assert page.url == f"{self.site.url}/me", page.text[:500]

    @property
    def text(self) -> str:
        return self.cookies["127.0.0.1", "/", state_of(self.site.app).settings.cookie.name]

    @property
    def stands(self) -> bool:
        """Whether the login does: every node says the same, once it knows."""
        said: list[set[bool | None]] = []
        wait_until(lambda: said.append(self._said()) or None not in said[-1])  # type: ignore[func-returns-value]
        (found,) = said[-1]
        return bool(found)

    def _said(self) -> set[bool | None]:
        """What the nodes say; ``None``: one is stale for a moment, on a busy machine."""
        found: set[bool | None] = set()
        for node in self.site.nodes:
            answer = state_of(node).authority.authenticate(self.text)
            if isinstance(answer, Token):
                found.add(True)
            else:
                found.add(None if answer.reason == "stale" else False)
        return found
