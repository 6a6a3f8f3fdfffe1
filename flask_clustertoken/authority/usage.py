"""Usage: when an API token was last used, to about an hour."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..cluster import NodeRuntime
from ..stores.base import Record
from ..tokens import record_key

#: Seconds within which a use is not noted again, and for which a note is kept.
COARSE = 3600.0
KEPT = 400 * 86_400.0


class Usage:
    """Notes uses in the store, and reads the notes."""

    def __init__(self, runtime: NodeRuntime) -> None:
        self._runtime = runtime

    def note(self, token_id: str) -> None:
        """The token is used now. Writes once an hour at most; no harm is done where it fails."""
        store, key = self._runtime.store, _key(token_id)
        now = self._runtime.clock.time()
        last = _read(store.get(key))
        if last is None or now - last > COARSE:
            store.put(key, json.dumps(int(now)).encode(), now + KEPT)

    def last_uses(self, token_ids: Iterable[str]) -> dict[str, int]:
        """:meth:`last_used` of many at once, without those of which it is not known."""
        ids = {_key(one): one for one in token_ids}
        found = self._runtime.store.get_many(list(ids)) if ids else {}
        used = {ids[key]: _read(record) for key, record in found.items()}
        return {one: when for one, when in used.items() if when is not None}

    def last_used(self, token_id: str) -> int | None:
        """When an API token was last used, to about an hour; ``None``: not known."""
        return _read(self._runtime.store.get(_key(token_id)))


def _key(token_id: str) -> str:
    """Where the store keeps when a token was last used."""
    return "used/" + record_key(token_id).removeprefix("token/")


def _read(record: Record | None) -> int | None:
    try:
        return None if record is None else int(json.loads(record.value))
    except (ValueError, TypeError):
        return None
