"""Sources: who tells the cluster from outside that logins are over, and was last heard when.

A source that fell silent looks like peace: nothing is ended, and nothing says why. So whoever
listens to one says here what it hears, in the store, where a command line can see it too. Two
records each, since they are written by different processes: what is said of the source by the one
that looks after it, and when anything came of it last, by whichever node it came to.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from ..stores.base import ClusterStore

#: Where they stand.
SOURCES = "sources/"

#: Seconds that the records are kept when nobody looks after the source any more: an app that does
#: not listen to it has no use for what ``doctor`` says of it. Whoever does tells it again, at
#: least every so many seconds.
REMEMBERED, TOLD_AGAIN = 2 * 86_400.0, 0.5 * 86_400.0

#: Seconds by which what is said of a source may be behind; nothing is written sooner.
TOLERATED = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """One of them. Times are wall-clock seconds; 0.0: never."""

    name: str
    url: str
    #: In which way it tells: ``push`` or ``poll``.
    by: str
    #: Since when somebody listens.
    since: float
    #: Seconds of silence from which on something is wrong; 0.0: it may be silent for ever.
    silent_after: float = 0.0
    #: What is wrong with it, as far as known.
    trouble: str = ""
    heard_at: float = 0.0

    def silent_for(self, now: float) -> float:
        """Seconds for which nothing was heard."""
        return max(0.0, now - max(self.heard_at, self.since))

    def is_silent(self, now: float) -> bool:
        """Whether it is silent for longer than it may be."""
        return 0 < self.silent_after < self.silent_for(now)


def source_key(name: str, url: str) -> str:
    """The prefix of the records of one source."""
    return f"{SOURCES}{sha256(f'{name}#{url}'.encode()).hexdigest()[:24]}"


def tell_source(store: ClusterStore, source: Source, now: float) -> None:
    """Write what is said of *source*, for those that look; when it was heard is kept as long."""
    said = {name: value for name, value in asdict(source).items() if name != "heard_at"}
    key = source_key(source.name, source.url)
    store.put(f"{key}/about", json.dumps(said).encode(), now + REMEMBERED)
    # (Not written: another node may hear of it just now.)
    store.touch(f"{key}/heard", now + REMEMBERED)


def tell_heard(store: ClusterStore, name: str, url: str, now: float) -> None:
    """Write that something came of the source just now."""
    store.put(f"{source_key(name, url)}/heard", repr(now).encode(), now + REMEMBERED)


def source(store: ClusterStore, name: str, url: str) -> Source | None:
    """What is known of one source."""
    key = source_key(name, url)
    found = store.get_many([f"{key}/about", f"{key}/heard"])
    about = found.get(f"{key}/about")
    heard = found.get(f"{key}/heard")
    return None if about is None else _read(about.value, heard.value if heard else b"0")


def sources(store: ClusterStore) -> list[Source]:
    """Every source that anybody listens to, or has lately."""
    about: dict[str, bytes] = {}
    heard: dict[str, bytes] = {}
    for key, record in store.walk(SOURCES):
        place, _, what = key.rpartition("/")
        (heard if what == "heard" else about)[place] = record.value
    found = [_read(value, heard.get(place, b"0")) for place, value in sorted(about.items())]
    return [one for one in found if one is not None]


def _read(about: bytes, heard: bytes) -> Source | None:
    try:
        said: dict[str, Any] = json.loads(about)
        known = {name: said[name] for name in Source.__slots__ if name in said}
        return replace(Source(**known), heard_at=float(heard))
    except (ValueError, TypeError):
        # (What a later version writes there may say something else.)
        return None
