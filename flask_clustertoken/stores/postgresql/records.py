"""Records on the server: bytes under text keys, each alive by the nodes' clocks."""

from __future__ import annotations

from collections.abc import Sequence

from ...clock import Clock
from ..base import Purged, Record
from .statements import array
from .steps import Steps, end

#: Keys that one step takes.
_AT_ONCE = 500

#: Behind every key, in the order of the database. (A key of ours never begins so.)
_BEHIND_ALL = "\U0010ffff" * 4


class PostgreSQLRecords:
    """Opens nothing by itself."""

    def __init__(self, steps: Steps, clock: Clock) -> None:
        self._steps = steps
        self._clock = clock

    def _now(self) -> str:
        return repr(self._clock.time())

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found, replicated = self._get(keys, "get")
        missing = [key for key in keys if key not in found]
        if missing and replicated:
            # An old primary that was cut off lacks what was added since: only behind a write
            # that the standbys confirmed is it known to be none.
            found |= self._get(missing, "get_behind")[0]
        return found

    def _get(self, keys: Sequence[str], how: str) -> tuple[dict[str, Record], bool]:
        found: dict[str, Record] = {}
        replicated = False
        for start in range(0, len(keys), _AT_ONCE):
            rows = self._steps.run(how, array(keys[start : start + _AT_ONCE]))
            now = self._clock.time()
            for replicated, key, value, expires_at in rows:  # noqa: B007
                if key is not None and (record := Record(value, expires_at)).alive(now):
                    found[key] = record
        return found, replicated

    def touch(self, key: str, expires_at: float | None) -> bool:
        ((_, done),) = self._steps.run("touch", self._now(), key, end(expires_at) or "")
        return bool(done)

    def delete(self, key: str) -> bool:
        ((lived,),) = self._steps.run("delete", self._now(), key, again=False)
        return bool(lived)

    def scan(self, prefix: str, after: str, limit: int) -> list[tuple[str, Record]]:
        start = max(prefix, after)
        before = f"{prefix[:-1]}0" if prefix else _BEHIND_ALL  # (0 is what follows the slash)
        while True:
            rows = self._steps.run("scan", start, after, before, str(limit))
            page = [(key, Record(value, ends)) for key, value, ends in rows if key is not None]
            now = self._clock.time()
            living = [one for one in page if one[1].alive(now)]
            if living or not page:
                return living
            start = after = page[-1][0]

    def purge(self, before: float, limit: int) -> Purged:
        ((deleted,),) = self._steps.run("purge", repr(before), str(limit), again=False)
        return Purged(deleted, deleted < limit)
