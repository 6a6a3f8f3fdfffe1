"""Reader: takes the feed into a node's view, in order and without a gap.

Any thread may read on, and none holds a lock while the store works: what another one did
meanwhile is seen by the *era*, which moves when the position is given up. What cannot be
learnt stops the reading; what the store does not know any more is said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import StoreError, StoreNotOpen, StoreUnavailable
from ..events import Events, RevocationApplied
from ..stores.base import FORMAT, Batch, ClusterStore, Entry, Root
from .entry import LIFETIME_ANNOUNCED, REVOKING, FeedEntry
from .place import Place
from .snapshot import PAGES_AT_ONCE, Eras, Learnt, Snapshot
from .view import View, mark_covers

logger = logging.getLogger("flask_clustertoken")

ROLLED_BACK = "the store was rolled back; after a restore run: flask tokens restored"


#: Times that the feed is looked at behind its head: whoever answers may lag, and what was lost
#: is read anew and looked at once more.
LOOKS = 4

#: Times that a snapshot starts over because the store was replaced, or doubted, meanwhile.
SNAPSHOTS = 3


class UnreadableEntry(StoreError):
    """The feed holds an entry that this version does not understand."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What whoever remembers by this node's view is told, at once and from whichever thread."""

    #: The store that is read is the one of this epoch: what another one answered is worth
    #: nothing, and what this one answered must be asked again.
    forget: Callable[[str], None]
    #: The states of the keys may have changed.
    keys: Callable[[], None]


