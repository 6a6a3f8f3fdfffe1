"""Places: what has to stand above a new record, and what this process knows of it.

A record's znode needs its area and its shard. Whatever is missing is made in the transaction that
adds the record: the first one of a shard costs no write more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .connection import Refused, Request
from .site import Site, children, stat

#: Areas and shards that a process remembers to be there, some hundred bytes each.
_KNOWN = 20_000

#: Areas whose shards are some thousand at most: they are listed at once, and what is not among
#: them is made. (Looked for one by one, most of a process's first thousand logins would wait once
#: more.)
_LISTED = ("token",)


@dataclass(frozen=True, slots=True)
class PlacesWanted:
    """What new records need, as far as it is not known to be there."""

    #: Places that are looked for.
    single: tuple[str, ...]
    #: Areas that are listed.
    areas: tuple[str, ...]
    #: Shards of such areas, be they listed now or before.
    shards: tuple[str, ...]

    @property
    def requests(self) -> list[Request]:
        return [*map(stat, self.single), *map(children, self.areas)]


class Places:
    """What this process knows to be there above the records of one realm.

    (What is deleted again is made anew when a transaction fails for it. So is learnt what others
    have made since it was listed.)
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._there: set[str] = set()
        self._listed: set[str] = set()

    def wanted(self, keys: Iterable[str], sure: bool) -> PlacesWanted:
        """What new records under *keys* need; *sure*: what was taken for missing may be there."""
        # (Dictionaries for their order: what is above comes first.)
        single: dict[str, None] = {}
        areas: dict[str, None] = {}
        shards: dict[str, None] = {}
        for key in keys:
            area, shard = self._site.above_record(key)
            if shard in self._there:
                continue
            if area.rpartition("/")[2] in _LISTED:
                shards[shard] = None
                if sure or area not in self._listed:
                    areas[area] = None
            else:
                single |= dict.fromkeys(one for one in (area, shard) if one not in self._there)
        return PlacesWanted(tuple(single), tuple(areas), tuple(shards))

    def missing(self, wanted: PlacesWanted, answers: Sequence[Any]) -> list[str]:
        """What has to be made of what is *wanted*, the upper ones first, by its *answers*."""
        count = len(wanted.single)
        states = zip(wanted.single, answers[:count], strict=True)
        missing = [path for path, state in states if state is None]
        for area, names in zip(wanted.areas, answers[count:], strict=True):
            self._listed.add(area)
            if isinstance(names, Refused):
                missing.append(area)
            else:
                self._there.update(f"{area}/{name}" for name in names)
        return missing + [shard for shard in wanted.shards if shard not in self._there]

    def found(self, wanted: PlacesWanted, path: str) -> bool:
        """Whether *path* is a shard that was taken for missing: then it is known to be there.

        Others make some, so they are listed again when another one is not known.
        """
        if path not in wanted.shards:
            return False
        self._there.add(path)
        self._listed.discard(path.rpartition("/")[0])
        return True

    def settled(self, wanted: PlacesWanted) -> None:
        """What is *wanted* is there from now on: a transaction was carried out."""
        if len(self._there) > _KNOWN:
            self._there.clear()
            self._listed.clear()
        self._there.update(wanted.single, wanted.shards)
