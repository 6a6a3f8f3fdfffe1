"""Records in ZooKeeper: one znode each, its version guarding every conditional change."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ...errors import Conflict
from .. import rules
from ..base import Add, Delete, Purged, Put, Record, Require, Unchanged
from .codec import Packed, escape, key_names, names_key, pack_record, unpack_record
from .connection import CallDeadline, Op, Refused, Request
from .places import Places, PlacesWanted
from .site import Beaten, Data, Raced, Site, children, create, delete, get, write

#: A change of a record, or a condition on one.
RecordChange = Add | Put | Delete | Require | Unchanged

#: Bytes of a record so many of which fit into one transaction.
_SMALL = 4096

#: Listings of shards under way at once while a walk looks for the next ones with records.
_SHARDS = 64

#: Records that are read at once before it is known whether they are large.
_FEW = 16

#: An area whose records are large and have no end: they are not read for a purge.
_ENDLESS = "piece"

#: Seconds after which one call of a purge ends; whoever keeps house has a lease to renew.
_WALK = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a key's znode held, alive or dead."""

    record: Record
    maker: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Questions:
    """What is read before records are changed: their keys, and what is to stand above them."""

    keys: tuple[str, ...]
    #: What is taken to be alive, until the servers say otherwise.
    taken: frozenset[str]
    #: What has to stand above new ones.
    places: PlacesWanted
    requests: Sequence[Request]


#: What stands for a record that is taken to be alive.
_TAKEN = Found(Record(b"", None), b"", -1)


def _found(answer: Data) -> Found | None:
    if isinstance(answer, Refused):
        return None
    data, state = answer
    record, maker = unpack_record(data)
    return Found(record, maker, state.version)


