"""Keycloak as any OpenID provider, without the adapter: Authlib's client, back-channel logout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token
from tests.keycloak.server import Keycloak
from tests.providers.site import Person, Site
from tests.waiting import wait_until

pytestmark = pytest.mark.keycloak


@pytest.fixture(params=["session", "cookie"])
def site(request: pytest.FixtureRequest, tmp_path: Path, server: Keycloak) -> Iterator[Site]:
    """Two nodes of an app that is two clients: Keycloak names the session to one of them."""
    made = Site(f"directory://{tmp_path}/shared", request.param)
    for name in ("session", "person"):
        server.make_client(
            name,
            attributes={
                "backchannel.logout.url": f"{made.url}/{name}/backchannel-logout",
                "backchannel.logout.session.required": str(name == "session").lower(),
            },
        )
    made.trust(server.issuer, {"session": "session", "person": "person"})
    yield made
    made.close()
    for name in ("session", "person"):
        server.remove_client(name)


def log_in(person: Person, site: Site, name: str, who: str) -> None:
    page = person.get(f"{site.url}/login/{name}")
    if not page.url.startswith(site.url):
        page = person.submit(page, username=who, password=who)
    assert page.url == f"{site.url}/me", page.text[:1000]


@pytest.mark.parametrize("name", ["session", "person"])
def test_plain_backchannel_logout(site: Site, server: Keycloak, name: str) -> None:
    """An administrator ends one session. Named, it alone ends here, on every node; not named,
    all that the person has by now. Whoever was logged out may come back."""
    alice, elsewhere, bob = Person(), Person(), Person()
    log_in(alice, site, name, "alice")
    (mine,) = server.sessions("alice")
    log_in(elsewhere, site, name, "alice")
    log_in(bob, site, name, "bob")
    cookie = alice.cookie(state_of(site.app).settings.cookie.name)

    server.end_session(mine["id"])

    wait_until(lambda: not alice.is_in(site.url), 30)
    for node in site.nodes:
        assert not isinstance(state_of(node).authority.authenticate(cookie), Token)
    assert elsewhere.is_in(site.url) is (name == "session")
    assert bob.is_in(site.url)

    log_in(alice, site, name, "alice")
    assert alice.is_in(site.url)
