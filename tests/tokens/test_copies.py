"""Copies: which is the newer one, and when an older one is spent."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest

from flask_clustertoken.tokens import CopiesNote, Pace, Whereabouts, begun, read_copies
from flask_clustertoken.tokens.copies import copies_key

DAY = 86_400
GRACE = 60

PACES = [
    Pace.of(renew_after=DAY, always=False, grace=GRACE),
    Pace.of(renew_after=DAY, always=True, grace=GRACE),
    Pace.of(renew_after=1, always=False, grace=GRACE),
    Pace.of(renew_after=3600, always=True, grace=1),
]


def at(when: float, agent: str = "") -> Whereabouts:
    return Whereabouts(when, agent, "host")


@pytest.mark.parametrize("pace", PACES)
def test_a_copy_that_is_made_later_is_never_of_an_older_generation(pace: Pace) -> None:
    """Whatever its age is, and how it is rounded there."""
    ages = [*range(20_000), *range(20_000, 40 * DAY, 997), *(2**n - 1 for n in range(22))]
    found = [pace.generation(age) for age in sorted(ages)]
    assert all(before <= after for before, after in pairwise(found))
    assert all(generation <= age for generation, age in zip(found, sorted(ages), strict=True))
    assert pace.generation(-5) == 0


@pytest.mark.parametrize(("renew_after", "grace"), [(DAY, 60), (3600, 60), (120, 60), (5, 1)])
def test_each_renewal_that_was_due_begins_a_generation(renew_after: int, grace: int) -> None:
    """It comes when ``RENEW_AFTER`` has passed since the copy was made, at any age."""
    pace = Pace.of(renew_after=renew_after, always=False, grace=grace)
    for made in range(0, 40 * renew_after, max(1, renew_after // 37)):
        assert pace.generation(made + renew_after) > pace.generation(made)


@pytest.mark.parametrize("pace", PACES[1:])
def test_where_copies_run_fast_a_generation_lasts_longer_than_the_grace(pace: Pace) -> None:
    """Else no copy was ever in use for that long."""
    grace = GRACE if pace.finest > 4 else 1
    begins = sorted({pace.generation(age) for age in range(0, 3 * DAY)})
    assert min(after - before for before, after in pairwise(begins)) >= 2 * grace
    if pace == PACES[1]:  # two small writes for each
        assert sum(one < DAY for one in begins) < 40
        assert sum(one >= DAY for one in begins) <= 2 * 6


def test_a_copy_is_spent_once_a_newer_one_was_used_for_longer_than_the_grace() -> None:
    """From the first to the last use; and not for who came before that was so."""
    note = begun(100, at(1000.0, "first"))
    assert note.used(100, at(1060.0), GRACE) == note
    used = note.used(100, at(1060.5, "last"), GRACE)
    assert used.is_spent(99, 1060.5)
    assert not used.is_spent(99, 1060.4)
    assert not used.is_spent(100, 2000.0)
    assert used.last_place == at(1060.5, "last")


def test_only_uses_of_one_generation_count_together() -> None:
    """Two copies made side by side, the browser kept the older: the other's brief use is over."""
    note = begun(128, at(1000.0)).used(90_000, at(91_000.0), GRACE)
    assert not note.is_spent(127, 91_001.0)
    assert note.used(90_000, at(91_061.0), GRACE).is_spent(127, 91_061.0)


@pytest.mark.parametrize("order", [(127, 128), (128, 127)])
def test_the_older_of_two_that_were_made_side_by_side_may_be_the_one_that_is_kept(
    order: tuple[int, int],
) -> None:
    """What is older than that is spent, and neither of the two is."""
    note = begun(order[0], at(1000.0)).used(order[1], at(1001.0), GRACE)
    note = note.used(127, at(1062.0), GRACE)
    assert note.is_spent(126, 1062.0)
    assert not note.is_spent(127, 2000.0)


def test_the_use_of_a_stolen_copy_hides_no_newer_one() -> None:
    """However often it is used in between."""
    note = begun(100, at(1000.0))
    for when in (1010.0, 1030.0, 1059.0):
        note = note.used(50, at(when), GRACE)
    note = note.used(100, at(1061.0), GRACE)
    assert note.is_spent(50, 1061.0)


def test_what_was_spent_stays_so_while_the_next_one_begins() -> None:
    """A newer generation begins anew, and takes nothing back."""
    note = begun(100, at(0.0)).used(100, at(61.0), GRACE).used(200, at(62.0), GRACE)
    assert note.is_spent(99, 62.0)
    assert not note.is_spent(150, 62.0)


def test_it_is_known_when_a_use_says_anything_new() -> None:
    """Nothing need be noted until then, and mostly never again."""
    note = begun(100, at(1000.0))
    assert note.wait(100, 1010.0, GRACE) == 50
    assert note.wait(100, 1100.0, GRACE) == 0
    assert note.used(100, at(1061.0), GRACE).wait(99, 1100.0, GRACE) == inf
    assert note.used(99, at(1001.0), GRACE).wait(98, 1100.0, GRACE) == inf
    assert note.wait(101, 1000.0, GRACE) == 0
    assert note.used(100, at(1061.0), GRACE).wait(100, 2000.0, GRACE) == inf


def test_a_note_is_read_as_it_was_written() -> None:
    """And what a newer version wrote is left alone."""
    for note in (
        begun(3, at(1.5)),
        begun(3, at(0.0)).used(3, at(99.0, 'a "b"'), GRACE).as_told("x"),
    ):
        assert read_copies(note.encode()) == note
        assert len(note.encode()) < 500
    newer = begun(3, at(1.5)).encode().replace(b'"format":1', b'"format":2')
    assert read_copies(newer) is None
    for value in (b"", b"[]", b"7", b'{"format":1}', b'{"format":1,"newest":1,"x":2}'):
        assert read_copies(value) is None
    assert copies_key("token/abc/def") == "copies/abc/def"
    assert isinstance(read_copies(begun(1, at(1.0)).encode()), CopiesNote)
