"""The checker: reads a history of what happened and says where a promise was broken.

A history is a list of dictionaries that JSON can hold, in any order. Times are true time: one
clock for all (``time.monotonic()`` of one machine does, also over several processes). The
checker knows nothing of the code under test, so a run of real processes can be judged too.

``issued``       token, subject, labels, kind (``login`` | ``api``), since_read (when the number
                 that the token carries had been read), begin, end; asked: the token on whose
                 strength it was made, if any
``revoked``      rev, what (``id`` | ``label`` | ``subject`` | ``realm``), target, kinds, begin,
                 acknowledged, and ``remembered_for`` (seconds; labels alone need it)
                 ``lock``: true where it stands as well, until it is ``unlocked``
``unlocked``     target, begin: a lock on this subject may be over from here on
``confirmed``    rev, at: whoever asked was told "in force everywhere"
``validated``    node (one life of a process), token, begin, end, accepted, reason, from_view
                 (it was refused because the node knew a revocation), max_staleness,
                 accepts_when_stale
``record``       token, at: the store held a living record of this token
``lost``         revs, tokens, at: a backup was restored that knows neither these revocations
                 nor these tokens; marks end such a token again from the one that is ``restored``
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Violation:
    """A promise that did not hold, and the events that show it."""

    promise: str
    says: str
    event: Event
    revocation: Event | None = None

    def __str__(self) -> str:
        shown = f"{self.promise}: {self.says}\n    {dict(self.event)}"
        return shown + (f"\n    {dict(self.revocation)}" if self.revocation else "")


def covers(revocation: Event, token: Event) -> bool:
    """Whether *revocation* certainly covers *token*, by the words of the promises."""
    what, target = revocation["what"], revocation["target"]
    if what == "id":
        return bool(token["token"] == target)
    if what == "label":
        end = (revocation["acknowledged"] or 0.0) + revocation["remembered_for"]
        return target in token["labels"] and token["end"] < end
    if token["kind"] not in revocation["kinds"]:
        return False
    if token["since_read"] > revocation["begin"]:
        return False
    return what == "realm" or token["subject"] == target


def check(history: Iterable[Event], margin: float = 0.0) -> list[Violation]:
    """Every violation in *history*; *margin* widens each bound, for clocks of several rates."""
    by_type: dict[str, list[Event]] = defaultdict(list)
    for event in history:
        by_type[event["type"]].append(event)
    tokens = {event["token"]: event for event in by_type["issued"]}
    confirmed: dict[Any, float] = {}
    for event in by_type["confirmed"]:
        confirmed[event["rev"]] = min(event["at"], confirmed.get(event["rev"], event["at"]))
    lost: dict[Any, float] = {}
    for event in by_type["lost"]:
        # (A later backup lacks it as well; it was lost with the first.)
        for rev in event["revs"]:
            lost[rev] = min(event["at"], lost.get(rev, event["at"]))
    unknown: dict[Any, float] = {}
    for event in by_type["lost"]:
        for name in event["tokens"]:
            unknown[name] = min(event["at"], unknown.get(name, event["at"]))
    covering: dict[str, list[Event]] = defaultdict(list)
    for revocation in by_type["revoked"]:
        if revocation["acknowledged"] is not None:
            for name, token in tokens.items():
                if covers(revocation, token) and not (
                    # Its number is of the history that was lost. It may have come again.
                    revocation["what"] in ("subject", "realm")
                    and revocation["begin"] >= unknown.get(name, float("inf"))
                    and not revocation.get("restored")
                ):
                    covering[name].append(revocation)
    found = []
    for event in by_type["validated"]:
        if not event["accepted"]:
            continue
        for revocation in covering[event["token"]]:
            if event["begin"] >= lost.get(revocation["rev"], float("inf")):
                continue
            found += _accepted(event, revocation, confirmed.get(revocation["rev"]), margin)
    found += _let_in(by_type, tokens, confirmed, lost, margin)
    for event in by_type["issued"]:
        asked = event.get("asked")
        for revocation in covering[asked] if asked is not None else ():
            if event["end"] >= lost.get(revocation["rev"], float("inf")):
                continue
            if revocation["acknowledged"] < event["begin"]:
                says = "issued on the strength of a token that was revoked before"
                found.append(Violation("6 what stands on a token", says, event, revocation))
    for event in by_type["record"]:
        for revocation in covering[event["token"]]:
            if revocation["what"] != "id" or revocation["rev"] in lost:
                continue
            if event["at"] > revocation["acknowledged"]:
                says = "a record stands after its token was revoked"
                found.append(Violation("4 logout wins", says, event, revocation))
    # A label that comes again long after its end is nobody's promise.
    over = [one for one in by_type["revoked"] if one["what"] == "label"]
    reused = {
        name
        for name, token in tokens.items()
        if any(
            one["target"] in token["labels"] and token["end"] > one["begin"] + one["remembered_for"]
            for one in over
        )
    }
    # The end of a token whose record a backup brought back is remembered for its time only.
    back = {
        one["target"]: max(lost[one["rev"]], one["begin"] + one["remembered_for"])
        for one in by_type["revoked"]
        if one["what"] == "id" and one["rev"] in lost
    }
    return found + _unlearnt(
        one
        for one in by_type["validated"]
        if one["token"] not in reused and one["begin"] < back.get(one["token"], float("inf"))
    )


def _accepted(
    event: Event, revocation: Event, confirmed_at: float | None, margin: float
) -> list[Violation]:
    found = []
    if confirmed_at is not None and event["begin"] >= confirmed_at:
        says = "accepted after the revocation was confirmed"
        found.append(Violation("1 revoked means revoked", says, event, revocation))
    late = event["end"] - revocation["acknowledged"] - event["max_staleness"]
    if late > margin and not event["accepts_when_stale"]:
        says = f"accepted {late:.3f} s after the bound"
        found.append(Violation("2 bounded in any fault", says, event, revocation))
    return found


def _let_in(
    by_type: Mapping[str, list[Event]],
    tokens: Mapping[str, Event],
    confirmed: Mapping[Any, float],
    lost: Mapping[Any, float],
    margin: float,
) -> list[Violation]:
    """While a lock stands nobody is let in: no token is made, and none is accepted."""
    found = []
    for lock in by_type["revoked"]:
        if not lock.get("lock") or lock["acknowledged"] is None:
            continue
        over = [
            one["begin"]
            for one in by_type["unlocked"]
            if one["target"] == lock["target"] and one["begin"] >= lock["begin"]
        ]
        end = min([*over, lost.get(lock["rev"], float("inf"))], default=float("inf"))
        for event in by_type["issued"]:
            inside = lock["acknowledged"] < event["begin"] and event["end"] < end
            if inside and event["subject"] == lock["target"]:
                says = "a token was made while a lock stood"
                found.append(Violation("7 locked out", says, event, lock))
        for event in by_type["validated"]:
            token = tokens.get(event["token"])
            if not event["accepted"] or token is None or event["end"] >= end:
                continue
            if token["subject"] == lock["target"]:
                found += [
                    Violation("7 locked out", one.says, event, lock)
                    for one in _accepted(event, lock, confirmed.get(lock["rev"]), margin)
                ]
    return found


def _unlearnt(validations: Iterable[Event]) -> list[Violation]:
    """A node that once knew that a token is revoked knows it for as long as it lives."""
    found: list[Violation] = []
    said: dict[tuple[str, str], float] = {}
    for event in sorted(validations, key=lambda one: float(one["end"])):
        key = (event["node"], event["token"])
        if event["from_view"]:
            said.setdefault(key, event["end"])
        elif event["accepted"] and event["begin"] > said.get(key, float("inf")):
            says = "accepted by a node that had known the revocation"
            found.append(Violation("5 nothing is unlearnt", says, event))
    return found
