"""Nodes: who is in the cluster, what each has applied, and where settings differ."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ..revocations import OLDEST_FORMAT
from ..settings import STALENESS_LIMIT
from ..stores.base import ClusterStore, Presence

#: The form of a presence entry; a higher one is shown as far as it is understood.
FORMAT = 1

#: A node that has been silent for this many times its ``MAX_STALENESS`` is shown as gone.
SILENT_AFTER = 2.0

#: Two machines' monotonic clocks may run apart by this part, and a call takes a moment (seconds).
RATE_MARGIN = 0.01
MOMENT = 0.1

#: What to do where settings differ.
AGREE = "Make the settings agree, and restart."


@cache
def library_version() -> str:
    """This library's version; read once, since it is published with each contact."""
    try:
        return version("Flask-ClusterToken")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"


@dataclass(frozen=True, slots=True)
class Node:
    """What a node says of itself. Host and process id are for people: containers share them."""

    id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started_at: float = 0.0
    #: The feed's number up to which it knows everything.
    applied: int = 0
    #: The entry that it read there. (Not said: it is of before that was said, or it is trimmed.)
    applied_entry: str = ""
    #: The highest number it has seen anywhere, also in a token.
    seen: int = 0
    #: (Not said, or not understood: as long as any.)
    max_staleness: float = STALENESS_LIMIT
    #: It accepts tokens while stale: never "certain".
    accepts_when_stale: bool = False
    deployment: str = "default"
    #: Fingerprints of its keys, and which of them it signs with.
    keys: tuple[str, ...] = ()
    signing: str = ""
    #: What must agree in the realm, and in the deployment.
    realm_settings: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    #: The highest form of feed entries that it reads.
    reads: int = OLDEST_FORMAT
    #: The highest form of tokens that it reads. (Not said: it is of before there was a second.)
    reads_tokens: int = 1
    format: int = FORMAT

    def encode(self) -> bytes:
        words = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(words, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, presence: Presence) -> Node:
        """What is understood of *presence*; what is not is left at its default."""
        try:
            data = json.loads(presence.info)
            known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
            known["keys"] = tuple(map(str, known.get("keys", ())))
            known["reads_tokens"] = int(known.get("reads_tokens", 1))
            known["applied"] = int(known.get("applied", 0))
            known["applied_entry"] = str(known.get("applied_entry", ""))
            known["seen"] = int(known.get("seen", 0))
            known["max_staleness"] = float(known.get("max_staleness", STALENESS_LIMIT))
            return cls(**{**known, "id": presence.node_id})
        except (ValueError, TypeError):
            return cls(id=presence.node_id, version="?")

    @property
    def name(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def lease_over_after(self) -> float:
        """Seconds after which the lease of this node is over, if it is silent from now on.

        Counted by our clock from a look at the list in which it stood: a contact that it began
        before that extends its lease to no more than this.
        """
        return self.max_staleness * (1 + RATE_MARGIN) + MOMENT

    @property
    def certainly_over_after(self) -> float | None:
        """Seconds after which it accepts nothing any more, if it is silent from now on.

        ``None``: never, since it accepts tokens while stale (``WHEN_STALE = "accept"``).
        """
        return None if self.accepts_when_stale else self.lease_over_after


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A node as the store lists it. *quiet_for* is by the store's own clock, never by ours."""

    node: Node
    quiet_for: float

    @property
    def silent(self) -> bool:
        return self.quiet_for > SILENT_AFTER * max(self.node.max_staleness, 1.0)


def present(store: ClusterStore) -> list[ListedNode]:
    """The nodes in *store*'s list by name, and for how long each has been quiet.

    By the store's clock: a host whose own is off by what is tolerated would take living nodes
    for silent. And by its time *before* the list was read: so would a store that is slow.
    """
    now = store.time()
    return listed(store.nodes(), now)


def listed(presences: Iterable[Presence], now: float) -> list[ListedNode]:
    """The nodes in *presences* by name; *now* is by the store's clock."""
    found = [ListedNode(Node.decode(one), max(0.0, now - one.changed_at)) for one in presences]
    return sorted(found, key=lambda one: (one.node.host, one.node.pid, one.node.id))


def this_host() -> str:
    return socket.gethostname()


def this_process() -> int:
    return os.getpid()


@dataclass(frozen=True, slots=True)
class Drift:
    """A setting in which *nodes* differ from most others."""

    setting: str
    nodes: tuple[str, ...]
    theirs: str
    usual: str
    remedy: str = AGREE

    def __str__(self) -> str:
        who = ", ".join(self.nodes)
        return f"{self.setting} is {self.theirs} on {who}, but {self.usual} elsewhere"


def _keys_remedy(nodes: Sequence[Node]) -> str:
    of_host: dict[str, set[tuple[str, ...]]] = {}
    for node in nodes:
        of_host.setdefault(node.host, set()).add(node.keys)
    torn = sorted(host for host, sets in of_host.items() if len(sets) > 1)
    if torn:
        return (
            f"The workers of {', '.join(torn)} differ among themselves: is it made anew by each "
            "worker? Make the key once, and set SECRET to it or keep it in SECRET_FILE."
        )
    return "All hosts need the same keys: copy the key file, or set SECRET alike."


def _differing(setting: str, values: Sequence[tuple[str, str]], remedy: str = AGREE) -> list[Drift]:
    counts = Counter(value for _, value in values)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    return [
        Drift(setting, tuple(name for name, one in values if one == value), value, usual, remedy)
        for value in sorted(counts)
        if value != usual
    ]


def drift(nodes: Sequence[Node]) -> list[Drift]:
    """Where nodes differ in what must agree: keys, realm settings, deployment settings."""
    keys = [(node.name, ", ".join(node.keys)) for node in nodes]
    found = _differing("SECRET (fingerprints)", keys, _keys_remedy(nodes))
    for setting in sorted({name for node in nodes for name in node.realm_settings}):
        found += _differing(
            setting, [(node.name, node.realm_settings.get(setting, "?")) for node in nodes]
        )
    for deployment in sorted({node.deployment for node in nodes}):
        members = [node for node in nodes if node.deployment == deployment]
        for setting in sorted({name for node in members for name in node.settings}):
            found += _differing(
                setting, [(node.name, node.settings.get(setting, "?")) for node in members]
            )
    return found
