"""Records: what the nodes know together of one stream, in the store."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field

from ..authority import TokenAuthority
from ..cluster import TOLD_AGAIN, TOLERATED, Source, source, tell_heard, tell_source
from .labels import digest

#: Seconds for which a process goes by what it has read of the stream.
READ_AGAIN = 30.0


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A stream as it was made or found at the transmitter."""

    stream_id: str
    #: For whom its tokens are; empty: nobody knows, or not any more.
    audience: tuple[str, ...]
    #: Where it is polled, if it is.
    poll_url: str = ""
    #: With it begins the state of every verification that was asked for.
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    #: Seconds between two verifications, at least.
    interval: float = 0.0
    #: Says which authorization header the transmitter was given; not the header.
    pushed_with: str = ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, value: bytes) -> StreamRecord | None:
        try:
            said = json.loads(value)
            return cls(**{**said, "audience": tuple(said["audience"])})
        except (ValueError, TypeError, KeyError):
            # (A later version's: the stream is looked for once more.)
            return None


class StreamRecords:
    """The records of the stream *name* of the transmitter *url*."""

    def __init__(self, authority: TokenAuthority, name: str, url: str, by: str) -> None:
        self._authority = authority
        self._name, self._url, self._by = name, url, by
        #: What the keys of everything about the stream begin with.
        self.root = f"signals/{digest(f'{name}#{url}')[:12]}"
        self._known: StreamRecord | None = None
        self._read_at = self._heard_at = self._told_at = float("-inf")

    def stream(self, *, newly: bool = False) -> StreamRecord | None:
        """The stream, as it was some seconds ago at most; *newly*: as it is."""
        now = self._authority.clock.monotonic()
        if newly or self._known is None or now - self._read_at >= READ_AGAIN:
            found = self._authority.store.get(f"{self.root}/stream")
            self._known = StreamRecord.decode(found.value) if found is not None else None
            self._read_at = now
        return self._known

    def keep(self, record: StreamRecord | None) -> None:
        """*record* from now on; ``None``: there is no stream."""
        store = self._authority.store
        if record is None:
            store.delete(f"{self.root}/stream")
        else:
            store.put(f"{self.root}/stream", record.encode(), None)
        self._known, self._read_at = record, self._authority.clock.monotonic()

    def heard(self) -> None:
        """Something genuine came of it, just now."""
        now = self._authority.clock.monotonic()
        if now - self._heard_at < TOLERATED:
            return
        clock, store = self._authority.clock, self._authority.store
        tell_heard(store, self._name, self._url, clock.time())
        self._heard_at = now

    def source(self) -> Source | None:
        """What is said of it, for people."""
        return source(self._authority.store, self._name, self._url)

    def tell(self, *, silent_after: float, trouble: str, before: Source | None) -> None:
        """Say how it is, unless that is said already, and not long ago: it is forgotten where
        nobody says it any more."""
        now, mono = self._authority.clock.time(), self._authority.clock.monotonic()
        since = now if before is None else before.since
        said = Source(self._name, self._url, self._by, since, silent_after, trouble[:300])
        if (
            before is None
            or (before.silent_after, before.trouble) != (said.silent_after, said.trouble)
            or mono - self._told_at >= TOLD_AGAIN
        ):
            tell_source(self._authority.store, said, now)
            self._told_at = mono
