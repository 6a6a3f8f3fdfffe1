"""What is read: entries in pages, who is present, and what is said once about a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: The number of the layout that this version writes into :class:`Root`.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What was appended as number *seq*; *prev* is the number of the entry before it (0: none)."""

    seq: int
    prev: int
    id: str
    body: bytes
    keep_until: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """One page of the feed.

    *entries* are in ascending order. Whoever has applied them is at *seq*. *more* says that
    another page follows at once. *floor* is the highest number ever trimmed: a reader whose
    position lies below it has missed something that it can no longer read, and starts again
    from 0. Reading from 0 gives every entry that still stands: the snapshot.
    """

    entries: tuple[Entry, ...]
    seq: int
    more: bool
    floor: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """The proof of :meth:`ClusterStore.vouch`: the feed's head, and the store's wall clock."""

    seq: int
    time: float


@dataclass(frozen=True, slots=True)
class Presence:
    """A node's entry: its own words in *info*, and a *version* that changes with each vouch.

    No version comes again, not even after the entry was withdrawn and made anew.

    *changed_at* is the store's wall clock at the last change: for display, never for a promise.
    """

    node_id: str
    info: bytes
    version: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class Root:
    """What is said once about a store.

    *epoch* is random, made with the store and kept by a migration. *state* is ``open``,
    ``preparing`` (being filled by a migration) or ``sealed`` (moved to *moved_to*).
    """

    epoch: str
    state: str = "open"
    moved_to: str = ""
    format: int = FORMAT


class Purged(NamedTuple):
    """How many records :meth:`ClusterStore.purge` deleted, and whether that was all."""

    deleted: int
    done: bool


class Remark(NamedTuple):
    """What an operator ought to know of the server, or the folder, behind a store.

    *severity* is ``ok`` or ``warning``: what makes a store unfit is an error at its first use.
    """

    severity: str
    said: str
    remedy: str = ""