class Reader:
    """One node's reading of one store's feed.

    *void* is called, with the reason, when nobody can vouch for the view any more.
    """

    def __init__(
        self, store: ClusterStore, *, events: Events, hooks: Hooks, void: Callable[[str], None]
    ) -> None:
        self.store = store
        self.view = View()
        #: The highest number met anywhere, also inside a token.
        self.seen = 0
        self._events = events
        self._hooks = hooks
        self._void = void
        self._rolled_back = 0
        self._keys_seen = 0
        #: The epoch of the store that is read, ``""`` before the first contact.
        self.epoch = ""
        #: The number up to which listeners were told, and numbers beyond it that they know.
        self._told = 0
        self._ahead: set[int] = set()
        #: Entries of our own that were acknowledged, beyond the place at which we stand: until they
        #: were read there, nobody but us may know that a store which lacks them went back.
        self._own: set[int] = set()
        #: Moves when our position was given up.
        self.era = 0
        #: Moves when what was told to the store is not in it: another one, or an older one.
        self.losses = 0
        #: The announcement of each lifetime that was met in the feed last: its number and end.
        self.announced: dict[float, tuple[int, float]] = {}
        #: What was read last in its place.
        self._last = Place(0)
        self._snapshot = Snapshot(store, lambda batch: self.learn_page(batch)[0])

    @property
    def rolled_back(self) -> bool:
        """The store has lost entries that were known, and nobody has said that it was restored."""
        return self._rolled_back > self.view.restored

    @property
    def known(self) -> int:
        """The highest number that the store has shown or given us: its head is not below that."""
        with self.view.lock:
            return max(self.view.applied, *self._own) if self._own else self.view.applied

    def met(self, seq: int) -> None:
        """A token carries number *seq*: it may be ahead of this node."""
        if seq > self.seen:  # (mostly not: no lock is taken then)
            with self.view.lock:
                self.seen = max(self.seen, seq)

    def meet(self, epoch: str) -> None:
        """Take notice of the store's epoch: at the start, and where it is not the one known."""
        if epoch == self.epoch:
            return
        # First of all: whoever reads on in that store from here on judges by its epoch.
        self._hooks.forget(epoch)
        if self.epoch:
            logger.error(
                "the cluster store was replaced by another one; tokens of the old one are refused"
            )
            self.begin_anew()
            with self.view.lock:
                self._rolled_back = 0
                self._note_loss()
            # And again what was asked meanwhile at the position of before.
            self._hooks.forget(epoch)
        self._hooks.keys()
        self.epoch = epoch

    def begin_anew(self) -> None:
        """Give our position up: the feed is read from its start, and what is known is kept."""
        with self.view.lock:
            # (A reading that is under way in another thread moves nothing any more.)
            self.era += 1
            self._own.clear()
            self.view.begin_anew()

    def follow(self) -> bool:
        """Read and apply what is new. Any thread may; none holds a lock while the store works.

        ``False`` where the store showed neither our place nor anything behind it: whoever
        answered lags, and nothing tells whether our place is one of this history.
        """
        with self.view.lock:
            era, place = self.era, self.place()
        if place.seq == 0:
            self.take_snapshot()
            return True
        found = True
        for _ in range(PAGES_AT_ONCE):
            batch = self.store.read(place.seq - 1)
            here = batch.entries[0] if batch.entries else None
            if here is None:
                found = found and (not place.entry or batch.floor >= place.seq)
            elif here.seq == place.seq:
                batch = replace(batch, entries=batch.entries[1:])
            if self._is_another(here, place, era) or self.has_gap(place.seq, batch, era):
                # (In a gap an unlock may have been, and have been swept with its lock: what stands
                # is what the snapshot has.)
                with self.view.lock:
                    self.view.locks.begin_anew()
                self.take_snapshot()
                return True
            learnt, restored = self.learn_page(batch)
            if restored:
                # Whatever was taken for ours until here: what the nodes appended between the
                # restore and this entry may stand under numbers that we had passed.
                with self.view.lock:
                    self.view.locks.begin_anew()
                self.take_snapshot()
                return True
            after, place = place.seq, place.behind(batch)
            missing = self._own_missing(after, place.seq, batch, era)
            if missing:
                self.lost(missing, era)
                self.take_snapshot()
                return True
            self.advance(place.seq, era, learnt, place.entry)
            if not batch.more:
                break
        return found

    def place(self) -> Place:
        """Where this node stands in the feed, with the entry that it read there if it knows."""
        applied = self.view.applied
        return self._last if self._last.seq == applied else Place(applied)

    def _is_another(self, here: Entry | None, place: Place, era: int) -> bool:
        """Whether *here* stands at our place, but is not what we read there."""
        if here is None or here.seq != place.seq or place.entry in ("", here.id):
            return False
        self.lost(place.seq, era)
        return True

    def _own_missing(self, after: int, until: int, batch: Batch, era: int) -> int:
        """The highest number of an entry of ours that should stand in *batch*, or 0."""
        if not self._own:
            return 0
        shown = {entry.seq for entry in batch.entries}
        with self.view.lock:
            if era != self.era:
                return 0
            beyond = max(after, batch.floor, self.view.applied)
            return max((one for one in self._own - shown if beyond < one <= until), default=0)

    def has_gap(self, after: int, batch: Batch, era: int) -> bool:
        """Whether something between *after* and this page is missing here."""
        position = after
        for entry in batch.entries:
            if entry.prev < after:
                # The store's history does not contain our position.
                self.lost(after, era)
                return True
            if entry.prev != position:
                return True
            position = entry.seq
        return batch.floor > after and batch.floor > position

    def take_snapshot(self) -> None:
        """Merge everything that stands in the feed into the view; forget remembered answers."""
        for _ in range(SNAPSHOTS):
            eras = Eras(self.era, self.view.locks.era)
            read = self._snapshot.read(eras)
            # Asked behind the last page: a store that took the old one's place goes on from its
            # number and lacks its revocations, so tokens of the old one must not be judged by it.
            self.meet(self.store.peek_root().epoch)
            if eras.position == self.era:
                break
        else:
            raise StoreError("the store is being replaced all the time")
        with self.view.lock:
            # (What ends below our place is no whole feed: whoever answered lags, or the store
            # went back, and then the one behind ``restored`` settles it.)
            if read.place.seq >= self.view.applied:
                self.view.locks.settle(eras.locks)
        if read.place.seq:
            self._hooks.forget(self.epoch)
        self.advance(read.place.seq, eras.position, read.learnt, read.place.entry)

    def learn_page(self, batch: Batch) -> tuple[list[Learnt], bool]:
        """Take in a page; what of it the listeners are to be told once the position has moved.

        And whether it says that a backup was restored.

        Who only just starts tells nobody of what happened before: it has served nobody yet.
        """
        telling = self._told > 0 and self._events.heard(RevocationApplied)
        learnt = []
        restored = False
        for entry in batch.entries:
            feed_entry = self.learn_entry(entry)
            restored = restored or feed_entry.kind == "restored"
            if telling and feed_entry.kind in REVOKING and entry.seq > self._told:
                learnt.append((entry.seq, feed_entry))
        changed = self.view.keys_changed
        if changed > self._keys_seen:
            # Before the position moves: a key that was dropped must not verify for a thread
            # that finds nothing left to read. A store in trouble is asked again.
            self._hooks.keys()
            self._keys_seen = changed
        if self.view.broken:
            # This too: whoever waits for the nodes of a sealed store goes by the position.
            self._void(self.view.broken)
        return learnt, restored

    def advance(self, seq: int, era: int, learnt: Sequence[Learnt] = (), entry: str = "") -> None:
        """Move the position, and tell the listeners, each of them of each revocation once."""
        with self.view.lock:
            new = [one for one in learnt if one[0] > self._told and one[0] not in self._ahead]
            if era == self.era:
                if seq >= self.view.applied:
                    self._last = Place(seq, entry)
                self.view.applied = max(self.view.applied, seq)
                self._told = max(self._told, seq)
                self._ahead = {one for one in self._ahead if one > self._told}
                self._own = {one for one in self._own if one > self.view.applied}
            else:
                self._ahead.update(one[0] for one in new)
        self.met(seq)
        for one in new:
            self._tell(*one)

    def _tell(self, seq: int, feed_entry: FeedEntry) -> None:
        # Outside all locks: a listener may judge tokens, and read on in doing so.
        self._events.announce(
            RevocationApplied(seq, feed_entry, lambda token: mark_covers(seq, feed_entry, token))
        )

    def learn_entry(self, entry: Entry) -> FeedEntry:
        """What *entry* says, taken into the view. Raises :class:`UnreadableEntry`."""
        try:
            feed_entry = FeedEntry.decode(entry.body)
            self.view.learn(entry, feed_entry)
            if feed_entry.kind == "lifetime":
                self.announced[feed_entry.value] = (entry.seq, feed_entry.at + LIFETIME_ANNOUNCED)
            return feed_entry
        except Exception as error:
            # Whatever it is that fails: what cannot be learnt is not skipped.
            raise UnreadableEntry(
                f"entry {entry.seq} of the feed cannot be read by this version: "
                f"{str(error) or type(error).__name__}"
            ) from error

    def learn_own(self, entry: Entry, feed_entry: FeedEntry) -> None:
        """Take in an entry of our own that was just acknowledged.

        It never moves the position: entries before it may still be unread.
        """
        # (Taken in again in its place: a longer lifetime may have been announced before it,
        # and then it is remembered for longer.)
        # (Also where the position is past its number: that may be a lost entry's, see Place.)
        with self.view.lock:
            self.view.learn(entry, feed_entry)
            self.seen = max(self.seen, entry.seq)
            if entry.seq > self.view.applied:
                self._own.add(entry.seq)
            new = entry.seq > self._told and entry.seq not in self._ahead
            if new:
                self._ahead.add(entry.seq)
        if new and feed_entry.kind in REVOKING:
            self._tell(entry.seq, feed_entry)

    def lost(self, seq: int, era: int) -> None:
        """The store does not know number *seq*, which was read from it in *era*."""
        with self.view.lock:
            if era != self.era:
                return  # what lacks it is another store than the one it was read from
            known, self._rolled_back = self._rolled_back, max(self._rolled_back, seq)
            self._own.clear()
            self._note_loss()
            self.view.locks.begin_anew()
        if seq > known:
            logger.error(
                "the cluster store was rolled back: it does not know number %d any more; this "
                "node refuses until 'flask tokens restored' was run",
                seq,
            )
        self.met(seq)
        self._void(ROLLED_BACK)

    def _note_loss(self) -> None:
        self.losses += 1
        self.announced = {}

    def reach(self, seq: int) -> bool:
        """Read on until the view stands at *seq*; ``False`` where the store does not have it.

        ``False`` too where it was read that the store is sealed: whoever asks has taken a lease
        of before.
        ``False`` after a look behind a write of our own means that the store was rolled back.
        """
        era = self.era
        if self.view.applied < seq:
            self.follow()
        if self.view.applied >= seq:
            return not self.view.broken
        if self.store.head() < seq:
            self.lost(seq, era)
            return False
        self.follow()
        return self.view.applied >= seq and not self.view.broken

    def reach_head(self) -> int:
        """The head, behind a write of our own; the view was read up to it.

        :class:`StoreUnavailable` where it could not be, also where the store does not know the
        place at which this node stands. (By its number such a view seems to have read all, and
        it knows nothing of what was appended since the store was rolled back.)
        One call for the head and, mostly, one that reads the entry there.
        """
        # (Taken before the head is asked for: other threads read on meanwhile.)
        era, known = self.era, self.known
        head = self.store.head()
        if head < known:
            self.lost(known, era)
            raise StoreUnavailable(ROLLED_BACK)
        # Also where the view stands at this very number: a look tells whether it is the entry
        # that was read there, or one of another history that has come to the number again.
        for _ in range(LOOKS):
            losses = self.losses
            if self.follow() and self.reach(head) and self.losses == losses:
                return head
            if self.view.broken:
                break
        raise StoreUnavailable("this node could not catch up with the revocations")


def refuse_unusable(root: Root) -> None:
    """:class:`StoreNotOpen` where no node may go by the store of *root*."""
    if root.format > FORMAT:
        raise StoreNotOpen(f"the store has form {root.format}; a newer version is needed")
    if root.state == "sealed":
        raise StoreNotOpen(
            f"the store was sealed: its contents moved to {root.moved_to or 'another one'}; "
            "set STORE to it and restart"
        )
    if root.state != "open":
        raise StoreNotOpen("the store is still being filled by a migration")
