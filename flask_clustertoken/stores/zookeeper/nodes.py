"""Who is there, in ZooKeeper: a znode for each node's entry, and its versions."""

from __future__ import annotations

from collections.abc import Sequence
from random import sample

from ..base import Presence
from .codec import unescape
from .connection import CallDeadline, Op, Refused
from .site import Raced, Site, children, create, get, gone, stat, write


class Nodes:
    """The entries of one realm's nodes. Each call is a step of :meth:`.Site.again`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def announce(self, deadline: CallDeadline, node_id: str, info: bytes) -> None:
        line, path = self._site.line, self._site.node(node_id)
        (made,) = line.ask(deadline, create(path, info))
        if made is Refused.ABSENT:
            raise gone(path.rpartition("/")[0])
        if made is Refused.PRESENT:
            (written,) = line.ask(deadline, write(path, info))
            if isinstance(written, Refused):
                raise Raced(path)

    def withdraw(
        self, deadline: CallDeadline, node_id: str, unchanged: Presence | None, sure: bool
    ) -> bool:
        site, path = self._site, self._site.node(node_id)
        above, state = site.line.ask(deadline, stat(site.nodes), stat(path))
        if above is None:
            raise gone(site.nodes)
        if state is None or (unchanged is not None and state.mzxid != unchanged.version):
            if not sure:
                raise Raced(path)  # a server that lags may not show it yet
            return False
        # A znode that was deleted and made again counts its versions from the start. So
        # each delete changes what is above, too: if that still is the same, so is the entry.
        versions = (-1, -1) if unchanged is None else (above.version, state.version)
        ops = [
            Op("set", site.nodes, version=versions[0]),
            Op("delete", path, version=versions[1]),
        ]
        site.commit(deadline, ops)
        return True

    def listed(self, deadline: CallDeadline) -> list[Presence]:
        """Every entry, as of some moment after this call began."""
        site = self._site
        (names,) = site.ask(deadline, [children(site.nodes)], behind=True)
        if names is Refused.ABSENT:
            raise gone(site.nodes)
        return self._of(deadline, names)

    def some(self, deadline: CallDeadline, limit: int) -> list[Presence]:
        """A random choice of *limit* entries at most."""
        site = self._site
        (names,) = site.line.ask(deadline, children(site.nodes))
        if names is Refused.ABSENT:
            raise gone(site.nodes)
        return self._of(deadline, sample(names, min(limit, len(names))))

    def _of(self, deadline: CallDeadline, names: Sequence[str]) -> list[Presence]:
        """What the nodes with these znodes say of themselves, as far as they are there."""
        site = self._site
        answers = site.line.ask_many(deadline, [get(f"{site.nodes}/{one}") for one in names])
        return [
            # The version of a znode starts again when it is made again; this does not.
            Presence(unescape(name), answer[0], answer[1].mzxid, answer[1].mtime / 1000)
            for name, answer in zip(names, answers, strict=True)
            if answer is not Refused.ABSENT
        ]
