"""Shared signals of a real transmitter: Keycloak's, experimental since 26.7, polled and pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from flask import Flask

from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import (
    ClientCredentials,
    SecurityEvent,
    SharedSignals,
    security_event,
    stream_parts,
)
from tests.keycloak.ends import Ends
from tests.keycloak.server import Keycloak
from tests.keycloak.visitor import Visitor
from tests.providers.site import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.keycloak

#: The client of the realm that people log in by, and that listens.
CLIENT = "signals"

#: How it spells events: by the standard, and still, for Apple, as the drafts before it had them.
PROFILES = {"today": "SSF_1_0", "legacy": "SSE_CAEP"}


def make_client(server: Keycloak, name: str, profile: str = "today", push_to: str = "") -> None:
    """One that may make its stream. (It has no address for logout tokens.)"""
    server.make_client(
        name,
        serviceAccountsEnabled=True,
        optionalClientScopes=["ssf.read", "ssf.manage"],
        attributes={
            "ssf.enabled": "true",
            "ssf.profile": PROFILES[profile],
            "ssf.defaultSubjects": "ALL",
            "ssf.validPushUrls": push_to,
        },
    )


class Listening:
    """A site whose log-outs come as signals alone, for *client*."""

    def __init__(
        self, server: Keycloak, site: Site, client: str, by: Literal["poll", "push"] = "poll"
    ) -> None:
        self.server, self.site, self.by = server, site, by
        #: What the app was told of that ends nothing, by whichever node.
        self.told: list[SecurityEvent] = []
        push = {"push_url": f"{site.url}/signals/events", "push_authorization": "Bearer a-secret"}
        for node in site.nodes:
            SharedSignals(
                node,
                transmitter=server.issuer,
                credentials=ClientCredentials(client, "secret"),
                delivery=by,
                poll_every=1.0,
                **(push if by == "push" else {}),
            )
        site.trust(server.issuer, {"login": client})
        for node in site.nodes:
            state_of(node).authority.follower()

    def hear(self, _: Flask, event: SecurityEvent, **__: Any) -> None:
        if not event.ended:
            self.told.append(event)

    @property
    def parts(self) -> Any:
        return stream_parts(self.site.app)

    @property
    def ids(self) -> list[str]:
        return [str(one["stream_id"]) for one in self.parts.transmitter.streams()]

    @property
    def stream(self) -> Mapping[str, Any]:
        """The one stream that there is at Keycloak."""
        (found,) = self.parts.transmitter.streams()
        return dict(found)

    @property
    def is_heard(self) -> bool:
        said = self.parts.records.source()
        return said is not None and said.heard_at > 0

    def visitor(self, name: str) -> Visitor:
        return Visitor(self.site, "login", name)

    def revocations(self) -> list[str]:
        """What the feed holds, by kind."""
        entries = state_of(self.site.app).authority.store.read(0).entries
        kinds = [json.loads(one.body)["kind"] for one in entries]
        return [one for one in kinds if one in ("labels", "labels_before", "subject", "ids")]


WAYS = (
    ("poll", "today", "session"),
    ("push", "today", "cookie"),
    ("poll", "legacy", "cookie"),
    ("push", "legacy", "session"),
)


@pytest.fixture(scope="module")
def transmitter(server: Keycloak) -> Iterator[Keycloak]:
    """Keycloak, whose realm tells of its events; nobody is logged in there."""
    for name in ("alice", "bob"):
        server.log_out(name)
    server.make_client("other")
    server.change_realm_attributes({"ssf.transmitterEnabled": "true"})
    yield server
    server.change_realm_attributes({"ssf.transmitterEnabled": "false"})
    server.remove_client("other")


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def listening(
    request: pytest.FixtureRequest,
    transmitter: Keycloak,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Listening]:
    by, profile, token_store = request.param
    site = Site(f"directory://{tmp_path_factory.mktemp('signals')}/shared", token_store)
    try:
        make_client(transmitter, CLIENT, profile, f"{site.url}/*")
        made = Listening(transmitter, site, CLIENT, by)
        with security_event.connected_to(made.hear):
            wait_until(lambda: made.is_heard, 60)
            yield made
    finally:
        site.close()
        transmitter.remove_client(CLIENT)


def test_the_stream_is_made_and_verified(listening: Listening) -> None:
    """Nobody has set it up by hand. It is heard of what we alone know, and nothing is wrong."""
    stream = listening.stream
    method = {"poll": "urn:ietf:rfc:8936", "push": "urn:ietf:rfc:8935"}[listening.by]
    assert stream["delivery"]["method"] == method
    assert listening.parts.transmitter.status(stream["stream_id"]) == "enabled"

    said = listening.parts.records.source()
    assert said.silent_after >= 3 * stream["min_verification_interval"]
    assert said.trouble == ""


def test_an_administrator_logs_a_person_out(listening: Listening) -> None:
    """All sessions of that person end by one event; and what comes behind it stands."""
    alice, elsewhere, bob = (listening.visitor(name) for name in ("alice", "alice", "bob"))
    before = listening.revocations()

    listening.server.log_out("alice")

    wait_until(lambda: not alice.stands, 60)
    assert not elsewhere.stands
    assert bob.stands
    assert listening.revocations() == [*before, "labels_before"]
    alice.come("login", "alice")
    assert alice.stands


def test_one_session_ends(listening: Listening) -> None:
    """At another app of the same session: every login of the session here, and no other."""
    alice, elsewhere = listening.visitor("alice"), listening.visitor("alice")
    before = listening.revocations()

    Ends(listening.server).by_another_app_and_back(alice, "alice")

    wait_until(lambda: not alice.stands, 60)
    assert elsewhere.stands
    assert listening.revocations() == [*before, "labels"]


def reset_password(server: Keycloak, name: str) -> None:
    new = {"type": "password", "value": name, "temporary": False}
    server.admin("PUT", f"/users/{server.user_id(name)}/reset-password", new)


def test_what_ends_nothing_is_told_to_the_app(listening: Listening) -> None:
    """A new password: once, by one node; and it is acknowledged."""
    bob = listening.visitor("bob")
    listening.told.clear()

    reset_password(listening.server, "bob")

    wait_until(lambda: listening.told, 60)
    if listening.by == "poll":
        url = listening.stream["delivery"]["endpoint_url"]
        polled = listening.parts.transmitter.poll
        wait_until(lambda: not polled(url, most=10, ack=(), errors={}).sets, 60)
    (event,) = listening.told
    assert event.short_type == "credential-change"
    assert event.payload["credential_type"] == "password"
    # (Before the final specification the subject stood in the event.)
    profile = listening.server.client(CLIENT)["attributes"]["ssf.profile"]
    assert ("subject" in event.payload) is (profile == PROFILES["legacy"])
    assert not event.ended
    assert bob.stands


@pytest.mark.parametrize("listening", [WAYS[0]], indirect=True, ids="-".join)
def test_what_keycloak_keeps_to_itself(listening: Listening) -> None:
    """A session that is deleted by itself, one that a person ends on the account's page, everybody
    logged out at once: no event, as of 26.7.5. The docs say so, and what to do."""
    ends = Ends(listening.server)
    deleted = listening.visitor("alice")
    ends.by_deleting_the_session(deleted, "alice")
    account = listening.visitor("alice")
    ends.by_the_account_console(account, "alice")
    everybody = listening.visitor("alice")
    ends.by_logging_all_out(everybody, "alice")
    listening.server.change_realm(notBefore=0)
    listening.told.clear()

    # (Events come in order: with this one, theirs would be here.)
    reset_password(listening.server, "bob")
    wait_until(lambda: listening.told, 60)

    assert [one.stands for one in (deleted, account, everybody)] == [True] * 3


@pytest.mark.parametrize("listening", [WAYS[0]], indirect=True, ids="-".join)
def test_a_stream_that_was_deleted_there_is_made_again(listening: Listening) -> None:
    """By an administrator, say; and what it tells then counts. (A poll notices at once. One that
    is pushed is missed with the next look at it, ten minutes later at most.)"""
    gone = listening.stream["stream_id"]
    alice = listening.visitor("alice")

    listening.parts.transmitter.delete(gone)

    wait_until(lambda: listening.ids not in ([], [gone]), 60)
    listening.server.log_out("alice")
    wait_until(lambda: not alice.stands, 60)


def test_what_happened_while_nothing_ran_is_heard_later(
    transmitter: Keycloak, tmp_path: Path
) -> None:
    """A log-out between the last node's end and the next one's start: kept there until then."""
    place, client = f"directory://{tmp_path}/shared", "again"
    make_client(transmitter, client)
    before, after = Site(place, "session"), None
    try:
        listening = Listening(transmitter, before, client)
        wait_until(lambda: listening.is_heard, 60)
        alice, bob = listening.visitor("alice"), listening.visitor("bob")
        before.close()

        transmitter.log_out("alice")

        after = Site(place, "session")
        Listening(transmitter, after, client)
        for visitor in (alice, bob):
            visitor.site = after
        wait_until(lambda: not alice.stands, 60)
        assert bob.stands
    finally:
        (after or before).close()
        transmitter.remove_client(client)
