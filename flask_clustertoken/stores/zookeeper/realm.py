"""A realm as one process has it: its connection, what it last saw, the terms of a change."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from ...clock import Clock
from ...errors import StoreDamaged
from .. import rules
from ..base import Held, NewEntry, Root
from .address import EnsembleAddress, ZooKeeperOptions
from .appender import Appender
from .codec import Head, pack_head, pack_root, unpack_root
from .connection import CallDeadline, Line, Op, Refused
from .feed import Feed
from .loader import Loader
from .nodes import Nodes
from .records import Records
from .site import Raced, Site, get, gone, stat, write
from .sweeper import ZnodeSweeper


class Realm:
    """Made in the process that uses it; dropped in a child after a fork."""

    def __init__(
        self,
        address: EnsembleAddress,
        options: ZooKeeperOptions,
        name: str,
        clock: Clock,
        timeout: float,
    ) -> None:
        self.line = Line(address, options, timeout, self._changed)
        self.site = Site(self.line, address.root, name, clock)
        self.records = Records(self.site)
        self.feed = Feed(self.site)
        self.nodes = Nodes(self.site)
        self.sweeper = ZnodeSweeper(self.site, self.feed)
        self.loader = Loader(self.site, self.feed)
        self.appender = Appender(self.site, self.feed, self.records, self.unsealed)
        self._root: tuple[Root, int] | None = None
        self._made: int | None = None
        self._moved: Callable[[], None] | None = None

    # -- being woken -------------------------------------------------------------------

    def watch(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        self.feed.watch = self._on_head

    def _changed(self, connected: bool) -> None:
        """The connection was made, lost or made again; runs on kazoo's callback thread."""
        self.feed.unsure()
        self._root = None
        if connected:
            self._arm()
        if self._moved is not None:
            self._moved()

    def _on_head(self, event: Any) -> None:
        """The head changed, or the watch on it was lost with the line."""
        # Armed again before anybody is woken: the reading that follows goes through the same
        # client and comes after it, so no change falls between the two.
        self.feed.unsure()
        if event.type != "NONE":
            self._arm()
        if self._moved is not None:
            self._moved()

    def _arm(self) -> None:
        if self.feed.watch is not None:
            self.line.post(stat(self.site.head, self.feed.watch))

    # -- the root ----------------------------------------------------------------------

    def root(
        self, deadline: CallDeadline, *, anew: bool = False, behind: bool = False
    ) -> tuple[Root, int]:
        """The root and its znode's version; makes the realm's place if it is not there.

        With *behind*, as of some moment after this call began.
        """
        known = self._root
        if known is not None and not (anew or behind):
            return known
        site, first = self.site, self._made is None
        if behind and not first:
            _, answer = site.line.ask(deadline, write(site.scratch, b""), get(site.root))
        else:
            (answer,) = site.line.ask(deadline, get(site.root))
        if answer is Refused.ABSENT:
            if not first:
                raise gone(site.root)
            # Behind our own attempt to make it, which is a write, the answer is sure.
            site.again(deadline, lambda _: self._settle(deadline))
            (answer,) = site.line.ask(deadline, get(site.root))
        elif behind and first:
            _, answer = site.line.ask(deadline, write(site.scratch, b""), get(site.root))
        if answer is Refused.ABSENT:
            raise gone(site.root)
        data, state = answer
        if self._made not in (None, state.czxid):
            # Deleted and made again: what stood in the old one is not in this one.
            raise StoreDamaged(f"{site.root} is another store's than when this process began")
        self._made = state.czxid
        found = self._root = unpack_root(data), state.version
        return found

    def _settle(self, deadline: CallDeadline) -> None:
        """Make the realm's place in one step, as far as it is missing, the root last.

        Of several at once one does, and the others are told in that same step: its epoch holds.
        So there is no half-made place to wait for, whoever is killed on the way.
        """
        site = self.site
        names = site.base.strip("/").split("/")
        above = ["/" + "/".join(names[: number + 1]) for number in range(len(names))]
        place = dict.fromkeys((*above, *site.places()), b"")
        place[site.head] = pack_head(Head())
        place[site.root] = pack_root(Root(epoch=secrets.token_hex(8)))
        *seen, base, root = site.line.ask(deadline, *map(stat, above), stat(site.root))
        if root is not None:
            return  # somebody else was faster
        if base is None:
            # (Whoever may work below a path may see that there is something above, not what.)
            there = [path for path, state in zip(above, seen, strict=False) if state is not None]
        else:
            states = site.line.ask_many(deadline, list(map(stat, place)))
            there = [path for path, state in zip(place, states, strict=True) if state is not None]
        missing = [path for path in place if path not in set(there)]
        site.commit(deadline, [Op("create", path, place[path]) for path in missing])

    def unsealed(self, deadline: CallDeadline, sure: bool) -> Op:
        """The part of a transaction that fails once the store is sealed."""
        root, version = self.root(deadline, anew=sure)
        if root.state == "sealed" and not sure:
            raise Raced("the root")
        rules.require_open(root)
        return Op("check", self.site.root, version=version)

    def require_fillable(self, deadline: CallDeadline, held: Held | None) -> None:
        """That the store is being prepared, and that *held* still is held."""
        rules.require_preparing(
            self.site.again(deadline, lambda _: self.root(deadline, anew=True)[0])
        )
        if held is not None:
            found = self.records.look(deadline, [held.key], behind=True)[held.key]
            held.check(None if found is None else found.record, self.site.clock.time())

    def change_root(
        self, deadline: CallDeadline, old: Root, new: Root, entry: NewEntry | None
    ) -> bool:
        """Replace *old* by *new* with *entry* appended; ``False`` if it is not *old* any more."""
        site, feed = self.site, self.feed
        tried = False

        def step(sure: bool) -> bool:
            nonlocal tried
            root, version = self.root(deadline, anew=True)
            if root != old:
                if not sure:
                    raise Raced("the root")
                # Ours, if an earlier try was carried out and only its answer was lost.
                return tried and root == new
            seen = feed.look(deadline) if entry else None
            ops = [Op("set", site.root, pack_root(new), version)]
            if seen is not None and entry is not None:
                ops += feed.plan(deadline, seen, feed.number(seen.head, [entry], 0))[1]
            tried = True
            site.commit(deadline, ops)
            self._root = None
            return True

        return site.again(deadline, step)
