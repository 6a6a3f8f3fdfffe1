"""Publishing: one entry of the feed, with the changes that are made in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..revocations import FeedEntry
from ..stores.base import Change, Entry
from .forms import require_readers
from .runtime import NodeRuntime


class Publisher:
    """Appends for one process: what it appended it knows itself, before its place is reached."""

    def __init__(self, runtime: NodeRuntime) -> None:
        self.runtime = runtime

    def append(
        self,
        feed_entry: FeedEntry,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        *,
        above: int = 0,
    ) -> int:
        """Append *feed_entry* and make *changes* in one step; its number, which is above *above*.

        *entry_id* makes a repetition harmless. Raises
        :class:`~flask_clustertoken.errors.NodesTooOld` where a live node would not understand it,
        and :class:`~flask_clustertoken.errors.StoreError` where it was not acknowledged; whether it
        stands in the feed is then unknown, save where a condition among the changes failed
        (:class:`~flask_clustertoken.errors.Conflict`).
        """
        runtime = self.runtime
        follower = runtime.follower()
        require_readers(runtime.store, feed_entry)
        feed_entry = replace(feed_entry, at=max(feed_entry.at, follower.store_time()))
        # What this node's own tokens may live counts even before its announcement is read.
        longest = max(follower.view.longest(feed_entry.at), float(runtime.settings.lifetime))
        new = feed_entry.entry(longest, entry_id)
        seq = runtime.store.append([new], changes, above=above)[0]
        follower.learn_own(Entry(seq, 0, new.id, new.body, new.keep_until), feed_entry)
        return seq
