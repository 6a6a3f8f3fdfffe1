"""The feed on the server, and the transactions that append to it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from ...clock import Clock
from .. import rules
from ..base import Add, Batch, Change, Delete, Entry, HeadIs, NewEntry, Put, Require, Unchanged
from . import codec
from .realm import Argument, Asking

#: Numbers that one step takes.
_AT_ONCE = 500

#: Entries that have ended and are sorted in one step; where there are more, the feed is walked.
_SORTED = 10_000


class RedisFeed:
    """Opens nothing by itself."""

    def __init__(self, asking: Asking, clock: Clock) -> None:
        self._asking = asking
        self._clock = clock

    def at_least(self, above: int = 0) -> int:
        """What the next number is at least."""
        return rules.next_seq(0, self._clock.time(), above)

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change], above: int
    ) -> list[int]:
        deleted = [one.key for one in changes if isinstance(one, Delete)]
        channel = self._asking.realm().channel
        args: list[Argument] = [repr(self._clock.time()), self.at_least(above), channel]
        args += [secrets.token_hex(8), len(changes)]
        for change in changes:
            args += _as_arguments(change)
        for number, new in enumerate(entries):
            gone = codec.deleted_keys(deleted) if number == 0 else ""
            args += [new.id, codec.end(new.keep_until), gone, rules.check_value(new.body)]
        told = self._asking.run(
            "append",
            *args,
            acknowledged=True,
            learn=lambda told: _as_kept(entries, told, deleted),
        )
        return [int(seq) for seq in told]

    def read(self, after: int, limit: int) -> Batch:
        kept: list[codec.Kept] = []

        def learn(answer: list[Any]) -> list[codec.Kept]:
            kept.extend(codec.entry(one) for one in answer[3:])
            return kept

        head, floor, more, *_ = self._asking.run(
            "read", max(0, after), limit, acknowledged=True, learn=learn
        )
        entries = tuple(one.entry for one in kept)
        seq = entries[-1].seq if more else int(head)
        return Batch(entries, seq, bool(more), int(floor))

    def head(self) -> int:
        (head,) = self._asking.run("head", acknowledged=True)
        return int(head)

    def ended(self, before: float, after: int, limit: int) -> list[Entry]:
        opened, deadline = self._asking.realm(), self._asking.deadline()
        found: list[Entry] = []
        position = str(max(0, after))
        while position and len(found) < limit:
            args = (repr(before), position, limit - len(found), _SORTED)
            told, *packed = opened.run(deadline, "ended", *args)
            position = told.decode()
            found += [codec.entry(one).entry for one in packed if one is not None]
        return found

    def trim(self, seqs: Sequence[int]) -> None:
        for start in range(0, len(seqs), _AT_ONCE):
            self._asking.run("trim", *seqs[start : start + _AT_ONCE])
        self._asking.realm().tail.forget(seqs)


def _as_arguments(change: Change) -> list[Argument]:
    if isinstance(change, HeadIs):
        return ["head", str(change.seq), change.entry, ""]
    if isinstance(change, Add | Put):
        what = "add" if isinstance(change, Add) else "put"
        return [what, change.key, codec.end(change.expires_at), rules.check_value(change.value)]
    if isinstance(change, Unchanged):
        return ["unchanged", change.key, "", change.value]
    return ["require" if isinstance(change, Require) else "delete", change.key, "", ""]


def _as_kept(
    entries: Sequence[NewEntry], told: Sequence[bytes], deleted: Sequence[str]
) -> list[codec.Kept]:
    """What was appended, under the numbers that it got; what was deleted goes with the first."""
    return [
        codec.Kept(
            Entry(int(seq), 0, new.id, new.body, new.keep_until),
            tuple(deleted) if number == 0 else (),
        )
        for number, (seq, new) in enumerate(zip(told, entries, strict=True))
    ]
