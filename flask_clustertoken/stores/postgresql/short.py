"""The short way of a transaction: one statement, where it adds one record or ends one.

A transaction takes its locks first, a statement each, so that what it judges behind them stands
still. What most logins and log-outs do is small enough to be judged by the very rows that a single
statement locks, in two thirds of the time. Whatever else there is to do, and whatever may have been
done before (its answer was lost, its id is known), goes the long way: ``append``.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import rules
from ..base import Add, Change, Delete, HeadIs, NewEntry, Require
from .driver import Value
from .steps import end

#: A statement's name, and what it is told behind the realm, the time and the number.
Short = tuple[str, tuple[Value, ...]]


def in_one_statement(
    entries: Sequence[NewEntry], changes: Sequence[Change], step_id: str, channel: str
) -> Short | None:
    """What does all of this, or ``None`` where no single statement does."""
    heads = [one for one in changes if isinstance(one, HeadIs)]
    on_records = [one for one in changes if not isinstance(one, HeadIs)]
    if len(heads) > 1:
        return None
    head = (str(heads[0].seq), heads[0].entry) if heads else ("", "")
    if not entries:
        return _issue(head, on_records, step_id)
    return _finish(head, on_records, entries, channel)


def _issue(head: tuple[str, str], changes: Sequence[Change], step_id: str) -> Short | None:
    match changes:
        case [Add() as add]:
            required = ""
        case [Require(key=required), Add() as add] if required and required != add.key:
            pass
        case _:
            return None
    added = (add.key, end(add.expires_at) or "", rules.check_value(add.value))
    return "issue", (step_id, *head, required, *added)


def _finish(
    head: tuple[str, str], changes: Sequence[Change], entries: Sequence[NewEntry], channel: str
) -> Short | None:
    match changes:
        case []:
            record = ("", "")
        case [Delete(key=key)]:
            record = (key, "")
        case [Require(key=required), Delete(key=key)] if required == key:
            record = (key, "alive")
        case _:
            return None
    match entries:
        case [entry]:
            appended = (entry.id, end(entry.keep_until) or "", rules.check_value(entry.body))
            return "finish", (*head, *record, *appended, channel)
    return None
