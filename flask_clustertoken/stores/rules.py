"""What every store keeps to, said once: numbers, conditions, the states of a store, its limits.

A store's own module holds its mechanics; each of these is called where the store's one step
is made, with what that step has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from ..errors import (
    ClusterTokenError,
    ConfigurationError,
    Conflict,
    NotAnnounced,
    StoreNotOpen,
    ValueTooLarge,
)
from ..settings import VALUE_LIMIT as VALUE_LIMIT
from .answers import FORMAT, Root
from .changes import Add, Change, HeadIs, Record, Require, Unchanged
from .numbers import seq_at as seq_at
from .numbers import time_of as time_of

Item = TypeVar("Item")

#: Bytes of values after which a page of records ends, so that no walk needs more memory.
PAGE_BYTES = 4_000_000


# -- the feed's numbers ----------------------------------------------------------------


def next_seq(head: int, now: float, above: int = 0) -> int:
    """The number of what is appended at *now* behind *head*; see :meth:`.ClusterStore.append`."""
    return max(head + 1, seq_at(now), above + 1)


# -- a transaction ---------------------------------------------------------------------


def check_conditions(
    changes: Sequence[Change],
    head: Callable[[], tuple[int, str | None]],
    living: Callable[[str], Record | None],
) -> None:
    """Judge what *changes* demand before the first of them is made, the head above all else.

    *head* (the last number, and the id of the entry there unless it was trimmed) and *living*
    (the record under a key, if it is alive) are asked for only if something depends on it. Raises
    :class:`HeadMoved` or :class:`Conflict`, whose key is the first that does not hold.
    """
    for change in changes:
        if isinstance(change, HeadIs):
            change.check(*head())
    check_records(changes, living)


def check_records(changes: Iterable[Change], living: Callable[[str], Record | None]) -> None:
    """What :func:`check_conditions` says of records: :class:`Conflict` where one does not hold."""
    for change in changes:
        if isinstance(change, Add | Require | Unchanged):
            found = living(change.key)
            if isinstance(change, Unchanged):
                holds = found is not None and found.value == change.value
            else:
                holds = (found is None) is isinstance(change, Add)
            if not holds:
                raise Conflict(change.key)


def page_of(records: Iterable[tuple[str, Record]], limit: int) -> list[tuple[str, Record]]:
    """The first of *records* that make a page: *limit* of them, and :data:`PAGE_BYTES` or one more.

    What is not taken is not asked for.
    """
    page: list[tuple[str, Record]] = []
    size = 0
    for key, record in records:
        page.append((key, record))
        size += len(record.value)
        if len(page) >= limit or size >= PAGE_BYTES:
            break
    return page


def check_value(value: bytes) -> bytes:
    """*value*, which may be stored; :class:`ValueTooLarge` beyond :data:`VALUE_LIMIT`."""
    if len(value) > VALUE_LIMIT:
        raise ValueTooLarge("a value", len(value), VALUE_LIMIT)
    return value


def in_pages(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """*items*, at most *size* at once: for a load, whose source is read meanwhile."""
    left = iter(items)
    while page := list(islice(left, size)):
        yield page


# -- the states of a store and of a handle ---------------------------------------------


def require_open(root: Root) -> None:
    """:class:`StoreNotOpen` if the store is sealed: nothing new is written into it."""
    if root.state == "sealed":
        raise StoreNotOpen(f"this store was moved to {root.moved_to}")


def require_preparing(root: Root) -> None:
    """:class:`StoreNotOpen` unless the store is being filled."""
    if root.state != "preparing":
        raise StoreNotOpen("only a store that is being prepared can be filled")


def require_known_format(number: int) -> None:
    """:class:`StoreNotOpen` if the store's layout is a later version's."""
    if number > FORMAT:
        raise StoreNotOpen(
            f"this store has format {number}, this version of Flask-ClusterToken reads up to "
            f"{FORMAT}: a version that reads format {number} is needed."
        )


def was_closed() -> ClusterTokenError:
    """What each call on a handle raises after ``close()``."""
    return ClusterTokenError("this store handle was closed")


def not_announced() -> NotAnnounced:
    """What a vouch raises where the node's entry is gone."""
    return NotAnnounced("this node has no entry in the list of nodes")


# -- opening ---------------------------------------------------------------------------


def no_options(scheme: str, options: Mapping[str, Any]) -> None:
    """:class:`ConfigurationError` (``STORE_OPTIONS``) if there are any."""
    if options:
        raise ConfigurationError(
            "STORE_OPTIONS", f"{scheme}: has no option {min(options)!r}.", "Remove it."
        )
