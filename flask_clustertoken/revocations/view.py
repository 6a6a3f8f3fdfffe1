"""The view: a node's own copy of the live revocations.

What a view has learnt it drops only when the revocation itself is over; a snapshot that lacks
it changes nothing. A check touches neither network nor disk, and costs the same at ten
revocations and at a million.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import RLock

from ..clock import SKEW
from ..stores.base import Entry
from ..tokens import Token, view_keys
from ..tokens import digest as digest_of
from .digest_table import ALWAYS, NEVER, DigestTable
from .entry import LIFETIME_ANNOUNCED, FeedEntry
from .locks import Lock, Locks, lock_of


def mark_covers(seq: int, feed_entry: FeedEntry, token: Token) -> bool:
    """Whether the one revocation *feed_entry*, number *seq*, covers *token*.

    A lock covers whatever it matches, whenever issued: it was in force when it was learnt.
    """
    if feed_entry.kind == "lock":
        return lock_of(seq, feed_entry).matches(token, view_keys(token))
    seq = feed_entry.number(seq)
    if feed_entry.kind == "labels_before":
        marked = any(digest_of("label", label) in feed_entry.digests for label in token.labels)
        return marked and token.since < seq
    if feed_entry.kind == "ids":
        return digest_of("id", token.id) in feed_entry.digests
    if feed_entry.kind == "labels":
        return any(digest_of("label", label) in feed_entry.digests for label in token.labels)
    if token.kind not in feed_entry.kinds:
        return False
    if feed_entry.kind == "not_before":
        return token.issued_at < feed_entry.value
    if feed_entry.kind == "subject" and (
        digest_of(f"subject:{token.kind}", token.subject) not in feed_entry.digests
    ):
        return False
    return feed_entry.kind in ("subject", "realm", "restored") and token.since < seq


class View:
    """What one node knows of the feed, up to :attr:`applied`.

    Readers call :meth:`covers` without a lock, since what it reads is replaced and never changed
    in place; whoever learns holds the lock of this view, and so does whoever walks through what
    is learnt.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        #: The feed's number up to which everything is known.
        self.applied = 0
        #: Moves with each revocation learnt: an answer of before must be asked again.
        self.generation = 1
        #: Why this view can never be fresh again, or ``""``.
        self.broken = ""
        #: The number of the last ``restored`` entry.
        self.restored = 0
        #: The number of the last change of the keys' states.
        self.keys_changed = 0
        #: The number of the last barrier.
        self.barrier = 0
        self._table = DigestTable()
        self._realm = {"login": 0, "api": 0}
        self._not_before = {"login": 0.0, "api": 0.0}
        self._lifetimes: dict[float, float] = {}
        self._unswept: dict[int, FeedEntry] = {}
        self._locks = Locks()

    def __len__(self) -> int:
        """How many revocations of ids, labels and subjects are remembered."""
        return len(self._table)

    # asked by each request

    def covers(self, token: Token, keys: Iterable[int] | None = None) -> bool:
        """Whether a revocation covers *token*; *keys* are its :func:`view_keys`, if at hand."""
        since = token.since
        if since < self._realm[token.kind] or token.issued_at < self._not_before[token.kind]:
            return True
        seq = self._table.seq
        keys = keys or view_keys(token)
        return any(seq(key) > since for key in keys) or self._locks.ended(token, keys)

    def covers_id(self, token_id: str, since: int) -> bool:
        """Whether a revocation of this very id is known; *since* is its token's."""
        return self._table.seq(digest_of("id", token_id)) > since

    def lock_on(self, token: Token, now: float, keys: Iterable[int] | None = None) -> Lock | None:
        """The lock that refuses *token* at the time of day *now*, whenever it was issued."""
        return self._locks.on(token, now, keys)

    @property
    def locks(self) -> Locks:
        """The locks that are known, for whoever lists or sweeps them."""
        return self._locks

    # learning

    def longest(self, now: float) -> float:
        """The longest lifetime with which a token may be alive anywhere, as announced."""
        longest = 0.0
        # (A loop: a snapshot asks once for each entry, and a generator takes four times as long.)
        with self.lock:
            for one, end in self._lifetimes.items():
                if end > now and one > longest:
                    longest = one
        return longest

    def learn(self, entry: Entry, feed_entry: FeedEntry) -> None:
        """Take in one entry; again is fine. Never moves :attr:`applied`."""
        with self.lock:
            self._learn(entry, feed_entry)

    def begin_anew(self) -> None:
        """Nothing is taken back; what was judged by this view is judged once more."""
        with self.lock:
            self.applied = 0
            self._locks.begin_anew()
            self.generation += 1

    def _learn(self, entry: Entry, feed_entry: FeedEntry) -> None:
        seq = entry.seq
        kind = feed_entry.kind
        if kind == "lifetime":
            end = feed_entry.at + LIFETIME_ANNOUNCED + feed_entry.value + SKEW
            self._lifetimes[feed_entry.value] = max(end, self._lifetimes.get(feed_entry.value, 0.0))
        elif kind == "barrier":
            self.barrier = max(self.barrier, seq)
        elif kind == "keys":
            self.keys_changed = max(self.keys_changed, seq)
        elif kind == "sealed":
            self.broken = (
                f"the store was moved to {feed_entry.extra.get('moved_to', 'another one')}"
            )
        elif kind == "swept":
            self._settle(int(feed_entry.value), entry, feed_entry)
        elif kind == "unlock":
            self._locks.unlock(feed_entry.number(seq), seq, (feed_entry.digests, feed_entry.kinds))
        else:
            until = self._until(entry, feed_entry)
            if kind == "lock":
                self._lock(entry, feed_entry, until)
            else:
                self._cover(feed_entry.number(seq), feed_entry, until)
                if feed_entry.remembered_until(0.0) is None:
                    self._unswept[seq] = feed_entry
            if kind == "restored":
                self.restored = max(self.restored, feed_entry.number(seq))
            self.generation += 1

    def _lock(self, entry: Entry, feed_entry: FeedEntry, until: int) -> None:
        lock = lock_of(entry.seq, feed_entry, None if until == NEVER else float(until))
        if "login" in feed_entry.kinds and not lock.except_labels:
            # What it has ended stays so when it stands no more, and longer than its entry may.
            marked = max(until if until != NEVER else 0, self._marked_until(entry, feed_entry))
            if feed_entry.digests:
                # (The first is the one that logins have: API tokens are good again later.)
                self._table.learn(feed_entry.digests[0], lock.seq, marked)
            else:
                self._realm["login"] = max(self._realm["login"], lock.seq)
        self._locks.learn(lock)
        # (Last: whoever sees the new generation finds it.)

    def _marked_until(self, entry: Entry, feed_entry: FeedEntry) -> int:
        """Until then a mark of this very moment over logins is remembered."""
        mark = FeedEntry("realm", feed_entry.at, kinds=("login",))
        return int(mark.remembered_until(self.longest(feed_entry.at), entry.seq) or 0) + 1

    def _until(self, entry: Entry, feed_entry: FeedEntry) -> int:
        known = feed_entry.remembered_until(self.longest(feed_entry.at), entry.seq)
        if known is None or entry.keep_until is None:
            return NEVER
        return min(NEVER, int(max(known, entry.keep_until)) + 1)

    def _cover(self, seq: int, feed_entry: FeedEntry, until: int) -> None:
        if feed_entry.kind in ("ids", "labels"):
            for key in feed_entry.digests:
                self._table.learn(key, ALWAYS, until)
        elif feed_entry.kind in ("subject", "labels_before"):
            for key in feed_entry.digests:
                self._table.learn(key, seq, until)
        elif feed_entry.kind == "not_before":
            for kind in feed_entry.kinds:
                self._not_before[kind] = max(self._not_before[kind], feed_entry.value)
        else:
            for kind in feed_entry.kinds:
                self._realm[kind] = max(self._realm[kind], seq)

    def _settle(self, seq: int, entry: Entry, swept: FeedEntry) -> None:
        self._locks.forget(seq)
        mark = self._unswept.pop(seq, None)
        if mark is None:
            return
        until = swept.remembered_until(self.longest(swept.at), entry.seq) or 0.0
        for key in mark.digests:
            self._table.settle(key, seq, min(NEVER, int(until) + 1))

    def unswept(self) -> dict[int, FeedEntry]:
        """Marks over tokens that never expire whose records are not known to be deleted."""
        with self.lock:
            return dict(self._unswept)

    def expire(self, now: float) -> None:
        """Forget a little of what is over. Only for a node whose clock was just confirmed."""
        with self.lock:
            self._table.expire(now)
            self._locks.expire(now)
            self._lifetimes = {one: end for one, end in self._lifetimes.items() if end > now}