class Records:
    """The records of one realm."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._purged_up_to: tuple[str, str] = ("", "")
        self._places = Places(site)

    # -- reading -----------------------------------------------------------------------

    def look(
        self, deadline: CallDeadline, keys: Sequence[str], *, behind: bool = False
    ) -> dict[str, Found | None]:
        """What there is under *keys*, dead records included."""
        asked = list(dict.fromkeys(keys))
        answers = self._site.ask(
            deadline, [get(self._site.record(key)) for key in asked], behind=behind
        )
        return {key: _found(answer) for key, answer in zip(asked, answers, strict=True)}

    def get_many(self, deadline: CallDeadline, keys: Sequence[str]) -> Mapping[str, Record]:
        now = self._site.clock.time()
        found: dict[str, Record] = {}
        wanted = keys
        for behind in (False, True):
            for key, one in self.look(deadline, wanted, behind=behind).items():
                if one is not None and one.record.alive(now):
                    found[key] = one.record
            # A server that lags may miss what was just added or prolonged elsewhere.
            wanted = [key for key in keys if key not in found]
            if not wanted:
                break
        return found

    # -- single changes ----------------------------------------------------------------

    def plan_add(
        self, deadline: CallDeadline, key: str, record: Record, maker: bytes, sure: bool
    ) -> Op | bool:
        """The operation that adds *record*, or ``True``/``False`` where that is settled."""
        one = self.look(deadline, [key])[key] if sure else None
        path, data = self._site.record(key), pack_record(record, maker)
        if one is None:
            return Op("create", path, data)
        if one.maker == maker:
            return True  # an earlier try, whose answer was lost
        if one.record.alive(self._site.clock.time()):
            return False
        return Op("set", path, data, one.version)

    def plan_put(self, deadline: CallDeadline, key: str, record: Record, maker: bytes) -> Op:
        found = self.look(deadline, [key])[key]
        what = "create" if found is None else "set"
        return Op(what, self._site.record(key), pack_record(record, maker))

    def plan_touch(
        self, deadline: CallDeadline, key: str, expires_at: float | None, sure: bool
    ) -> Op | bool:
        one = self.look(deadline, [key])[key]
        if one is None or not one.record.alive(self._site.clock.time()):
            if not sure:
                raise Raced(key)
            return False
        path, old = self._site.record(key), one.record.expires_at
        if old is None or (expires_at is not None and expires_at <= old):
            return Op("check", path, version=one.version)
        longer = pack_record(Record(one.record.value, expires_at), one.maker)
        return Op("set", path, longer, one.version)

    def delete(self, deadline: CallDeadline, key: str) -> bool:
        was_alive = False

        def step(sure: bool) -> bool:
            nonlocal was_alive
            one = self.look(deadline, [key])[key]
            if one is None:
                if sure:
                    return was_alive  # by an earlier try, if its answer was lost
                raise Raced(key)
            alive = one.record.alive(self._site.clock.time())
            was_alive = alive
            (answer,) = self._site.line.ask(deadline, delete(self._site.record(key), one.version))
            if isinstance(answer, Refused):
                was_alive = False
                raise Raced(key)
            return alive

        return self._site.again(deadline, step)

    # -- changes within a transaction --------------------------------------------------

    def questions(self, changes: Sequence[RecordChange], sure: bool) -> Questions:
        """What has to be read before *changes* are planned; sent along with other reads.

        What is only to be added is taken to be absent, and what the caller knows to live long
        enough to be there, until the servers say otherwise: that saves the read before each login
        and each log-out.
        """
        taken = frozenset() if sure else self._taken(changes)
        looked = {change.key for change in changes if sure or not isinstance(change, Add)} - taken
        keys = [key for key in dict.fromkeys(one.key for one in changes) if key in looked]
        new = [change.key for change in changes if isinstance(change, Add | Put)]
        places = self._places.wanted(new, sure)
        requests = [*map(self._get, keys), *places.requests]
        return Questions(tuple(keys), taken, places, requests)

    def _taken(self, changes: Sequence[RecordChange]) -> frozenset[str]:
        now = self._site.clock.time()
        until = {one.key: one.until for one in changes if isinstance(one, Require)}
        if not until:
            return frozenset()
        written = {one.key for one in changes if not isinstance(one, Require | Delete)}
        lives = {key for key, end in until.items() if end is not None and now < end}
        return frozenset(lives - written)

    def _get(self, key: str) -> Request:
        return get(self._site.record(key))

    def plan(
        self,
        changes: Sequence[RecordChange],
        asked: Questions,
        answers: Sequence[Any],
        sure: bool,
        maker: bytes = bytes(8),
    ) -> list[Op]:
        """The operations that make *changes* if they may be made, else :class:`Conflict`.

        Conditions are judged by what was there before the first change, by the *answers* to
        what was *asked*, and every operation repeats them, so that the transaction fails if
        they hold no longer. What is missing above new records is made in the same transaction:
        the first record of a shard costs no write more.
        """
        now = self._site.clock.time()
        found: dict[str, Found | None] = dict.fromkeys(change.key for change in changes)
        found |= dict.fromkeys(asked.taken, _TAKEN)
        found |= {key: _found(one) for key, one in zip(asked.keys, answers, strict=False)}
        missing = self._places.missing(asked.places, answers[len(asked.keys) :])
        living = {
            key: one.record if one is not None and one.record.alive(now) else None
            for key, one in found.items()
        }
        conditional: set[str] = set()
        last: dict[str, RecordChange] = {}
        try:
            rules.check_records(changes, living.__getitem__)
        except Conflict as error:
            if not sure:
                raise Raced(error.key) from error
            raise
        for change in changes:
            if isinstance(change, Add | Require | Unchanged):
                conditional.add(change.key)
            if not isinstance(change, Require | Unchanged) or change.key not in last:
                last[change.key] = change
        ops = [Op("create", path) for path in missing]
        for key, change in last.items():
            ops += self._ops(key, change, found[key], key in conditional, maker)
        return ops

    def refused(self, asked: Questions, error: Raced) -> Raced:
        """What *error*, by which a transaction failed, comes to."""
        return Beaten(str(error)) if self._places.found(asked.places, error.path) else error

    def settled(self, asked: Questions) -> None:
        """What was *asked* for was carried out: areas and shards are there from now on."""
        self._places.settled(asked.places)

    def made_by(
        self, deadline: CallDeadline, maker: bytes, changes: Sequence[RecordChange]
    ) -> bool:
        """Whether an earlier try of *maker*'s made *changes*. (Ask a sure question.)

        ``False`` also where others have written over all of it since.
        """
        keys = [change.key for change in changes if isinstance(change, Add | Put)]
        found = self.look(deadline, keys).values()
        return any(one is not None and one.maker == maker for one in found)

    def _ops(
        self,
        key: str,
        change: RecordChange,
        one: Found | None,
        conditional: bool,
        maker: bytes,
    ) -> list[Op]:
        path = self._site.record(key)
        version = one.version if one is not None and conditional else -1
        if isinstance(change, Require | Unchanged):
            return [Op("check", path, version=version)]
        if isinstance(change, Add | Put):
            record = Record(change.value, change.expires_at)
            large = len(record.value) > _SMALL
            data = Packed(record, maker) if large else pack_record(record, maker)
            return [Op("create" if one is None else "set", path, data, version)]
        if one is not None:
            return [Op("delete", path, version=version)]
        # Nothing to delete, and this says so at the moment of the transaction.
        return [Op("create", path), Op("delete", path)]

    # -- walking -----------------------------------------------------------------------

    def scan(
        self, deadline: CallDeadline, prefix: str, after: str, limit: int
    ) -> list[tuple[str, Record]]:
        now = self._site.clock.time()
        start = key_names(after) if after else ("", "", "")
        page: list[tuple[str, Record]] = []
        size, at_once = 0, _FEW
        shards = [one for one in self._shards(deadline, prefix) if one >= start[:2]]
        for first in range(0, len(shards), _SHARDS):
            some = shards[first : first + _SHARDS]
            for shard, leaves in zip(some, self._leaves(deadline, some), strict=True):
                if shard == start[:2]:
                    del leaves[: bisect_right(leaves, start[2])]
                keys = [names_key(*shard, leaf) for leaf in leaves]
                keys = [key for key in keys if key.startswith(prefix)]
                while keys and len(page) < limit and size < rules.PAGE_BYTES:
                    # Some more than are missing, in case some are dead; few while they are large.
                    some_keys = keys[: min(at_once, limit - len(page) + _FEW)]
                    del keys[: len(some_keys)]
                    read = 0
                    for key, one in self.look(deadline, some_keys).items():
                        if one is not None and one.record.alive(now):
                            page.append((key, one.record))
                            read += len(one.record.value)
                    size += read
                    at_once = 2 * at_once if read <= _SMALL * len(some_keys) else _FEW
                if len(page) >= limit or size >= rules.PAGE_BYTES:
                    return page[:limit]
        return page

    def _shards(self, deadline: CallDeadline, prefix: str) -> list[tuple[str, str]]:
        """Area and shard of all keys that can begin with *prefix*, in the order of a walk."""
        site = self._site
        parts = prefix.split("/")[:-1]
        if not parts:
            (areas,) = site.line.ask(deadline, children(site.records))
        else:
            areas = [escape(parts[0])]
        if len(parts) > 1:
            return list(product(areas, sorted({escape(parts[1])})))
        listed = site.line.ask_many(
            deadline, [children(f"{site.records}/{area}") for area in sorted(areas)]
        )
        return [
            (area, shard)
            for area, shards in zip(sorted(areas), listed, strict=True)
            if shards is not Refused.ABSENT
            for shard in sorted(shards)
        ]

    def _leaves(self, deadline: CallDeadline, shards: Sequence[tuple[str, str]]) -> list[list[str]]:
        listed = self._site.line.ask_many(
            deadline, [children(f"{self._site.records}/{area}/{shard}") for area, shard in shards]
        )
        return [[] if names is Refused.ABSENT else sorted(names) for names in listed]

    def purge(self, deadline: CallDeadline, before: float, limit: int) -> Purged:
        """Sweep for a moment, and go on there the next time."""
        stop = time.monotonic() + min(_WALK, deadline.left() / 2)
        shards = [one for one in self._shards(deadline, "") if one[0] != _ENDLESS]
        del shards[: bisect_right(shards, self._purged_up_to)]
        count = 0
        for first in range(0, len(shards), _SHARDS):
            some = shards[first : first + _SHARDS]
            for shard, leaves in zip(some, self._leaves(deadline, some), strict=True):
                count += self._purge_shard(deadline, shard, leaves, before, limit - count)
                if count >= limit:
                    return Purged(count, False)
                self._purged_up_to = shard
                if time.monotonic() > stop:
                    return Purged(count, False)
        self._purged_up_to = ("", "")
        return Purged(count, True)

    def _purge_shard(
        self,
        deadline: CallDeadline,
        shard: tuple[str, str],
        leaves: Sequence[str],
        before: float,
        limit: int,
    ) -> int:
        found = self.look(deadline, [names_key(*shard, leaf) for leaf in leaves])
        dead = [
            delete(self._site.record(key), one.version)
            for key, one in found.items()
            if one is not None
            and one.record.expires_at is not None
            and one.record.expires_at < before
        ][:limit]
        answers = self._site.line.ask_many(deadline, dead)
        return sum(not isinstance(answer, Refused) for answer in answers)

    # -- moving house ------------------------------------------------------------------

    def load(self, deadline: CallDeadline, records: Sequence[tuple[str, Record]]) -> None:
        """Write *records* as they were elsewhere, over whatever is there."""
        data = {self._site.record(key): pack_record(record, bytes(8)) for key, record in records}

        def step(sure: bool) -> None:
            small = all(len(one) <= _SMALL for one in data.values())
            if small and not sure and self._site.create_many(deadline, data):
                return
            made = self._site.line.ask_many(deadline, [create(*one) for one in data.items()])
            paths = dict(zip(data, made, strict=True))
            self._site.make_parents_of(
                deadline, [path for path, answer in paths.items() if answer is Refused.ABSENT]
            )
            written = self._site.line.ask_many(
                deadline,
                [
                    write(path, data[path])
                    if answer is Refused.PRESENT
                    else create(path, data[path])
                    for path, answer in paths.items()
                    if isinstance(answer, Refused)
                ],
            )
            if any(isinstance(answer, Refused) for answer in written):
                raise Raced("a record")

        self._site.again(deadline, step)
