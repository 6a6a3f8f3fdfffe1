"""Line: one act, as it is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

#: Characters of one text that a line holds at most, and bytes of it as JSON in ASCII writes it:
#: an emoji takes twelve there.
LONGEST = 256
LONGEST_WRITTEN = 1024

#: Ids, labels, subjects or kinds that one line names at most; *count* says how many there were.
#: (So a line has a hundred texts at most, and is far from what a store takes as one value.)
MOST_NAMED = 20

#: What stands where a text was cut, and the bytes that one character takes at most.
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_WIDEST = 12


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to whom, when, from where, and what came of it.

    Everything that NIST SP 800-53 AU-3 and ASVS 5.0 V16.2 ask of a record: *event* (what type),
    *time* (when, UTC), *node* (where), *network* (source), *outcome*, and *actor*/*subjects*
    (whose identity). *seq* is the revocation's number in the feed: by it lines of all nodes
    stand in one order.
    """

    time: str
    event: str
    outcome: str
    realm: str
    deployment: str
    node: str
    #: How the act came: ``request``, ``console``, ``command`` or ``node``.
    by: str = "node"
    #: The subject of the token that the request carried, and its id.
    actor: str = ""
    actor_token: str = ""
    #: The account of the system that typed the command.
    operator: str = ""
    network: str = ""
    #: Whom it was done to.
    subjects: tuple[str, ...] = ()
    token_ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    #: How many were named, where not all stand here.
    count: int = 0
    kinds: tuple[str, ...] = ()
    seq: int = 0
    #: What else there is to know: a key's fingerprint, a token's name, where a store moved to.
    detail: str = ""
    #: In which trace it was done, where OpenTelemetry knows that.
    trace_id: str = ""
    span_id: str = ""

    def as_json(self) -> str:
        """One line of JSON in ASCII; what is empty is left out."""
        said = {name: value for name, value in asdict(self).items() if value not in ("", (), 0)}
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def from_mapping(cls, said: Mapping[str, Any]) -> AuditLine:
        """The line that was written as *said*; what this version does not know is left out.

        Raises :class:`ValueError` for what is no line.
        """
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in said.items() if name in known}
        for name in ("subjects", "token_ids", "labels", "kinds"):
            found[name] = tuple(map(str, found.get(name, ())))
        try:
            return cls(**found)
        except TypeError as error:
            raise ValueError("not a line of the audit trail") from error


def shortened(text: str) -> str:
    """*text*, or its beginning: a line must not grow with what somebody else chose."""
    if len(text) * _WIDEST <= LONGEST_WRITTEN:
        return text
    if len(text) <= LONGEST and _written(text) <= LONGEST_WRITTEN:
        return text
    left = LONGEST_WRITTEN - _written(_CUT)
    for at, letter in enumerate(text[: LONGEST - 1]):
        left -= _written(letter)
        if left < 0:
            return text[:at] + _CUT
    return text[: LONGEST - 1] + _CUT


def _written(text: str) -> int:
    """Bytes that *text* takes in a line."""
    return len(json.dumps(text)) - 2


def spelled_time(seconds: float) -> str:
    """A wall-clock time in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
