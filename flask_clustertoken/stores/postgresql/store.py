"""The store: each call of the contract is one transaction on the primary, sent at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import ConfigurationError, MissingDriver, StoreUnavailable
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
from . import server
from .feed import PostgreSQLFeed
from .loading import load
from .place import PostgreSQLOptions, PostgreSQLPlace, parse_options, parse_place
from .realm import HEAD, Lock, PostgreSQLRealm
from .records import PostgreSQLRecords
from .schema import MayNotCreate, as_script
from .statements import array
from .steps import Steps, end
from .watch import HeadWatch

_REALM: Lock = ("lock_realm", ())


class PostgreSQLStore(ServerStore[PostgreSQLRealm, server.ServerSettings]):
    """A realm in a schema of a PostgreSQL database."""

    scheme: ClassVar[str] = "postgresql"
    extra: ClassVar[str] = "postgresql"
    look_every: ClassVar[float | None] = 1.0
    files_total: ClassVar[int] = 1024 * 1024 * 1024

    _feed: PostgreSQLFeed

    def __init__(
        self,
        place: PostgreSQLPlace,
        options: PostgreSQLOptions | None = None,
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(realm=realm, clock=clock, timeout=timeout)
        self.place = place
        self.options = options or PostgreSQLOptions()
        self._steps = Steps(self._open, timeout)
        self._records = PostgreSQLRecords(self._steps, self.clock)
        self._feed = PostgreSQLFeed(self._steps, self.clock)

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
    ) -> PostgreSQLStore:
        place = parse_place(url)
        parsed = parse_options(options, place)
        if find_spec("psycopg") is None:
            raise MissingDriver("STORE", "psycopg", cls.extra)
        return cls(place, parsed, realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return self.place.url

    # life

    def _make(self) -> PostgreSQLRealm:
        return PostgreSQLRealm(self.place, self.options, self.realm)

    def _abandon(self, opened: PostgreSQLRealm) -> None:
        opened.connections.abandon()

    def _shut(self, opened: PostgreSQLRealm) -> None:
        opened.connections.shut()

    def _watcher(self, opened: PostgreSQLRealm, moved: Callable[[], None]) -> HeadWatch:
        return HeadWatch(opened, moved, self.timeout)

    def another(self) -> PostgreSQLStore:
        return type(self)(
            self.place, self.options, realm=self.realm, clock=self.clock, timeout=self.timeout
        )

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        self._steps.run("announce", node_id, rules.check_value(info))

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        settle, before = repr(float(self.options.settle)), self._open().end
        ((head, now, _),) = self._steps.run("vouch", node_id, rules.check_value(info), settle)
        if not self._open().seen(head, before):
            raise StoreUnavailable("the PostgreSQL server lost the end of the feed")
        return Vouched(head, now / 1e6)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        version = "" if unchanged is None else str(unchanged.version)
        ((gone,),) = self._steps.run("withdraw", node_id, version, again=False)
        return bool(gone)

    def nodes(self) -> list[Presence]:
        rows = self._steps.run("nodes")
        return [Presence(*row) for row in rows if row[0] is not None]

    def time(self) -> float:
        ((now,),) = self._steps.run("time")
        return float(now / 1e6)

    # root and moving house

    def begun(self) -> bool:
        return bool(self._steps.run("root", make=False))

    def root(self) -> Root:
        self._look()
        try:
            ((epoch, state, moved_to, form),) = self._steps.run("root")
        except MayNotCreate as trouble:
            raise ConfigurationError("STORE", str(trouble)) from trouble
        return Root(epoch, state, moved_to, form)

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        values: list[str | bytes] = []
        for root in (old, new):
            values += [root.epoch, root.state, root.moved_to, str(root.format)]
        values.append(self._feed.at_least())
        if entry is None:
            values += ["", array([None]), b""]
        else:
            values += [entry.id, array([end(entry.keep_until)]), rules.check_value(entry.body)]
        locks = (HEAD, _REALM)
        channel = self._open().channel
        ((done, _),) = self._steps.run("change_root", *values, channel, locks=locks, again=False)
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
        locks = [HEAD, *([("lock_records", (array([held.key]),))] if held else [])]
        for values in load(records, entries, head, floor, held):
            self._steps.run("load", repr(self.clock.time()), *values, locks=locks)

    def schema_script(self, app_role: str = "", reader_role: str = "") -> str:
        role = app_role or self.options.username or self.place.username or "app"
        return as_script(self.options.schema, role, reader_role)

    # how the server is set up

    def _ask(self, opened: PostgreSQLRealm) -> server.ServerSettings:
        return server.look(opened, self._steps.deadline())

    def _judge(
        self, facts: server.ServerSettings, opened: PostgreSQLRealm
    ) -> tuple[str, Iterable[Remark]]:
        return server.unbounded(facts, opened), server.remarks(facts, opened)
