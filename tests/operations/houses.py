"""Houses that are moved: a store, who lives in it, and what a move may be cut off by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.clock import Clock
from flask_clustertoken.errors import Locked, RevokedMeanwhile
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import RING_KEY, Token, ring_bytes

SETTINGS = Settings(store="memory:", secret=("0123456789" * 4,))


@dataclass
class House:
    """A store that can be opened any number of times, and who lives in it."""

    open: Callable[[], ClusterStore]
    clock: Clock

    def authority(self, *, active: bool = False) -> TokenAuthority:
        return TokenAuthority(
            SETTINGS, store=self.open(), clock=self.clock, active=active, threaded=False
        )


@dataclass
class Inhabitants:
    """What a house holds: texts that must be accepted, and texts that must never be again."""

    alive: list[IssuedToken] = field(default_factory=list)
    ended: list[IssuedToken] = field(default_factory=list)

    def move_in(self, authority: TokenAuthority) -> None:
        for name in ("alice", "bob", "carol"):
            self.alive.append(authority.issue_login(name, {"of": name}, labels=[f"sso:{name}"]))
            self.alive.append(authority.issue_api_token(name, "robot"))
        for name in ("dave", "erin", "frank", "grace"):
            self.ended.append(authority.issue_login(name, labels=[f"sso:{name}"]))
        authority.revoke_ids([self.ended[0].token.id])
        authority.revoke_labels(["sso:erin"])
        authority.revoke_subject("frank")
        authority.store.delete(self.ended[3].token.record_key)
        authority.locking.lock(subject="judy", message="moved")
        authority.locking.lock(subject="kim")
        authority.locking.unlock(subject="kim")
        authority.shared("counters").set("visits", {"n": 7})
        states = ring_bytes({authority.keys.held[0]: "signing"})
        authority.store.put(RING_KEY, states, None)

    def busy(self, authority: TokenAuthority) -> None:
        """A moment of life: a login, a logout, a renewal, shared data."""
        self.alive.append(authority.issue_login("henry"))
        ended = authority.issue_login("iris")
        authority.revoke_ids([ended.token.id])
        self.ended.append(ended)  # not before: it may not have come to it
        shared = authority.shared("counters")
        shared.set("visits", {"n": 7})
        shared.set("gone", 1)
        shared.delete("gone")
        token = self.alive[0].token
        assert token.expires_at
        authority.store.touch(token.record_key, token.expires_at + 90_000)

    def check(self, house: House) -> None:
        """Everybody is where they were, and who was out is out."""
        authority = house.authority(active=True)
        try:
            self.check_texts(authority)
            shared = authority.shared("counters")
            assert shared.get("visits") == {"n": 7}
            with pytest.raises(Locked, match="moved"):
                authority.issue_login("judy")
            assert authority.issue_login("kim")
            assert [lock.name for lock in authority.locking.locks()] == ["judy"]
            assert list(shared.keys()) == ["visits"]
            assert authority.store.get(RING_KEY)
            assert authority.authenticate(authority.issue_login("zoe").text)
            with pytest.raises(RevokedMeanwhile):
                authority.issue_login("erin", labels=["sso:erin"])
        finally:
            authority.close()

    def check_texts(self, authority: TokenAuthority) -> None:
        for issued in self.alive:
            found = authority.authenticate(issued.text, issued.token.kind)
            assert isinstance(found, Token), found
            assert found.claims == issued.token.claims
        for issued in self.ended:
            refused = authority.authenticate(issued.text)
            assert not refused
            assert refused.reason == "revoked"


def memory_house(clock: Clock) -> House:
    shelf = Shelf()
    return House(lambda: MemoryStore(shelf, clock=clock), clock)


def directory_house(folder: Path, clock: Clock) -> House:
    return House(lambda: DirectoryStore(folder, clock=clock), clock)


def memory_houses(_: Path, clock: Clock) -> tuple[House, House]:
    return memory_house(clock), memory_house(clock)


def directory_houses(folder: Path, clock: Clock) -> tuple[House, House]:
    return directory_house(folder / "old", clock), directory_house(folder / "new", clock)


Builder = Callable[[Path, Clock], tuple[House, House]]


both = pytest.mark.parametrize("build", [memory_houses, directory_houses])


class Cut(BaseException):
    """The process was killed."""


class Killed:
    """*store*, until the common counter is used up: then nothing works any more."""

    def __init__(self, store: ClusterStore, calls: list[int]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls[0] -= 1
            if self._calls[0] < 0:
                raise Cut
            return found(*args, **kwargs)

        return call


def snapshot(store: ClusterStore) -> tuple[dict[str, Any], list[Any]]:
    return dict(store.scan("")), list(store.read(0).entries)


class Suspended:
    """*store*, and a call of its :meth:`load` begins after *meanwhile*."""

    def __init__(self, store: ClusterStore, meanwhile: Callable[[], None]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def load(self, *args: Any, **kwargs: Any) -> None:
        self._meanwhile()
        self._store.load(*args, **kwargs)
