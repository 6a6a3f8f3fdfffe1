"""The checker itself: it names what is wrong and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .checker import check

ISSUED = {
    "type": "issued", "token": "t", "subject": "alice", "labels": ["sid"], "kind": "login",
    "since_read": 1.0, "begin": 0.0, "end": 2.0,
}  # fmt: skip
REVOKED = {
    "type": "revoked", "rev": 1, "what": "id", "target": "t", "kinds": ["login"], "begin": 10.0,
    "acknowledged": 11.0, "remembered_for": 100.0,
}  # fmt: skip
LOOKED = {
    "type": "validated", "node": "n", "token": "t", "begin": 12.0, "end": 12.1, "accepted": True,
    "reason": "", "from_view": False, "max_staleness": 10.0, "accepts_when_stale": False,
}  # fmt: skip


def promises(*history: dict[str, Any]) -> list[str]:
    return [one.promise[0] for one in check([ISSUED, *history])]


@pytest.mark.parametrize(
    ("revoked", "looked", "broken"),
    [
        ({}, {}, []),
        ({}, {"begin": 20.9, "end": 21.0}, []),
        ({}, {"begin": 20.9, "end": 21.1}, ["2"]),
        ({}, {"begin": 20.9, "end": 21.1, "accepts_when_stale": True}, []),
        ({}, {"begin": 20.9, "end": 21.1, "accepted": False}, []),
        ({}, {"begin": 14.0, "end": 15.1, "max_staleness": 4.0}, ["2"]),
        ({"acknowledged": None}, {"begin": 90.0, "end": 90.0}, []),
        ({"target": "other"}, {"begin": 90.0, "end": 90.0}, []),
        ({"what": "subject", "target": "alice"}, {"begin": 90.0, "end": 90.0}, ["2"]),
        ({"what": "subject", "target": "bob"}, {"begin": 90.0, "end": 90.0}, []),
        ({"what": "realm", "target": ""}, {"begin": 90.0, "end": 90.0}, ["2"]),
        ({"what": "realm", "target": "", "kinds": ["api"]}, {"begin": 90.0, "end": 90.0}, []),
        ({"what": "realm", "target": "", "begin": 0.5}, {"begin": 90.0, "end": 90.0}, []),
        ({"what": "label", "target": "sid"}, {"begin": 90.0, "end": 90.0}, ["2"]),
        ({"what": "label", "target": "x"}, {"begin": 90.0, "end": 90.0}, []),
    ],
)
def test_the_bound_counts_from_the_acknowledgement(
    revoked: dict[str, Any], looked: dict[str, Any], broken: list[str]
) -> None:
    """Accepted after the bound is a violation; before it, or what was not covered, is none."""
    assert promises(REVOKED | revoked, LOOKED | looked) == broken


def test_nothing_is_accepted_that_starts_after_the_confirmation() -> None:
    """A look that had begun before may still be answered; one that begins after may not."""
    confirmed = {"type": "confirmed", "rev": 1, "at": 12.0}
    assert promises(REVOKED, confirmed, LOOKED) == ["1"]
    assert promises(REVOKED, confirmed, LOOKED | {"begin": 11.9}) == []


def test_a_record_of_an_ended_token_is_a_violation() -> None:
    """After the acknowledgement no record of that id stands."""
    assert promises(REVOKED, {"type": "record", "token": "t", "at": 12.0}) == ["4"]
    assert promises(REVOKED, {"type": "record", "token": "t", "at": 10.5}) == []


def test_a_node_that_knew_it_may_not_forget() -> None:
    """The same life of a process; another life begins with nothing."""
    knew = LOOKED | {"accepted": False, "reason": "revoked", "from_view": True, "end": 11.5}
    assert promises(knew, LOOKED) == ["5"]
    assert promises(knew, LOOKED | {"node": "m"}) == []


def test_a_node_may_forget_what_is_over_although_a_backup_brings_the_token_back() -> None:
    """Not before: as long as it is remembered, the backup changes nothing."""
    knew = LOOKED | {"accepted": False, "reason": "revoked", "from_view": True, "end": 11.5}
    lost = {"type": "lost", "revs": [1], "tokens": [], "at": 12.0}
    over = LOOKED | {"begin": 111.0, "end": 111.1}
    assert promises(REVOKED, knew, lost, LOOKED | {"begin": 13.0, "end": 13.1}) == ["5"]
    assert promises(REVOKED, knew, lost, over) == []


def test_what_a_restored_backup_lost_is_not_promised() -> None:
    """From then on; before it everything holds."""
    late = LOOKED | {"begin": 90.0, "end": 90.0}
    assert promises(REVOKED, {"type": "lost", "revs": [1], "tokens": [], "at": 50.0}, late) == []
    again = {"type": "lost", "revs": [1], "tokens": [], "at": 95.0}
    assert promises(REVOKED, again, late) == ["2"]
    assert promises(REVOKED, again, again | {"at": 50.0}, late) == []


def test_a_token_that_the_backup_does_not_know_ends_with_the_restore_that_is_said() -> None:
    """Its number may have come again since: other marks are not promised to cover it."""
    lost = {"type": "lost", "revs": [], "tokens": ["t"], "at": 5.0}
    mark = REVOKED | {"what": "subject", "target": "alice"}
    late = LOOKED | {"begin": 90.0, "end": 90.0}
    assert promises(lost, mark, late) == []
    assert promises(lost, REVOKED, late) == ["2"]
    assert promises(lost, mark | {"restored": True}, late) == ["2"]


@pytest.mark.parametrize(
    ("asked", "begin", "broken"), [("t", 12.0, ["6"]), ("t", 10.5, []), (None, 12.0, [])]
)
def test_what_is_made_of_a_token_that_was_revoked_is_named(
    asked: str | None, begin: float, broken: list[str]
) -> None:
    """From the acknowledgement on, whatever is begun on that token's strength is a violation."""
    made = ISSUED | {"token": "t2", "labels": [], "begin": begin, "end": 13.0, "asked": asked}
    assert promises(REVOKED, made) == broken
