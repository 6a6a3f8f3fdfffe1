"""Layout: what lies under which key, read and written within one step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .. import rules
from ..base import PAGE, Entry, NewEntry, Presence, Record, Root
from .step import Step

#: Numbers are written with so many digits: as texts they are in their order.
_DIGITS = 20


def _pack(words: list[Any], body: bytes = b"") -> bytes:
    return json.dumps(words).encode() + b"\n" + body


def _unpack(raw: bytes) -> tuple[list[Any], bytes]:
    words, _, body = raw.partition(b"\n")
    return json.loads(words), body


class Layout:
    """A realm as *step* sees it; the package's text has its keys."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def _get(self, key: str) -> tuple[list[Any], bytes] | None:
        raw = self._step.get(key)
        return None if raw is None else _unpack(raw)

    def _walk(self, prefix: str, start: str = "") -> Iterator[tuple[str, list[Any], bytes]]:
        """All that is under *prefix*, from what is called *start* there on."""
        key, met = prefix + start, ""
        while True:
            page = self._step.range(key, PAGE)
            for key, raw in page:
                if not key.startswith(prefix):
                    return
                if key != met:
                    yield (key.removeprefix(prefix), *_unpack(raw))
            if len(page) < PAGE:
                return
            met = key

    # root and head

    def root(self) -> Root:
        """What is said of the store; without an epoch where nobody has asked for it yet."""
        found = self._get("root")
        root = Root("") if found is None else Root(*found[0])
        rules.require_known_format(root.format)
        return root

    def set_root(self, root: Root) -> None:
        words = [root.epoch, root.state, root.moved_to, root.format]
        self._step.set("root", _pack(words))

    def head_and_floor(self) -> tuple[int, int]:
        """The feed's last number, and the highest that was trimmed."""
        found = self._get("head")
        head, floor = (0, 0) if found is None else found[0]
        return head, floor

    def set_head(self, head: int, floor: int) -> None:
        self._step.set("head", _pack([head, floor]))

    # records

    def record(self, key: str, now: float) -> Record | None:
        """What lives under *key* at *now*."""
        found = self._get(f"r/{key}")
        record = None if found is None else Record(found[1], found[0][0])
        return record if record is not None and record.alive(now) else None

    def records(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, Record]]:
        """Dead and alive, those under *prefix* from the key *start* on."""
        for rest, (expires_at,), value in self._walk(f"r/{prefix}", start.removeprefix(prefix)):
            yield prefix + rest, Record(value, expires_at)

    def save(self, key: str, value: bytes, expires_at: float | None) -> None:
        self._step.set(f"r/{key}", _pack([expires_at], value))

    def drop(self, key: str) -> None:
        self._step.delete(f"r/{key}")

    # feed

    def number_of(self, entry_id: str) -> int | None:
        raw = self._step.get(f"i/{entry_id}")
        return None if raw is None else int(raw)

    def entry(self, seq: int) -> Entry | None:
        found = self._get(f"f/{seq:0{_DIGITS}}")
        if found is None:
            return None
        (prev, entry_id, keep_until), body = found
        return Entry(seq, prev, entry_id, body, keep_until)

    def entries(self, after: int) -> Iterator[Entry]:
        for number, (prev, entry_id, keep_until), body in self._walk(
            "f/", f"{max(after + 1, 0):0{_DIGITS}}"
        ):
            yield Entry(int(number), prev, entry_id, body, keep_until)

    def last(self) -> tuple[int, str | None]:
        """The feed's last number, and the id of the entry there (``None``: it was trimmed)."""
        head, _ = self.head_and_floor()
        entry = self.entry(head)
        return head, None if entry is None else entry.id

    def append(self, new: NewEntry, now: float, above: int = 0) -> int:
        head, floor = self.head_and_floor()
        seq = rules.next_seq(head, now, above)
        self.write(Entry(seq, head, new.id, new.body, new.keep_until))
        self.set_head(seq, floor)
        return seq

    def write(self, entry: Entry) -> None:
        words = [entry.prev, entry.id, entry.keep_until]
        self._step.set(f"f/{entry.seq:0{_DIGITS}}", _pack(words, entry.body))
        self._step.set(f"i/{entry.id}", b"%d" % entry.seq)

    def take_out(self, entry: Entry) -> None:
        self._step.delete(f"f/{entry.seq:0{_DIGITS}}")
        self._step.delete(f"i/{entry.id}")

    # nodes

    def node(self, node_id: str) -> Presence | None:
        found = self._get(f"n/{node_id}")
        if found is None:
            return None
        (version, changed_at), info = found
        return Presence(node_id, info, version, changed_at)

    def nodes(self) -> list[Presence]:
        return [
            Presence(node_id, info, version, changed_at)
            for node_id, (version, changed_at), info in self._walk("n/")
        ]

    def set_node(self, node: Presence) -> None:
        self._step.set(f"n/{node.node_id}", _pack([node.version, node.changed_at], node.info))

    def drop_node(self, node_id: str) -> None:
        self._step.delete(f"n/{node_id}")
