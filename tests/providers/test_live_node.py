"""Log-outs at node-oidc-provider, which nobody here has written, with Authlib's client here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token
from tests.providers.node_provider import NodeProvider
from tests.providers.site import Person, Site
from tests.servers.running import started
from tests.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(params=["session", "cookie"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(f"directory://{tmp_path}/shared", request.param)
    yield made
    made.close()


@pytest.fixture
def provider(site: Site) -> Iterator[NodeProvider]:
    for running in started(lambda: NodeProvider(site.url)):
        site.trust(running.issuer, {"session": "session", "person": "person"})
        yield running


def log_in(person: Person, site: Site, name: str, login: str) -> None:
    page = person.get(f"{site.url}/login/{name}")
    for _ in range(3):
        if page.url.startswith(site.url):
            break
        fields = {"login": login, "password": "any"} if 'name="login"' in page.text else {}
        page = person.submit(page, **fields)
    assert page.url == f"{site.url}/me", page.text[:1000]
    assert page.json()["subject"] == login


def log_out_there(person: Person, provider: NodeProvider) -> None:
    page = person.get(f"{provider.issuer}/session/end")
    person.submit(page, logout="yes")


@pytest.mark.parametrize("name", ["session", "person"])
def test_out_there_is_out_here(site: Site, provider: NodeProvider, name: str) -> None:
    """With a logout token that names the session, and with one that names the person only. On
    every node; others stay in, and whoever was logged out may come back."""
    alice, elsewhere, bob = Person(), Person(), Person()
    log_in(alice, site, name, "alice")
    log_in(elsewhere, site, name, "alice")
    log_in(bob, site, name, "bob")
    cookie = alice.cookie(state_of(site.app).settings.cookie.name)

    log_out_there(alice, provider)

    # (It does not wait for our answer before it answers.)
    wait_until(lambda: not alice.is_in(site.url), 30)
    for node in site.nodes:
        assert not isinstance(state_of(node).authority.authenticate(cookie), Token)
    assert elsewhere.is_in(site.url) is (name == "session")
    assert bob.is_in(site.url)
    assert f"told {name}" in provider.log

    log_in(alice, site, name, "alice")
    assert alice.is_in(site.url)
