"""Nothing of the provider's is handed out, or kept, on the strength of a login that has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, jsonify

from flask_clustertoken import token_required
from flask_clustertoken.errors import HeadMoved, StoreUnavailable
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak import NoProviderTokens, keycloak_token
from flask_clustertoken.keycloak.sessions import refresher
from flask_clustertoken.stores.base import Put
from tests.keycloak.app import Make, create_app
from tests.keycloak.issuer import Issuer
from tests.keycloak.refreshing import Refreshing


def ways_to_end(refreshing: Refreshing) -> dict[str, Callable[[], object]]:
    """How the login can be ended, at the second node."""
    authority = state_of(refreshing.apps[1]).authority
    return {
        "all": authority.revoke_all,
        "subject": lambda: authority.revoke_subject("alice"),
        "id": lambda: authority.revoke_ids([refreshing.token.id]),
        "label": lambda: authority.revoke_labels([refreshing.sid]),
    }


class Writes:
    """What the first node writes of the login's tokens; *before* is called before each try."""

    def __init__(
        self, refreshing: Refreshing, patch: pytest.MonkeyPatch, before: Callable[[], object]
    ) -> None:
        store = state_of(refreshing.apps[0]).authority.store
        self._usual = store.append
        self._key = refreshing.keys().tokens(refreshing.label)
        self._before = before
        self.tried = self.moved = self.done = 0
        patch.setattr(store, "append", self._append)

    def _append(self, entries: Any, changes: Any = (), **more: Any) -> Any:
        if not any(isinstance(one, Put) and one.key == self._key for one in changes):
            return self._usual(entries, changes, **more)
        self.tried += 1
        self._before()
        try:
            found = self._usual(entries, changes, **more)
        except HeadMoved:
            self.moved += 1
            raise
        self.done += 1
        return found


@pytest.mark.parametrize("what", ["all", "subject", "id", "label"])
def test_a_token_that_is_kept_is_not_handed_out(refreshing: Refreshing, what: str) -> None:
    """It is good for a while yet, and most revocations take none away: the login decides."""
    good = replace(refreshing.first, access_ends=time.time() + 300)
    refreshing.kept(0).keep(refreshing.label, good)
    refreshing.cookie = refreshing.cookie and good
    assert refreshing.refresh() == good

    ways_to_end(refreshing)[what]()

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()
    assert refreshing.asked == 0


@pytest.mark.parametrize("what", ["all", "subject", "id", "label"])
def test_a_parked_request_gets_no_token(issuer: Issuer, config: Make, what: str) -> None:
    """Its sender decides how long it takes: the token is asked for after the login has ended."""
    apps = [create_app(config(issuer.url)) for _ in range(2)]
    refreshing = Refreshing(apps, issuer)
    good = replace(refreshing.first, access_ends=time.time() + 300)
    refreshing.kept(0).keep(refreshing.label, good)
    end = ways_to_end(refreshing)[what]
    parked(apps[0], end)
    client = apps[0].test_client()
    authority = state_of(apps[0]).authority
    text = authority.issue_login("alice", labels=refreshing.token.labels).text
    client.set_cookie("clustertoken", text)
    assert client.get("/token").json == {"token": "access-0"}
    refreshing.token = authority.authenticate(text)

    assert client.post("/parked").status_code == 401

    for app in apps:
        state_of(app).authority.close()


def parked(app: Flask, meanwhile: Callable[[], object]) -> None:
    """A view that asks for the token when *meanwhile* is done: as if the body came slowly."""

    @app.post("/parked")
    @token_required
    def parked() -> Any:
        meanwhile()
        return jsonify(token=keycloak_token())


@pytest.mark.parametrize("what", ["all", "subject", "id", "label"])
def test_a_revocation_between_the_look_and_the_write(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """That the login stands is a condition of the step: nothing is written, not for a moment."""
    end = ways_to_end(refreshing)[what]
    writes = Writes(refreshing, monkeypatch, lambda: end() if writes.tried == 1 else None)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert (writes.tried, writes.done) == (1, 0)
    assert refreshing.kept(0).read(refreshing.label) is None


def test_others_are_revoked_meanwhile(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head moves, and the login is judged again: it stands, so the tokens are kept."""
    other = state_of(refreshing.apps[1]).authority
    writes = Writes(
        refreshing,
        monkeypatch,
        lambda: other.revoke_subject("bob") if writes.tried < 3 else None,
    )

    assert refreshing.refresh().number == 2

    assert (writes.tried, writes.moved, writes.done) == (3, 2, 1)
    assert refreshing.asked == 1


def test_revocations_without_end(refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refresh token is used up: what came for it is kept, under the lease and the record,
    and handed out behind a look."""
    other = state_of(refreshing.apps[1]).authority
    writes = Writes(refreshing, monkeypatch, lambda: other.revoke_subject("bob"))

    found = refreshing.refresh()

    assert (writes.moved, writes.done) == (refresher.WRITE_TRIES, 1)
    assert refreshing.kept(0).read(refreshing.label) == found
    assert refreshing.asked == 1


def test_revocations_without_end_and_one_of_the_login(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one before the write that needs no head covers the login: the look finds it."""
    other = state_of(refreshing.apps[1]).authority

    def revoke() -> None:
        last = writes.tried > refresher.WRITE_TRIES
        other.revoke_subject("alice" if last else "bob")

    writes = Writes(refreshing, monkeypatch, revoke)

    with pytest.raises(NoProviderTokens):
        refreshing.refresh()

    assert refreshing.kept(0).read(refreshing.label) is None


def test_the_store_is_behind_after_the_answer(
    refreshing: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a revocation came is not known: nothing is handed out, and nothing is lost."""
    follower = state_of(refreshing.apps[0]).authority.follower()
    other = state_of(refreshing.apps[1]).authority

    def fall_behind() -> None:
        if writes.tried == 1:
            other.revoke_subject("bob")
            monkeypatch.setattr(follower.reader, "reach", lambda seq: False)

    writes = Writes(refreshing, monkeypatch, fall_behind)

    with pytest.raises(StoreUnavailable):
        refreshing.refresh()

    monkeypatch.undo()
    assert refreshing.refresh().number == 2
    assert refreshing.asked == 1
