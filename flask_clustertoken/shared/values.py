"""Shared data: what the servers of one deployment share and what is not content.

JSON values under a name and a key, in the cluster store. Another deployment in the realm has
its own; nothing here knows of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

from ..clock import Clock
from ..errors import ValueTooLarge
from ..stores.base import ClusterStore
from ..tokens import validation

#: Bytes of one value as JSON.
LIMIT = 64 * 1024

#: Characters of a name, and of a key.
NAME_LIMIT = 512


class SharedData:
    """A dictionary of JSON values that all servers of a deployment see.

    Every call asks the store: raises :class:`~flask_clustertoken.errors.StoreError` where it
    cannot be reached, :class:`TypeError` for a value that JSON cannot hold, and :class:`TypeError`
    or :class:`ValueError` for a name, key or ``ttl`` that is none.
    """

    def __init__(self, store: ClusterStore, clock: Clock, deployment: str, name: str) -> None:
        self._store = store
        self._clock = clock
        # One part of the key for both: by it a store spreads records, and a walk through one
        # name does not come past the others.
        name = validation.text(name, "the name of shared data", NAME_LIMIT)
        self._prefix = f"data/{quote(deployment, safe='')}:{quote(name, safe='')}/"

    def _key(self, key: Any) -> str:
        if not isinstance(key, str) or not 0 < len(key) <= NAME_LIMIT:
            raise TypeError(f"a key of shared data is a text of 1 to {NAME_LIMIT} characters")
        return self._prefix + quote(validation.text(key, "a key of shared data"), safe="")

    def _end(self, ttl: float | None) -> float | None:
        return None if ttl is None else self._clock.time() + validation.seconds(ttl, "ttl")

    @staticmethod
    def _bytes(value: Any) -> bytes:
        try:
            raw = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise TypeError(f"shared data must be what JSON can hold: {error}") from error
        if len(raw) > LIMIT:
            raise ValueTooLarge(
                "this value of shared data", len(raw), LIMIT, "Store it elsewhere, share its place."
            )
        return raw

    def get(self, key: str, default: Any = None) -> Any:
        """The value at *key*, or *default*."""
        record = self._store.get(self._key(key))
        return default if record is None else json.loads(record.value)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Create or replace *key*; it ends after *ttl* seconds, if given. The last one wins."""
        self._store.put(self._key(key), self._bytes(value), self._end(ttl))

    def add(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Create *key* only where nothing is; of two servers that try, one is told ``True``."""
        return self._store.add(self._key(key), self._bytes(value), self._end(ttl))

    def delete(self, key: str) -> bool:
        """*key* is gone when this returns; says whether it was there."""
        return self._store.delete(self._key(key))

    def keys(self) -> Iterator[str]:
        """Every key, in a stable order; pages are read as needed."""
        for key, _ in self._store.walk(self._prefix):
            yield unquote(key[len(self._prefix) :])
