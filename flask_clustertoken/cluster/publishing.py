"""Publishing: one entry of the feed, with the changes that are made in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..revocations import Notice, entry
from ..stores.base import Change, Entry
from .nodes import Node
from .runtime import NodeRuntime


class Publisher:
    """Appends for one process: what it appended it knows itself, before its place is reached."""

    def __init__(self, runtime: NodeRuntime) -> None:
        self.runtime = runtime

    def append(
        self,
        notice: Notice,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        *,
        above: int = 0,
    ) -> int:
        """Append *notice* and make *changes* in one step; its number, which is above *above*.

        *entry_id* makes a repetition harmless. Raises
        :class:`~flask_clustertoken.errors.StoreError` where it was not acknowledged; whether it
        stands in the feed is then unknown, save where a condition among the changes failed
        (:class:`~flask_clustertoken.errors.Conflict`).
        """
        runtime = self.runtime
        follower = runtime.follower()
        notice = replace(notice, format=self._form())
        notice = replace(notice, at=max(notice.at, follower.store_time()))
        # What this node's own tokens may live counts even before its announcement is read.
        longest = max(follower.view.longest(notice.at), float(runtime.settings.lifetime))
        new = notice.entry(longest, entry_id)
        seq = runtime.store.append([new], changes, above=above)[0]
        follower.learn_own(Entry(seq, 0, new.id, new.body, new.keep_until), notice)
        return seq

    def _form(self) -> int:
        """The highest form of entries that every node in the list reads."""
        if entry.FORMAT == entry.OLDEST_FORMAT:
            return entry.FORMAT
        present = (Node.decode(one).reads for one in self.runtime.store.nodes())
        return min(present, default=entry.FORMAT)
