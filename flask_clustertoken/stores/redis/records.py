"""Records on the server: bytes under text keys, each alive by the nodes' clocks."""

from __future__ import annotations

from collections.abc import Sequence

from ...clock import Clock
from ..base import Purged, Record
from . import codec
from .realm import Asking

#: Keys that one step takes.
_AT_ONCE = 500


class RedisRecords:
    """Opens nothing by itself."""

    def __init__(self, asking: Asking, clock: Clock) -> None:
        self._asking = asking
        self._clock = clock

    def _now(self) -> str:
        return repr(self._clock.time())

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found = self._get(keys)
        missing = [key for key in keys if key not in found]
        if missing and self._asking.realm().topology.acknowledging:
            # An old primary that was cut off lacks what was added since: only behind a write
            # that the replicas acknowledged is it known to be none.
            self._asking.run("head", acknowledged=True)
            found |= self._get(missing)
        return found

    def _get(self, keys: Sequence[str]) -> dict[str, Record]:
        now, found = self._clock.time(), {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for key, packed in zip(some, self._asking.run("get", *some), strict=True):
                if packed is not None and (record := codec.record(packed)).alive(now):
                    found[key] = record
        return found

    def touch(self, key: str, expires_at: float | None) -> bool:
        (done,) = self._asking.run("touch", self._now(), key, codec.end(expires_at))
        return bool(done)

    def delete(self, key: str) -> bool:
        (lived,) = self._asking.run("delete", self._now(), key, acknowledged=True, again=False)
        return bool(lived)

    def scan(self, prefix: str, after: str, limit: int) -> list[tuple[str, Record]]:
        start = f"({after}" if after and after >= prefix else f"[{prefix}"
        end = f"({prefix[:-1]}0" if prefix else "+"  # (0 is the sign that follows the slash)
        while True:
            told = self._asking.run("scan", start, end, limit)
            page = [
                (name.decode(), codec.record(packed))
                for name, packed in zip(told[::2], told[1::2], strict=True)
            ]
            now = self._clock.time()
            living = [one for one in page if one[1].alive(now)]
            if living or not page:
                return living
            start = f"({page[-1][0]}"

    def purge(self, before: float, limit: int) -> Purged:
        (deleted,) = self._asking.run("purge", repr(before), limit, again=False)
        return Purged(int(deleted), int(deleted) < limit)
