"""The feed on the server, and the transactions that append to it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from ...clock import Clock
from ...errors import StoreUnavailable
from .. import rules
from ..base import Add, Batch, Change, Delete, Entry, HeadIs, NewEntry, Put, Require, Unchanged
from ..tail import Kept
from .driver import Row, Value
from .realm import HEAD, Lock
from .statements import array
from .steps import Steps, end

#: Numbers that one step takes.
_AT_ONCE = 500


class PostgreSQLFeed:
    """Opens nothing by itself."""

    def __init__(self, steps: Steps, clock: Clock) -> None:
        self._steps = steps
        self._clock = clock

    def at_least(self, above: int = 0) -> str:
        """What the next number is at least."""
        return str(rules.next_seq(0, self._clock.time(), above))

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change], above: int
    ) -> list[int]:
        deleted = [one.key for one in changes if isinstance(one, Delete)]

        def numbers(rows: list[Row]) -> list[int]:
            ((said, first, _),) = rows
            if said is not None:
                return [int(one) for one in said.split(",")]
            return [first + nth for nth in range(len(entries))]

        rows = self._steps.run(
            "append",
            repr(self._clock.time()),
            self.at_least(above),
            "" if entries else secrets.token_hex(8),
            *_as_values(changes),
            array([one.id for one in entries]),
            array([end(one.keep_until) for one in entries]),
            array([rules.check_value(one.body) for one in entries]),
            self._steps.realm().channel,
            array(
                [one.value if isinstance(one, Unchanged) else None for one in _conditions(changes)]
            ),
            locks=_locks(changes),
            learn=lambda rows: _as_kept(entries, numbers(rows), deleted),
        )
        return numbers(rows)

    def read(self, after: int, limit: int) -> Batch:
        kept: list[Kept] = []
        before = self._steps.realm().end

        def learn(rows: list[Row]) -> list[Kept]:
            kept.extend(_kept(row[3:]) for row in rows[:limit] if row[3] is not None)
            return kept

        rows = self._steps.run("read", str(max(0, after)), str(limit), learn=learn)
        head, floor, found = rows[0][:3]
        if not self._steps.realm().seen(head, before):
            raise StoreUnavailable("the PostgreSQL server lost the end of the feed")
        entries = tuple(one.entry for one in kept)
        more = found > len(entries)
        return Batch(entries, entries[-1].seq if more else head, more, floor)

    def head(self) -> int:
        ((head,),) = self._steps.run("head")
        return int(head)

    def ended(self, before: float, after: int, limit: int) -> list[Entry]:
        rows = self._steps.run("ended", repr(before), str(max(0, after)), str(limit))
        return [Entry(*row) for row in rows if row[0] is not None]

    def trim(self, seqs: Sequence[int]) -> None:
        for start in range(0, len(seqs), _AT_ONCE):
            some = array([str(seq) for seq in seqs[start : start + _AT_ONCE]])
            self._steps.run("trim", some, locks=(HEAD,))
        self._steps.realm().tail.forget(seqs)


def _locks(changes: Sequence[Change]) -> list[Lock]:
    """The head, then the records in one order for all: no two transactions wait for each other."""
    keys = {one.key for one in changes if not isinstance(one, HeadIs)}
    return [HEAD, ("lock_records", (array(sorted(keys)),))] if keys else [HEAD]


def _conditions(changes: Sequence[Change]) -> list[Add | Require | Unchanged]:
    return [one for one in changes if isinstance(one, Add | Require | Unchanged)]


def _as_values(changes: Sequence[Change]) -> list[Value]:
    """What must hold, and what is to be: of several changes to one key the last one counts."""
    conditions = [(type(one).__name__.lower(), one.key) for one in _conditions(changes)]
    heads = [(str(one.seq), one.entry) for one in changes if isinstance(one, HeadIs)]
    last: dict[str, Add | Put | Delete] = {
        one.key: one for one in changes if isinstance(one, Add | Put | Delete)
    }
    written = [one for one in last.values() if isinstance(one, Add | Put)]
    return [
        array([what for what, _ in conditions]),
        array([key for _, key in conditions]),
        array([seq for seq, _ in heads]),
        array([entry for _, entry in heads]),
        array([key for key, one in last.items() if isinstance(one, Delete)]),
        array([one.key for one in written]),
        array([end(one.expires_at) for one in written]),
        array([rules.check_value(one.value) for one in written]),
    ]


def _as_kept(
    entries: Sequence[NewEntry], seqs: Sequence[int], deleted: Sequence[str]
) -> list[Kept]:
    """What was appended, under the numbers that it got; what was deleted goes with the first."""
    return [
        Kept(
            Entry(seq, 0, new.id, new.body, new.keep_until),
            tuple(deleted) if number == 0 else (),
        )
        for number, (seq, new) in enumerate(zip(seqs, entries, strict=True))
    ]


def _kept(row: Row) -> Kept:
    seq, prev, name, body, keep_until, deleted = row
    return Kept(Entry(seq, prev, name, body, keep_until), tuple(json.loads(deleted)))
