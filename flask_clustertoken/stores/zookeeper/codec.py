"""How keys become znode paths, and records, entries and the feed's head become bytes.

Whatever is not in this form raises :class:`~flask_clustertoken.errors.StoreDamaged`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan
from urllib.parse import quote, unquote

from ...errors import StoreDamaged
from ..base import Entry, Record, Root

_FORMAT = 1
_RECORD = struct.Struct(">B8sd")
_ENTRY = struct.Struct(">QQdBI")
_HEAD = struct.Struct(">BQQQ")
_PAGE = bytes([_FORMAT])

#: Stands in the place of what a key with less than three parts has not; no escaped name is it.
NOTHING = "="


#: What stands for itself.
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def escape(text: str) -> str:
    """*text* as one name of a path: any text is allowed, ``.``, ``..`` and nothing included."""
    if _PLAIN.fullmatch(text):
        return text
    if not text:
        return "%"
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E")


def unescape(name: str) -> str:
    return "" if name == "%" else unquote(name, errors="surrogatepass")


def key_names(key: str) -> tuple[str, str, str]:
    """Area, shard and leaf of a record's key, such as ``token/3fa/abcdef``."""
    *above, leaf = key.split("/", 2)
    area, shard = [*map(escape, above), NOTHING, NOTHING][:2]
    return area, shard, escape(leaf)


def names_key(area: str, shard: str, leaf: str) -> str:
    """The key again."""
    return "/".join(unescape(name) for name in (area, shard, leaf) if name != NOTHING)


def _damaged(what: str) -> StoreDamaged:
    return StoreDamaged(f"{what} in ZooKeeper is not in a form that this version reads")


# -- records ---------------------------------------------------------------------------


def pack_record(record: Record, maker: bytes) -> bytes:
    """*maker* are 8 random bytes by which whoever added a record knows it again."""
    end = nan if record.expires_at is None else record.expires_at
    return _RECORD.pack(_FORMAT, maker, end) + record.value


class Packed:
    """A record's bytes that are put together when they are sent.

    To kazoo they are something that has a length and can stand behind bytes: whoever sends a
    large value does not hold a copy of it besides.
    """

    __slots__ = ("_body", "_head")

    def __init__(self, record: Record, maker: bytes) -> None:
        self._head = pack_record(Record(b"", record.expires_at), maker)
        self._body = record.value

    def __len__(self) -> int:
        return len(self._head) + len(self._body)

    def __radd__(self, before: bytes) -> bytes:
        return b"".join((before, self._head, self._body))


def unpack_record(data: bytes) -> tuple[Record, bytes]:
    """The record and its maker."""
    try:
        form, maker, end = _RECORD.unpack_from(data)
    except struct.error as error:
        raise _damaged("a record") from error
    if form != _FORMAT:
        raise _damaged("a record")
    return Record(bytes(data[_RECORD.size :]), None if isnan(end) else end), maker


# -- feed ------------------------------------------------------------------------------


def pack_entry(entry: Entry) -> bytes:
    end = nan if entry.keep_until is None else entry.keep_until
    name = entry.id.encode()
    return _ENTRY.pack(entry.seq, entry.prev, end, len(name), len(entry.body)) + name + entry.body


def pack_entries(entries: Iterable[Entry]) -> bytes:
    """Entries without a head: the content of a page, to which more can be added at the end."""
    return _PAGE + b"".join(map(pack_entry, entries))


def _entries(data: bytes, at: int) -> list[Entry]:
    entries = []
    try:
        while at < len(data):
            seq, prev, end, name_size, body_size = _ENTRY.unpack_from(data, at)
            name_at = at + _ENTRY.size
            body_at = name_at + name_size
            at = body_at + body_size
            if at > len(data):
                raise _damaged("a feed entry")
            entries.append(
                Entry(
                    seq,
                    prev,
                    data[name_at:body_at].decode(),
                    bytes(data[body_at:at]),
                    None if isnan(end) else end,
                )
            )
    except (struct.error, UnicodeDecodeError) as error:
        raise _damaged("a feed entry") from error
    return entries


def unpack_entries(data: bytes) -> list[Entry]:
    if data[:1] != _PAGE:
        raise _damaged("a page of the feed")
    return _entries(data, 1)


@dataclass(frozen=True, slots=True)
class Head:
    """The feed's head: its last number, the highest trimmed one, the newest entries in full.

    *page* is the number that names the page to which entries are moved when *tail* has grown
    too long; 0 if there is none.
    """

    seq: int = 0
    floor: int = 0
    page: int = 0
    tail: tuple[Entry, ...] = ()


def pack_head(head: Head) -> bytes:
    start = _HEAD.pack(_FORMAT, head.seq, head.floor, head.page)
    return start + b"".join(map(pack_entry, head.tail))


def unpack_head(data: bytes) -> Head:
    try:
        form, seq, floor, page = _HEAD.unpack_from(data)
    except struct.error as error:
        raise _damaged("the feed's head") from error
    if form != _FORMAT:
        raise _damaged("the feed's head")
    return Head(seq, floor, page, tuple(_entries(data, _HEAD.size)))


# -- root ------------------------------------------------------------------------------


def pack_root(root: Root) -> bytes:
    return json.dumps(
        {
            "epoch": root.epoch,
            "state": root.state,
            "moved_to": root.moved_to,
            "format": root.format,
        }
    ).encode()


def unpack_root(data: bytes) -> Root:
    try:
        said = json.loads(data)
        return Root(said["epoch"], said["state"], said["moved_to"], said["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged("the store's root") from error
