"""Keycloak as any OpenID provider: no adapter, Authlib's client logs in, logout tokens end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_clustertoken.extension import state_of
from tests.keycloak.ends import ALL, ONE, Ends
from tests.keycloak.server import Keycloak
from tests.keycloak.visitor import Visitor
from tests.providers.site import Site

pytestmark = pytest.mark.keycloak

#: Two clients of the realm, by whether their logout tokens name the session or the person alone.
CLIENTS = {"session": "true", "person": "false"}


@pytest.fixture(scope="module", params=["session", "cookie"])
def site(
    request: pytest.FixtureRequest, server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Two nodes with that token store, which trust Keycloak through both of its clients."""
    made = Site(f"directory://{tmp_path_factory.mktemp('site')}/shared", request.param)
    try:
        for name, required in CLIENTS.items():
            server.make_client(
                name,
                attributes={
                    "backchannel.logout.url": f"{made.url}/{name}/backchannel-logout",
                    "backchannel.logout.session.required": required,
                },
            )
        server.make_client("other")
        made.trust(server.issuer, {name: name for name in CLIENTS})
        yield made
    finally:
        made.close()
        for name in (*CLIENTS, "other"):
            server.remove_client(name)


@pytest.fixture(autouse=True)
def nobody_is_in(server: Keycloak) -> None:
    """Whom the test before has left logged in there is not told of in this one."""
    server.change_realm(notBefore=0)
    for name in ("alice", "bob"):
        server.log_out(name)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("how", ONE)
def test_out_there_is_out_here(server: Keycloak, site: Site, client: str, how: str) -> None:
    """Whoever ended it there, and wherever: it is ended on each node by the time that Keycloak
    has answered. Others stay, and whoever was logged out may come back."""
    alice, bob = Visitor(site, client, "alice"), Visitor(site, client, "bob")
    before = alice.text

    getattr(Ends(server), how)(alice, "alice")

    assert not alice.stands
    assert alice.get(f"{site.url}/me").status_code == 401
    assert bob.stands

    alice.come(client, "alice")
    assert alice.stands
    assert alice.text != before


@pytest.mark.parametrize("client", CLIENTS)
def test_another_session_of_the_same_person(server: Keycloak, site: Site, client: str) -> None:
    """It goes on where the logout token names the session that ended; where it names the person
    alone, all that the person has by then end, and what comes behind it stands."""
    here, elsewhere = Visitor(site, client, "alice"), Visitor(site, client, "alice")
    told = state_of(site.app).authority.store.read(0).seq

    Ends(server).by_the_account_console(here, "alice")

    assert not here.stands
    assert elsewhere.stands is (client == "session")
    entries = state_of(site.app).authority.store.read(told).entries
    assert len(entries) == 1
    assert (b'"kind":"labels_before"' in entries[0].body) is (client == "person")

    late = Visitor(site, client, "alice")
    assert late.stands
    assert elsewhere.stands is (client == "session")


@pytest.mark.parametrize("client", CLIENTS)
def test_an_administrator_ends_every_session(server: Keycloak, site: Site, client: str) -> None:
    """Of one person, by one log-out there: Keycloak sends a logout token for each."""
    alices, bob = [Visitor(site, client, "alice") for _ in range(3)], Visitor(site, client, "bob")

    Ends(server).by_the_administrator(alices[0], "alice")

    assert [one.stands for one in alices] == [False] * 3
    assert bob.stands


@pytest.mark.parametrize("how", ALL)
def test_what_keycloak_tells_no_plain_client(server: Keycloak, site: Site, how: str) -> None:
    """Everybody logged out at once, and a not-before: sent to admin URLs alone, as the adapter
    has one. The docs say so."""
    alice = Visitor(site, "session", "alice")
    ends = Ends(server)

    getattr(ends, how)(alice, "alice")

    assert alice.stands
    ends.after()
    server.change_realm(notBefore=0)
