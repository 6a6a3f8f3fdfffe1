"""What records, entries and nodes look like on the server, and what the keys are called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from ...errors import StoreDamaged
from ..base import Entry, Presence, Record
from ..tail import Kept as Kept

#: In the order in which every script is given them.
NAMES = ("root", "feed", "ids", "ends", "records", "names", "lives", "nodes", "done")


def tag(prefix: str, realm: str) -> str:
    """The hash tag of all that is one realm's: on a cluster of servers it stays together."""
    return f"{{{prefix}:{quote(realm, safe='')}}}"


def key_names(prefix: str, realm: str) -> tuple[str, ...]:
    return tuple(f"{tag(prefix, realm)}:{name}" for name in NAMES)


def channel(prefix: str, realm: str) -> str:
    """Where is said that the feed moved."""
    return f"{tag(prefix, realm)}:moved"


def end(moment: float | None) -> str:
    """Seconds so that they come back unchanged; nothing for what has no end."""
    return "" if moment is None else repr(float(moment))


def record(packed: bytes) -> Record:
    ends, line_end, value = packed.partition(b"\n")
    try:
        if not line_end:
            raise ValueError("no end")
        return Record(value, float(ends) if ends else None)
    except ValueError as error:
        raise StoreDamaged("a record on the Redis server is not as we write it") from error


def deleted_keys(keys: Sequence[str]) -> str:
    return json.dumps(list(keys), separators=(",", ":")) if keys else ""


def entry(packed: bytes) -> Kept:
    head, _, rest = packed.partition(b"\n")
    try:
        seq, prev, name, ends, length = head.decode().split(" ")
        keys = rest[: int(length)]
        return Kept(
            Entry(
                int(seq),
                int(prev),
                name,
                rest[int(length) :],
                None if ends == "-" else float(ends),
            ),
            tuple(json.loads(keys)) if keys else (),
        )
    except ValueError as error:
        raise StoreDamaged("an entry on the Redis server is not as we write it") from error


def presence(name: bytes, packed: bytes) -> Presence:
    head, _, info = packed.partition(b"\n")
    try:
        version, changed = head.split(b" ")
        return Presence(name.decode(), info, int(version), int(changed) / 1e6)
    except ValueError as error:
        raise StoreDamaged("a node's entry on the Redis server is not as we write it") from error
