"""The feed on the server, and the transactions that append to it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from hashlib import sha256

from ...clock import Clock
from ...errors import StoreUnavailable
from .. import rules
from ..base import Add, Batch, Change, Delete, Entry, HeadIs, NewEntry, Put, Require, Unchanged
from ..deadline import Deadline
from ..tail import Kept
from .driver import LineCut, Row, StatementRefused, Value
from .realm import HEAD, Lock
from .short import Short, in_one_statement
from .statements import array, byte_array
from .steps import Steps, end

#: Numbers that one step takes.
_AT_ONCE = 500

#: SQLSTATE: another transaction, not seen yet, has appended an entry of this id.
_TWICE = "23505"

#: Bytes of a value from which on it is sent ahead of the locks. The server takes what it is sent
#: as it comes: on a slow line the head would be locked, and nobody could append, while it does.
_LARGE = 8 * 1024


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
        deadline, realm = self._steps.deadline(), self._steps.realm()
        step_id = "" if entries else secrets.token_hex(8)
        short = in_one_statement(entries, changes, step_id, realm.channel)
        if short is not None:
            done = self._at_once(deadline, short, entries, changes, above)
            if done is not None:
                return done
        deleted = _deleted(changes)
        large, conditions = _largest(changes), [_condition(one) for one in _conditions(changes)]

        def numbers(rows: list[Row]) -> list[int]:
            ((said, first, _),) = rows
            if said is not None:
                return [int(one) for one in said.split(",")]
            return [first + nth for nth in range(len(entries))]

        rows = realm.run(
            deadline,
            "append",
            repr(self._clock.time()),
            self.at_least(above),
            step_id,
            *_as_values(changes, large),
            array([one.id for one in entries]),
            array([end(one.keep_until) for one in entries]),
            byte_array([rules.check_value(one.body) for one in entries]),
            realm.channel,
            byte_array([value for _, _, value in conditions]),
            locks=[*_ahead(large), *_locks(changes)],
            learn=lambda rows: _as_kept(entries, numbers(rows), deleted),
        )
        return numbers(rows)

    def _at_once(
        self,
        deadline: Deadline,
        short: Short,
        entries: Sequence[NewEntry],
        changes: Sequence[Change],
        above: int,
    ) -> list[int] | None:
        """The numbers of *entries*; ``None`` where whether it is done has to be looked up."""
        name, told = short
        number = (self.at_least(above),) if entries else ()

        def learn(rows: list[Row]) -> list[Kept]:
            seqs = [row[1] for row in rows if row[1] is not None]
            return _as_kept(entries, seqs, _deleted(changes)) if seqs else []

        try:
            rows = self._steps.realm().run(
                deadline,
                name,
                repr(self._clock.time()),
                *number,
                *told,
                waits=True,
                again=False,
                learn=learn if entries else None,
            )
        except LineCut as cut:
            if not cut.broken or deadline.over:
                raise
            return None
        except StatementRefused as refusal:
            if refusal.state != _TWICE:
                raise
            return None
        if not entries:
            return []
        return [rows[0][1]] if rows[0][1] is not None else None

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


def _deleted(changes: Sequence[Change]) -> list[str]:
    return [one.key for one in changes if isinstance(one, Delete)]


def _largest(changes: Sequence[Change]) -> bytes | None:
    """The value that is sent ahead of the locks, if there is a large one."""
    written = [one.value for one in changes if isinstance(one, Add | Put)]
    largest = max(written, key=len, default=b"")
    return rules.check_value(largest) if len(largest) > _LARGE else None


def _ahead(value: bytes | None) -> list[Lock]:
    return [] if value is None else [("ahead", (value,))]


def _locks(changes: Sequence[Change]) -> list[Lock]:
    """The head, then the records in one order for all: no two transactions wait for each other."""
    keys = {one.key for one in changes if not isinstance(one, HeadIs)}
    return [HEAD, ("lock_records", (array(sorted(keys)),))] if keys else [HEAD]


def _conditions(changes: Sequence[Change]) -> list[Add | Require | Unchanged]:
    return [one for one in changes if isinstance(one, Add | Require | Unchanged)]


def _condition(one: Add | Require | Unchanged) -> tuple[str, str, bytes | None]:
    """What must hold, of which key, and the value that it is held against."""
    if isinstance(one, Unchanged):
        if len(one.value) > _LARGE:
            return "digest", one.key, sha256(one.value).digest()
        return "unchanged", one.key, one.value
    return type(one).__name__.lower(), one.key, None


def _as_values(changes: Sequence[Change], large: bytes | None) -> list[Value]:
    """What must hold, and what is to be: of several changes to one key the last one counts.

    Nothing stands for the *large* value, which is there by then.
    """
    conditions = [_condition(one) for one in _conditions(changes)]
    heads = [(str(one.seq), one.entry) for one in changes if isinstance(one, HeadIs)]
    last: dict[str, Add | Put | Delete] = {
        one.key: one for one in changes if isinstance(one, Add | Put | Delete)
    }
    written = [one for one in last.values() if isinstance(one, Add | Put)]
    return [
        array([what for what, _, _ in conditions]),
        array([key for _, key, _ in conditions]),
        array([seq for seq, _ in heads]),
        array([entry for _, entry in heads]),
        array([key for key, one in last.items() if isinstance(one, Delete)]),
        array([one.key for one in written]),
        array([end(one.expires_at) for one in written]),
        byte_array(
            [None if one.value is large else rules.check_value(one.value) for one in written]
        ),
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
