"""The cluster store's contract: records, a feed, and who is present.

A store is what all nodes share. It knows bytes under text keys, an ordered feed and a list
of present nodes; it knows nothing of tokens. All calls are synchronous and each ends within
``timeout`` seconds: with an answer, or with a :class:`~flask_clustertoken.errors.StoreError`
whose cause is the driver's own error. Absence is an answer, trouble is an exception.

Constructing a store opens nothing. It opens in the process that first uses it, and again in
a child after a fork. Whether a record is alive is judged by the store's *clock* alone; a
server's own time-to-live may only be a broom that sweeps later.

``flask_clustertoken.testing.contract`` holds these sentences as a test suite that any store,
also one of yours, can be put through.
"""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..clock import Clock, SystemClock
from ..errors import Conflict

#: The number of the layout that this version writes into :class:`Root`.
FORMAT = 1

#: Seconds that a call to a store may take unless the opener says otherwise.
CALL_TIMEOUT = 5.0

#: Bytes of a value, or of a feed entry's body, that every store can hold.
VALUE_LIMIT = 256 * 1024

#: Entries that one :meth:`ClusterStore.read` returns at most.
PAGE = 1000


# -- records ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """A value and the end of its life in wall-clock seconds (``None``: it has none)."""

    value: bytes
    expires_at: float | None

    def alive(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Add:
    """Part of a transaction: create *key* only where nothing lives, else :class:`Conflict`."""

    key: str
    value: bytes
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Put:
    """Part of a transaction: create or replace *key*, value and life together."""

    key: str
    value: bytes
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Part of a transaction: *key* is gone afterwards; deleting nothing is fine."""

    key: str


@dataclass(frozen=True, slots=True)
class Require:
    """Part of a transaction: *key* is alive at that moment, else :class:`Conflict`."""

    key: str


Change = Add | Put | Delete | Require


@dataclass(frozen=True, slots=True)
class Held:
    """What whoever loads must still hold: *key* is alive, with *value*."""

    key: str
    value: bytes

    def check(self, found: Record | None, now: float) -> None:
        """:class:`Conflict` unless *found*, which is under *key*, says so at *now*."""
        if found is None or found.value != self.value or not found.alive(now):
            raise Conflict(self.key)


# -- feed ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be appended.

    *id* is a text of 1 to 64 letters, digits, ``-`` or ``_`` chosen by the caller: appending
    a known id again changes nothing and returns the first number, so a retry after a lost
    answer is safe. *keep_until* (wall-clock seconds) is the earliest end that the writer knew
    of; ``None`` means "until it is trimmed by name".
    """

    id: str
    body: bytes
    keep_until: float | None


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


# -- presence and root -----------------------------------------------------------------


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


class Remark(NamedTuple):
    """What an operator ought to know of the server behind a store.

    *severity* is ``ok`` or ``warning``: what makes a store unfit is an error at its first use.
    """

    severity: str
    said: str
    remedy: str = ""


class Purged(NamedTuple):
    """How many records :meth:`ClusterStore.purge` deleted, and whether that was all."""

    deleted: int
    done: bool


_stores: weakref.WeakSet[ClusterStore] = weakref.WeakSet()


def _forget_all() -> None:
    for store in list(_stores):
        store.forget()


os.register_at_fork(after_in_child=_forget_all)


class ClusterStore(ABC):
    """Records, feed and presence of one realm.

    ============  =======================================================================
    attribute     meaning
    ============  =======================================================================
    ``scheme``    what its URL begins with
    ``shared``    more than one process sees it
    ``embedded``  no server: :meth:`position` is exact and cheap on every request, so that a
                  revocation is in force on the whole store when :meth:`append` has returned
    ``extra``     the optional dependency that it needs, or ``""``
    ============  =======================================================================
    """

    scheme: ClassVar[str]
    shared: ClassVar[bool] = True
    embedded: ClassVar[bool] = False
    extra: ClassVar[str] = ""

    #: Seconds after which the caller should look at the store although nothing called.
    look_every: ClassVar[float | None] = None

    def __init__(self, *, clock: Clock | None = None, timeout: float = CALL_TIMEOUT) -> None:
        self.clock: Clock = clock or SystemClock()
        self.timeout = timeout
        _stores.add(self)

    # life

    @abstractmethod
    def forget(self) -> None:
        """Called in a child after a fork: drop everything that was opened, close nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the server or file. Twice is fine; any other call afterwards raises."""

    @property
    @abstractmethod
    def url(self) -> str:
        """How to open the same store again, without passwords: for people and messages."""

    # records

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The records among *keys* that are alive.

        A key that is missing in the answer was absent at some moment after the call began,
        on the whole cluster: a store whose plain read may lag behind looks twice.
        """

    def get(self, key: str) -> Record | None:
        return self.get_many((key,)).get(key)

    @abstractmethod
    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        """Create *key* only where nothing lives; of two that try, one is told ``True``."""

    @abstractmethod
    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        """Create or replace *key*, value and life together. For what does change."""

    @abstractmethod
    def touch(self, key: str, expires_at: float | None) -> bool:
        """Prolong *key* only if it is alive, in one step; ``False`` if it is not.

        Never creates, never shortens. After a delete returned, no touch of any node brings
        the record back.
        """

    @abstractmethod
    def delete(self, key: str) -> bool:
        """*key* is gone when this returns; says whether something was there."""

    @abstractmethod
    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        """A page of live records whose keys begin with *prefix*, in a stable order.

        *prefix* is empty or ends with ``/``. *after* is the last key of the page before. A
        record that lives through the whole walk is met once; the walk ends with an empty page.
        """

    @abstractmethod
    def purge(self, before: float, limit: int = PAGE) -> Purged:
        """Delete up to *limit* records whose life ended before *before*.

        A store that has to look for them goes on at the next call where this one ended.
        """

    # feed

    @abstractmethod
    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        """Append *entries* and make *changes*: all of it in one step, or nothing.

        Returns the number of each entry. The first new number is
        ``max(head + 1, wall clock in µs, above + 1)``, so numbers do not repeat when a backup
        is restored (unless a clock had run ahead: readers compare the entry's id as well). If
        the id of the first entry is known already, nothing is done and the numbers of then are
        returned. With no entries it is a plain transaction on records.
        Raises :class:`Conflict` when an :class:`Add` or :class:`Require` does not hold, and
        :class:`StoreNotOpen` when the store is sealed; so do add, put and touch.
        """

    @abstractmethod
    def read(self, after: int, limit: int = PAGE) -> Batch:
        """A page of the entries after number *after*; see :class:`Batch`.

        The head is read *before* the entries, so that :attr:`Batch.seq` never promises more
        than was read.
        """

    @abstractmethod
    def head(self) -> int:
        """The feed's last number at some moment after the call began, on the whole cluster.

        Never from a view and never a plain read that may lag: where one server can be behind
        another, it stands behind a write of our own.
        """

    def position(self) -> int:
        """Embedded stores: the feed's last number, in well under a microsecond."""
        raise NotImplementedError

    @abstractmethod
    def watch(self, moved: Callable[[], None]) -> None:
        """Call *moved*, from any thread, whenever the feed may have moved or the line was cut.

        At most one watcher a handle; it must only set a flag. A store without such a call
        sets :attr:`look_every`.
        """

    @abstractmethod
    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """Up to *limit* entries after number *after* whose ``keep_until`` lies before *before*.

        In ascending order: whoever keeps some of them goes on behind the last.
        """

    @abstractmethod
    def trim(self, seqs: Sequence[int]) -> None:
        """Delete the entries with these numbers and raise :attr:`Batch.floor` past them."""

    # presence

    @abstractmethod
    def announce(self, node_id: str, info: bytes) -> None:
        """Create this node's entry, or take it up again."""

    @abstractmethod
    def vouch(self, node_id: str, info: bytes) -> Vouched:
        """Rewrite this node's *existing* entry, then read the head through the same client.

        The answer proves that at some moment after the call began the feed had nothing beyond
        ``seq``. Raises :class:`NotAnnounced` where the entry is gone; it is never made again here.
        """

    @abstractmethod
    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        """Remove a node's entry; its owner gave up its lease before it calls this.

        Anybody else names the entry as it was listed, *unchanged*: it is removed only if it
        still is that one, in one step. A node that was thought gone may have come back since.
        Says whether the entry is gone because of this call.
        """

    @abstractmethod
    def nodes(self) -> list[Presence]:
        """Every entry, also of nodes that went quiet, as of some moment after the call began."""

    def time(self) -> float:
        """The store's own wall clock, at some moment after the call began.

        :attr:`Presence.changed_at` is by it. Embedded stores share the host's.
        """
        return self.clock.time()

    # root and moving house

    def begun(self) -> bool:
        """Whether there is anything to ask yet; never makes it. For whoever must not begin one.

        A store that cannot say so without making it answers ``True``. Trouble is no answer
        here either: it is a :class:`~flask_clustertoken.errors.StoreError`.
        """
        return True

    def remarks(self) -> list[Remark]:
        """How the server behind the store is set up, where that decides what it can promise."""
        return []

    @abstractmethod
    def root(self) -> Root:
        """What is said about this store; the first call on an empty store writes it, once."""

    @abstractmethod
    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        """Replace *old* by *new* in one step, with *entry* appended in the same step.

        ``False``, and nothing was written, if the root is not *old* any more.
        """

    @abstractmethod
    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        """Write what another store held, numbers included. Only while ``preparing``; repeatable.

        The feed's head and floor become at least *head* and *floor*. Raises
        :class:`~flask_clustertoken.errors.Conflict` once *held* is not held any more: what was
        written until then stays, and nothing more is written.
        """

    # context manager

    def __enter__(self) -> ClusterStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
