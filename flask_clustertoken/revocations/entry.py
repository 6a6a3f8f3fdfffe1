"""Feed entry: what an entry of the feed says, and for how long it must be remembered.

It names ids, labels and subjects by their digests only (:mod:`~flask_clustertoken.tokens.digests`).
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from ..clock import SKEW
from ..settings import RECORD_CACHE_LIMIT, STALENESS_LIMIT
from ..stores import time_of
from ..stores.base import CALL_TIMEOUT, NewEntry

#: The highest number of the entries' form that this version reads.
FORMAT = 2
#: The form that every version reads. Each entry has the lowest form that can say it, so that old
#: and new versions can run side by side; what needs a higher one waits until all nodes read it.
OLDEST_FORMAT = 1

#: Seconds that the entry of a token id is kept whose record was deleted in the same step.
#: (Longer than any remembered "it is alive", plus a call in flight, plus a stale view.)
SHORT_MEMORY = RECORD_CACHE_LIMIT + STALENESS_LIMIT + CALL_TIMEOUT + SKEW

#: Seconds beyond its lifetime for which a token may be accepted that was made in spite of a
#: revocation: by a node that was as stale as may be, with a clock that is ahead, and judged by
#: one that is behind (:data:`SKEW` twice); and the writer of the revocation had a clock that is
#: behind, so that it was to be remembered from a minute before.
BEYOND = STALENESS_LIMIT + 3 * SKEW

#: Seconds for which an announced lifetime allows tokens to be made with it.
LIFETIME_ANNOUNCED = 86_400.0

#: Seconds that barriers and other entries of the moment are kept.
BRIEF = 3600.0

Kind = Literal[
    "ids",  # these token ids
    "labels",  # every token with one of these labels, whenever issued
    "subject",  # every token of these subjects issued before here
    "realm",  # every token issued before here
    "not_before",  # every token issued before the time `value`
    "lifetime",  # tokens may be made that live `value` seconds
    "swept",  # the records covered by mark number `value` are deleted
    "keys",  # the states of the keys changed
    "barrier",  # each node answers once it is here
    "sealed",  # the store moved; every node is stale from here on
    "restored",  # a realm mark after a backup was restored
    # form 2:
    "labels_before",  # every token with one of these labels issued before here
    "lock",  # as a mark over logins, and until `value` nothing that matches is accepted
    "unlock",  # the lock on this target stands no more
]
#: The kinds that end tokens.
REVOKING = frozenset(
    {"ids", "labels", "subject", "realm", "not_before", "restored", "labels_before", "lock"}
)
#: The kinds that a node which reads form 1 alone does not know.
OF_FORM_2 = frozenset({"labels_before", "lock", "unlock"})
KINDS: frozenset[str] = frozenset(get_args(Kind))
#: The kinds of token that a mark may name.
TOKEN_KINDS = frozenset({"login", "api"})


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One statement. *at* is the writer's wall clock, for retention only, never for order."""

    kind: Kind
    at: float
    digests: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    value: float = 0.0
    #: The entry may go early: the records of these ids were deleted in the same step.
    recorded: bool = False
    format: int = OLDEST_FORMAT
    extra: dict[str, Any] = field(default_factory=dict)
    #: The number of the entry that this one says again, after a store that had lost it: a mark
    #: ends what was issued before that number, and no login since. 0: it stands for itself.
    stands_for: int = 0

    def __post_init__(self) -> None:
        if self.kind in OF_FORM_2 or self.stands_for:
            object.__setattr__(self, "format", max(self.format, 2))

    def number(self, seq: int) -> int:
        """What its order is judged by, where it stands in the feed as number *seq*."""
        return self.stands_for or seq

    def encode(self) -> bytes:
        body = {name: value for name, value in asdict(self).items() if value or name == "format"}
        if self.digests:
            body["digests"] = [f"{one:016x}" for one in self.digests]
        return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, body: bytes) -> FeedEntry:
        """Raises :class:`ValueError` for what this version does not understand."""
        data = json.loads(body.decode())
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise ValueError("not an entry of ours")
        if data["format"] > FORMAT or data.get("kind") not in KINDS:
            raise ValueError(f"an entry of form {data['format']}, kind {data.get('kind')!r}")
        try:
            feed_entry = cls(
                kind=data["kind"],
                at=float(data.get("at", 0.0)),
                digests=tuple(int(one, 16) for one in data.get("digests", ())),
                kinds=tuple(data.get("kinds", ())),
                value=float(data.get("value", 0.0)),
                recorded=bool(data.get("recorded", False)),
                format=data["format"],
                extra=dict(data.get("extra", {})),
                stands_for=int(data.get("stands_for", 0)),
            )
        except (TypeError, OverflowError) as error:
            raise ValueError("an entry with wrong types") from error
        if not isfinite(feed_entry.at) or not isfinite(feed_entry.value):
            raise ValueError("an entry with a number that is none")
        if not TOKEN_KINDS.issuperset(feed_entry.kinds):
            raise ValueError(f"an entry for tokens of kind {', '.join(map(str, feed_entry.kinds))}")
        return feed_entry

    def remembered_until(self, longest: float, seq: int = 0) -> float | None:
        """The end of its memory in wall-clock seconds; *longest* is the realm's longest lifetime.

        *seq*, once it is known, tells the microsecond of the append at the earliest: a writer
        that was suspended before its append took effect had named an earlier moment.
        ``None``: until a sweep is recorded as complete (tokens that never expire are covered).
        """
        at = max(self.at, time_of(seq))
        if self.kind in ("barrier", "keys", "swept"):
            return at + (BRIEF if self.kind != "swept" else longest + BEYOND)
        if self.kind == "lifetime":
            return self.at + LIFETIME_ANNOUNCED + self.value + BEYOND
        if self.kind == "ids" and self.recorded:
            return at + SHORT_MEMORY
        if self.kind == "lock":
            ends = at + longest if "login" in self.kinds else at
            return max(ends, self.value) + BEYOND if self.value else None
        if self.kind in ("sealed", "unlock") or "api" in self.kinds:
            return None
        since = max(at, self.value if self.kind == "not_before" else 0.0)
        return since + longest + BEYOND

    def entry(self, longest: float, entry_id: str | None = None) -> NewEntry:
        """What to append to the feed; a random id unless the caller has one of its own."""
        return NewEntry(
            entry_id or secrets.token_hex(16), self.encode(), self.remembered_until(longest)
        )
