"""Limits that hold whatever is set: what memories, stores and settings alike count on."""

from __future__ import annotations

#: Bytes of a value, or of a feed entry's body, that every store can hold.
VALUE_LIMIT = 256 * 1024

#: Bytes of a shared file, whatever is set: what names its pieces is one value.
FILE_MOST = 1024 * 1024 * 1024

#: A record's answer may be remembered for this long at most, and a node may be stale for
#: this long at most (seconds), whatever is set: the shortest memory of a revocation rests on it.
RECORD_CACHE_LIMIT = 3600.0
STALENESS_LIMIT = 300.0

#: Seconds.
DAY = 86_400
