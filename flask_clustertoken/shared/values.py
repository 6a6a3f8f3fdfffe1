"""Shared data: what the servers of one deployment share and what is not content.

JSON values under a name and a key, in the cluster store. Another deployment in the realm has
its own; nothing here knows of tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from ..backoff import Backoff
from ..clock import SKEW, Clock
from ..errors import Conflict, StoreUnavailable, ValueTooLarge
from ..stores.base import Add, Change, ClusterStore, Put, Record, Unchanged
from ..tokens import WrongArgument, validation
from .lease import SharedLease
from .names import spelled
from .once import is_first, slot_name

#: Bytes of one value as JSON.
LIMIT = 64 * 1024

#: Seconds for which a slot is remembered to be taken, unless the caller says otherwise: a week.
SLOT_LIFE = 7 * 86_400.0

#: Seconds: the shortest lease. Each third of it a renewal has to be answered.
LEASE_LEAST = 1.0

#: Seconds: the longest one, a day. For as long nobody else has it after a holder that died; and a
#: number is not any number to the thread that waits for a third of it.
LEASE_MOST = 86_400.0

#: Seconds for which an update is tried again while others are faster.
PATIENCE = 30.0

#: Seconds: the first pause before an update is tried again, and the longest.
_PAUSE, _LONGEST_PAUSE = 0.005, 0.25


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
        self._place = f"{quote(deployment, safe='')}:{spelled(name, 'the name of shared data')}"
        self._prefix = f"data/{self._place}/"

    def _key(self, key: Any) -> str:
        return self._prefix + self._spelled(key)

    @staticmethod
    def _spelled(key: Any) -> str:
        return spelled(key, "a key of shared data")

    def _end(self, ttl: float | None) -> float | None:
        return None if ttl is None else self._clock.time() + validation.seconds(ttl, "ttl")

    @staticmethod
    def _bytes(value: Any) -> bytes:
        try:
            raw = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
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

    def update(
        self,
        key: str,
        change: Callable[[Any], Any],
        default: Any = None,
        ttl: float | None = None,
    ) -> Any:
        """Put what *change* makes of the value at *key* in its place; returns the new value.

        Nothing that others write meanwhile is lost: between our read and our write another
        server may read the same value and write first, delete it, or let it end. So the write is
        one step in the store with the condition that the value still is the one that was read;
        where it is not, all begins anew. *change* is therefore called again, and must do nothing
        but compute. It is given *default* where nothing is, always as a copy of its own. As after
        a ``set``, the new value ends after *ttl* seconds, or never.

        Raises :class:`~flask_clustertoken.errors.StoreUnavailable` where others were faster for
        half a minute (nothing was written then), or where the store did not answer (whether it
        was written is unknown: a list that may not have an entry twice looks for it in *change*).
        """
        name, pauses = self._key(key), Backoff(_PAUSE, _LONGEST_PAUSE)
        spelled, over = self._bytes(default), self._clock.monotonic() + PATIENCE
        while True:
            record = self._store.get(name)
            raw = self._bytes(change(json.loads(spelled if record is None else record.value)))
            try:
                self._store.append([], _replaced(name, record, Record(raw, self._end(ttl))))
            except Conflict as error:
                if self._clock.monotonic() >= over:
                    raise StoreUnavailable(
                        f"others changed this value of shared data for {PATIENCE:g} s, each time "
                        "before we could; nothing was written"
                    ) from error
                time.sleep(pauses.next())
            else:
                return json.loads(raw)

    def delete(self, key: str) -> bool:
        """*key* is gone when this returns; says whether it was there."""
        return self._store.delete(self._key(key))

    def once(self, key: str, slot: str | datetime, ttl: float = SLOT_LIFE) -> bool:
        """``True`` for one caller in the cluster for each *slot* of the task *key*.

        A slot is any text, or a datetime with its zone, which is the same slot in every zone:
        the moment for which a scheduler has planned the run, not the one at which it begins. It
        is remembered for *ttl* seconds, which is longer than any server may be late.

        Raises a :class:`~flask_clustertoken.errors.StoreError` where it is not known who was
        first. Whoever asks again then, in the same process, is told; a process that is killed
        before it has run what it was told to run is not replaced. See :mod:`.once`.
        """
        run = f"{self._spelled(key)}/{quote(slot_name(slot), safe='')}"
        # (By each server's own clock it is over: none may think so before the ttl has passed.)
        ends = self._clock.time() + validation.seconds(ttl, "ttl") + SKEW
        return is_first(self._store, f"once/{self._place}/{run}", ends)

    def lease(self, key: str, seconds: float, wait: float = 0.0) -> SharedLease:
        """What one process of the deployment holds at a time: a context manager.

        ``lease.held`` says whether it is ours, also in the middle of a loop; ``lease.lost`` is an
        event; ``lease.fence`` grows with each holder. Held for *seconds* (from 1 to 86,400, a day)
        beyond the last sign of life, and renewed in the background for as long as it is wanted.
        *wait*: seconds for which entering goes on trying where another one has it. After a holder
        that died it is free *seconds* and :data:`~flask_clustertoken.clock.SKEW` later: clocks
        differ. See :class:`SharedLease`.
        """
        name, life = self._spelled(key), validation.seconds(seconds, "seconds")
        if life < LEASE_LEAST:
            raise WrongArgument(f"a lease is held for {LEASE_LEAST:g} s at least, not {life:g}")
        if life > LEASE_MOST:
            raise WrongArgument(
                f"a lease is held for {LEASE_MOST:g} s at most beyond the last sign of life, not "
                f"{life:g}; it is renewed for as long as it is wanted"
            )
        return SharedLease(
            self._store,
            self._clock,
            f"held/{self._place}/{name}",
            f"fence/{self._place}/{name}",
            life,
            wait=validation.seconds(wait, "wait"),
        )

    def keys(self) -> Iterator[str]:
        """Every key, in a stable order; pages are read as needed."""
        for key, _ in self._store.walk(self._prefix):
            yield unquote(key[len(self._prefix) :])


def _replaced(name: str, old: Record | None, new: Record) -> list[Change]:
    """The transaction that makes *new* of *old*, which was read, and only of that."""
    if old is None:
        return [Add(name, new.value, new.expires_at)]
    return [Unchanged(name, old.value), Put(name, new.value, new.expires_at)]
