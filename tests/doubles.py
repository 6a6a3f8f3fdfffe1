"""What the tests of the core are built with: real authorities on a store in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import Clock, ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.settings.limits import DAY
from flask_clustertoken.stores.memory import MemoryStore, Shelf

SECRET = "k" * 40

#: Every call of the contract that reaches for the server.
CALLS = [
    "get_many",
    "add",
    "put",
    "touch",
    "delete",
    "scan",
    "purge",
    "append",
    "read",
    "head",
    "ended",
    "trim",
    "announce",
    "vouch",
    "withdraw",
    "nodes",
    "root",
    "change_root",
]


class WatchedStore(MemoryStore):
    """A memory store that counts its calls and fails where it is told to."""

    embedded: ClassVar[bool] = True

    def __init__(self, shelf: Shelf, *, clock: Clock) -> None:
        super().__init__(shelf, clock=clock)
        self.calls: Counter[str] = Counter()
        #: call → what it raises
        self.failing: dict[str, BaseException] = {}
        #: call → what happens just before, or just after it took effect
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}

    def cut(self) -> None:
        self.failing = {name: StoreUnavailable("the line is cut") for name in CALLS}

    def heal(self) -> None:
        self.failing = {}


def _watched(name: str) -> Callable[..., Any]:
    original = getattr(MemoryStore, name)

    def call(self: WatchedStore, *args: Any, **kwargs: Any) -> Any:
        self.calls[name] += 1
        if name in self.failing:
            raise self.failing[name]
        if name in self.before:
            self.before.pop(name)()
        answer = original(self, *args, **kwargs)
        if name in self.after:
            self.after.pop(name)()
        return answer

    call.__name__ = name
    return call


for _name in CALLS:
    setattr(WatchedStore, _name, _watched(_name))


class RemoteStore(WatchedStore):
    """The same without an exact position: what a node knows of it, it knows from the feed."""

    embedded: ClassVar[bool] = False

    #: The server's own clock, which is nobody's else.
    server: Clock

    def time(self) -> float:
        return self.server.time()


class Cluster:
    """Nodes on one shelf, with one clock unless a test gives a node its own."""

    def __init__(self, *, remote: bool = True) -> None:
        self.clock = ManualClock()
        self.shelf = Shelf()
        self.remote = remote
        self.members: list[TokenAuthority] = []

    def node(
        self, clock: ManualClock | None = None, *, active: bool = True, **options: Any
    ) -> TokenAuthority:
        clock = clock or self.clock
        given = {"SECRET": SECRET, "STORE": "memory:", **options}
        store = (RemoteStore if self.remote else WatchedStore)(self.shelf, clock=clock)
        if isinstance(store, RemoteStore):
            store.server = self.clock
        authority = TokenAuthority(
            Settings.from_mapping({f"CLUSTERTOKEN_{key}": one for key, one in given.items()}),
            clock=clock,
            store=store,
            active=active,
            threaded=False,
        )
        self.members.append(authority)
        return authority

    def step(self, *nodes: TokenAuthority) -> None:
        for node in nodes or self.members:
            node.follower().step()

    def close(self) -> None:
        for one in self.members:
            store_of(one).heal()
            one.close()


def store_of(authority: TokenAuthority) -> WatchedStore:
    assert isinstance(authority.store, WatchedStore)
    return authority.store


def reason(found: Any) -> str:
    """Why *found* was refused; ``""`` for a token."""
    return "" if found else str(found.reason)


__all__ = ["CALLS", "DAY", "SECRET", "Cluster", "RemoteStore", "WatchedStore", "reason", "store_of"]
