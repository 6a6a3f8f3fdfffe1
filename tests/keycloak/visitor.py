"""A person whom Keycloak lets in to a site that has no adapter."""

from __future__ import annotations

from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token
from tests.keycloak.person import Person
from tests.providers.site import Site


class Visitor(Person):
    """A person with one login at the site, through one of Keycloak's clients."""

    def __init__(self, site: Site, client: str, name: str) -> None:
        super().__init__()
        self._site = site
        self.come(client, name)

    def come(self, client: str, name: str) -> None:
        page = self.log_in(self._site.url, name, f"/login/{client}")
        assert page.url == f"{self._site.url}/me", page.text[:500]

    @property
    def text(self) -> str:
        return self.cookies["127.0.0.1", "/", state_of(self._site.app).settings.cookie.name]

    @property
    def stands(self) -> bool:
        """Whether the login does, on every node; they are of one mind within moments."""
        found = {
            isinstance(state_of(node).authority.authenticate(self.text), Token)
            for node in self._site.nodes
        }
        assert len(found) == 1
        return found.pop()
