"""The cluster store's contract: records, a feed, and who is present.

A store is what all nodes share. It knows bytes under text keys, an ordered feed and a list
of present nodes; it knows nothing of tokens. All calls are synchronous and each ends within
``timeout`` seconds: with an answer, or with a :class:`~flask_clustertoken.errors.StoreError`
whose cause is the driver's own error. Absence is an answer, trouble is an exception.

Constructing a store opens nothing. It opens in the process that first uses it, and again in
a child after a fork. Whether a record is alive is judged by the store's *clock* alone; a
server's own time-to-live may only be a broom that sweeps later.

The words of the contract are in three modules and all importable from here: what is written
(:mod:`.changes`), what is read (:mod:`.answers`), and what all stores keep to (:mod:`.rules`).
``flask_clustertoken.testing.contract`` holds these sentences as a test suite that any store,
also one of yours, can be put through.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from .. import forks
from ..clock import Clock, SystemClock
from .answers import FORMAT, Batch, Entry, Presence, Purged, Remark, Root, Vouched
from .changes import Add, Change, Delete, HeadIs, Held, NewEntry, Put, Record, Require, Unchanged
from .rules import PAGE_BYTES, VALUE_LIMIT, next_seq, seq_at, time_of

__all__ = [
    "CALL_TIMEOUT",
    "FORMAT",
    "PAGE",
    "PAGE_BYTES",
    "VALUE_LIMIT",
    "Add",
    "Batch",
    "Change",
    "ClusterStore",
    "Delete",
    "Entry",
    "HeadIs",
    "Held",
    "NewEntry",
    "Presence",
    "Purged",
    "Put",
    "Record",
    "Remark",
    "Require",
    "Root",
    "Unchanged",
    "Vouched",
    "next_seq",
    "seq_at",
    "time_of",
]

#: Seconds that a call to a store may take unless the opener says otherwise.
CALL_TIMEOUT = 5.0

#: Entries that one :meth:`ClusterStore.read` returns at most.
PAGE = 1000

_stores: weakref.WeakSet[ClusterStore] = weakref.WeakSet()


def _forget_all() -> None:
    for store in list(_stores):
        store.forget()


forks.in_child("stores", _forget_all)


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

    #: Bytes of a deployment's shared files unless it is set: a server that holds everything in
    #: memory should not be filled with them.
    files_total: ClassVar[int] = 64 * 1024 * 1024

    #: Seconds after which the caller should look at the store although nothing called.
    look_every: ClassVar[float | None] = None

    def __init__(self, *, clock: Clock | None = None, timeout: float = CALL_TIMEOUT) -> None:
        self.clock: Clock = clock or SystemClock()
        self.timeout = timeout
        _stores.add(self)

    @classmethod
    def home_of(cls, url: str) -> str:
        """The folder of this host in which an app whose store is *url* keeps what is its own.

        ``""`` where the store's URL names none. For an app without an instance folder: its key
        file lies there.
        """
        return ""

    @property
    def host_folder(self) -> str:
        """The folder of this host that is the store; ``""`` if it is none."""
        return ""

    # life

    @abstractmethod
    def forget(self) -> None:
        """Called in a child after a fork: drop everything that was opened, close nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the server or file. Twice is fine; any other call afterwards raises."""

    def another(self) -> ClusterStore:
        """A handle with connections of its own, so that what is large holds up nothing that is
        small; this one where there is no line to be held up. Whoever asked for it closes it.
        """
        return self

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

    def peek(self, key: str) -> Record | None:
        """As :meth:`get`, but an absence is only as new as what this handle has read or written.

        For whoever looks right behind a call that told of it: a store whose plain read may lag
        behind others, never behind itself, saves the second look.
        """
        return self.get(key)

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

        *prefix* is empty or ends with ``/``. *after* is the last key of the page before. A page
        has some MB at most (:data:`PAGE_BYTES`), whatever its *limit*. A
        record that lives through the whole walk is met once; the walk ends with an empty page.
        """

    def pages(
        self, prefix: str, after: str = "", limit: int = PAGE
    ) -> Iterator[list[tuple[str, Record]]]:
        """Every page of a walk with :meth:`scan`, each read when it is asked for."""
        while page := self.scan(prefix, after, limit):
            after = page[-1][0]
            yield page

    def walk(self, prefix: str) -> Iterator[tuple[str, Record]]:
        """Every live record whose key begins with *prefix*, page by page; see :meth:`scan`."""
        for page in self.pages(prefix):
            yield from page

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
        Raises :class:`Conflict` when an :class:`Add`, :class:`Require` or :class:`Unchanged` does
        not hold, :class:`HeadMoved` (whatever else does not hold) when a :class:`HeadIs` does not,
        and :class:`StoreNotOpen` when the store is sealed; so do add, put and touch.
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
        sets :attr:`look_every`. Raises :class:`~flask_clustertoken.errors.NoThread` where it needs
        one and there is none.
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

    def peek_nodes(self, limit: int) -> list[Presence]:
        """Some of the entries, *limit* at most, without a promise how new they are."""
        return self.nodes()[:limit]

    def time(self) -> float:
        """The store's own wall clock, at some moment after the call began.

        :attr:`Presence.changed_at` is by it. Embedded stores share the host's.
        """
        return self.clock.time()

    # root and moving house

    def remarks(self) -> list[Remark]:
        """What is to be known of what is behind the store, where that decides what it promises.

        For the operator; asked for before :meth:`begun`, and makes nothing either.
        """
        return []

    def reservation(self) -> str:
        """What a confirmation leaves open over this store, in a few words; ``""``: nothing."""
        return ""

    def schema_script(self, app_role: str = "", reader_role: str = "") -> str:
        """The SQL that makes what this store needs in somebody else's database; ``""``: nothing.

        With what *app_role*, which the nodes sign on with, and *reader_role*, for people who only
        look, are to be granted. Asks no server.
        """
        return ""

    def begun(self) -> bool:
        """Whether there is anything to ask yet; never makes it. For whoever must not begin one.

        A store that cannot say so without making it answers ``True``. Trouble is no answer
        here either: it is a :class:`~flask_clustertoken.errors.StoreError`.
        """
        return True

    @abstractmethod
    def root(self) -> Root:
        """What is said about this store; the first call on an empty store writes it, once."""

    def peek_root(self) -> Root:
        """As :meth:`root`, but only as new as what this handle has read or written before."""
        return self.root()

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
