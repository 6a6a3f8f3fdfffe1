"""The store: each call of the contract is one script on the primary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import MissingDriver
from .. import rules
from ..base import (
    CALL_TIMEOUT,
    Entry,
    Held,
    NewEntry,
    Presence,
    Record,
    Remark,
    Root,
    Vouched,
)
from ..on_server import ServerStore
from . import codec, server
from .driver import Deadline
from .feed import RedisFeed
from .loading import load
from .place import Options, RedisPlace, parse_options, parse_place
from .realm import Argument, Asking, RedisRealm
from .records import RedisRecords
from .wakeup import Wakeup


class RedisStore(ServerStore[RedisRealm, server.Server]):
    """A realm on a Redis or Valkey server."""

    scheme: ClassVar[str] = "redis"
    extra: ClassVar[str] = "redis"
    look_every: ClassVar[float | None] = 1.0

    _feed: RedisFeed

    def __init__(
        self,
        place: RedisPlace,
        options: Options | None = None,
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(realm=realm, clock=clock, timeout=timeout)
        self.place = place
        self.options = options or Options()
        self._asking = Asking(self._open, timeout)
        self._records = RedisRecords(self._asking, self.clock)
        self._feed = RedisFeed(self._asking, self.clock)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        realm: str,
        instance_path: str,
        options: Mapping[str, Any],
        clock: Clock | None,
        timeout: float,
    ) -> RedisStore:
        place = parse_place(url)
        parsed = parse_options(options, place)
        if find_spec("redis") is None:
            raise MissingDriver("STORE", "redis", cls.extra)
        return cls(place, parsed, realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return self.place.url

    # life

    def _make(self) -> RedisRealm:
        return RedisRealm(self.place, self.options, self.realm)

    def _abandon(self, opened: RedisRealm) -> None:
        opened.line.abandon()

    def _shut(self, opened: RedisRealm) -> None:
        opened.line.drop()

    def _watcher(self, opened: RedisRealm, moved: Callable[[], None]) -> Wakeup:
        return Wakeup(opened.topology, opened.channel, moved, self.timeout)

    def another(self) -> RedisStore:
        return type(self)(
            self.place, self.options, realm=self.realm, clock=self.clock, timeout=self.timeout
        )

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        self._asking.run("announce", node_id, rules.check_value(info), acknowledged=True)

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        settle = int(self._open().settle * 1e6)
        head, now = self._asking.run(
            "vouch", node_id, rules.check_value(info), settle, acknowledged=True
        )
        return Vouched(int(head), int(now) / 1e6)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        version = "" if unchanged is None else str(unchanged.version)
        (gone,) = self._asking.run("withdraw", node_id, version, acknowledged=True, again=False)
        return bool(gone)

    def nodes(self) -> list[Presence]:
        told = self._asking.run("nodes", acknowledged=True)
        pairs = zip(told[::2], told[1::2], strict=True)
        return [codec.presence(name, packed) for name, packed in pairs]

    def time(self) -> float:
        (now,) = self._asking.run("time")
        return int(now) / 1e6

    # root and moving house

    def begun(self) -> bool:
        opened, deadline = self._open(), Deadline(self.timeout)
        return opened.run(deadline, "root", make=False)[0] is not None

    def root(self) -> Root:
        self._look()
        epoch, state, moved_to, form = self._asking.run("root")
        return Root(epoch.decode(), state.decode(), moved_to.decode(), int(form))

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        args: list[Argument] = []
        for root in (old, new):
            args += [root.epoch, root.state, root.moved_to, root.format]
        args += [self._open().channel, self._feed.at_least()]
        if entry is not None:
            args += [entry.id, codec.end(entry.keep_until), rules.check_value(entry.body)]
        (done,) = self._asking.run("change_root", *args, acknowledged=True, again=False)
        return bool(done)

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        """Every step of some hundred records or entries has a call's time for itself."""
        for args in load(records, entries, head, floor, held):
            self._asking.run("load", repr(self.clock.time()), *args, acknowledged=True)

    # how the server is set up

    def _ask(self, opened: RedisRealm) -> server.Server:
        return server.look(opened.line, Deadline(self.timeout))

    def _judge(self, facts: server.Server, opened: RedisRealm) -> tuple[str, Iterable[Remark]]:
        server.refuse_unfit(facts, opened.topology)
        remarks = server.remarks(facts, opened.topology, self.options)
        return server.unbounded(facts, opened.topology), remarks


class TlsRedisStore(RedisStore):
    """The same over TLS: ``rediss://``."""

    scheme: ClassVar[str] = "rediss"


class SentinelRedisStore(RedisStore):
    """The same, its primary named by Sentinels: ``redis+sentinel://``."""

    scheme: ClassVar[str] = "redis+sentinel"
