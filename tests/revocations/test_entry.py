"""Feed entries: what the feed says, and how long it must be remembered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_clustertoken.clock import SKEW
from flask_clustertoken.revocations import BEYOND, FeedEntry
from flask_clustertoken.revocations.entry import KINDS, LIFETIME_ANNOUNCED, SHORT_MEMORY
from flask_clustertoken.settings import RECORD_CACHE_LIMIT, STALENESS_LIMIT
from flask_clustertoken.stores.base import CALL_TIMEOUT
from flask_clustertoken.tokens import digest, digests

AT = 1_800_000_000.0
WEEK = 7 * 86_400.0


@given(
    kind=st.sampled_from(sorted(KINDS)),
    at=st.floats(0, 4e9),
    marks=st.lists(st.integers(0, 2**64 - 1), max_size=4),
    kinds=st.lists(st.sampled_from(["login", "api"]), max_size=2, unique=True),
    value=st.floats(0, 4e15),
    recorded=st.booleans(),
)
def test_a_notice_round_trips(
    kind: str, at: float, marks: list[int], kinds: list[str], value: float, recorded: bool
) -> None:
    """What was written is read, for each kind and any digest of 64 bits."""
    feed_entry = FeedEntry(kind, at, tuple(marks), tuple(kinds), value, recorded)  # type: ignore[arg-type]
    assert FeedEntry.decode(feed_entry.encode()) == feed_entry


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"format":"1","kind":"ids"}',
        b'{"format":3,"kind":"ids"}',
        b'{"format":1,"kind":"unheard"}',
        b'{"format":1}',
        b'{"format":1,"kind":"ids","digests":[5]}',
        b'{"format":1,"kind":"ids","digests":["xyz"]}',
        b'{"format":1,"kind":"ids","at":null}',
        b'{"format":1,"kind":"ids","kinds":7}',
        b'{"format":1,"kind":"ids","extra":7}',
    ],
)
def test_what_is_not_understood_is_never_half_read(body: bytes) -> None:
    """An unknown kind, a higher form or wrong types are one error, so that nobody skips it."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of them is the same to a follower
        FeedEntry.decode(body)


def test_the_feed_holds_no_id_in_clear() -> None:
    """Whoever reads the feed learns neither ids, labels nor subjects."""
    body = FeedEntry("ids", AT, digests("id", ["the-token-id"])).encode()
    assert b"the-token-id" not in body
    assert digest("id", "x") != digest("label", "x")


def test_a_recorded_id_is_remembered_short() -> None:
    """Its record went in the same step: longer than any remembered "alive" is enough."""
    feed_entry = FeedEntry("ids", AT, (1,), recorded=True)
    until = feed_entry.remembered_until(WEEK)
    assert until == AT + SHORT_MEMORY
    assert SHORT_MEMORY >= RECORD_CACHE_LIMIT + CALL_TIMEOUT + STALENESS_LIMIT + SKEW


@pytest.mark.parametrize("kind", ["ids", "labels", "subject", "realm", "restored"])
def test_everything_else_is_remembered_long(kind: str) -> None:
    """As long as any token that it may cover, a stale view and the skew of the clocks."""
    feed_entry = FeedEntry(kind, AT, (1,), ("login",))  # type: ignore[arg-type]
    assert feed_entry.remembered_until(WEEK) == AT + WEEK + BEYOND


def test_a_time_to_come_counts_from_there() -> None:
    """A not-before time in the future is remembered from that time on."""
    feed_entry = FeedEntry("not_before", AT, kinds=("login",), value=AT + 1000)
    until = feed_entry.remembered_until(WEEK)
    assert until == AT + 1000 + WEEK + BEYOND


@pytest.mark.parametrize("kind", ["subject", "realm", "not_before", "restored"])
def test_a_mark_over_api_tokens_has_no_end_of_its_own(kind: str) -> None:
    """Tokens that never expire are covered until a sweep is recorded as complete."""
    feed_entry = FeedEntry(kind, AT, (1,), ("login", "api"))  # type: ignore[arg-type]
    assert feed_entry.remembered_until(WEEK) is None
    assert FeedEntry("sealed", AT).remembered_until(WEEK) is None


def test_the_number_tells_the_append_where_the_writer_was_early() -> None:
    """A writer suspended before its append named an earlier moment; the number knows better."""
    feed_entry = FeedEntry("labels", AT, (1,))
    late = feed_entry.remembered_until(WEEK, int((AT + 500) * 1e6))
    assert late == pytest.approx(AT + 500 + WEEK + BEYOND)
    assert feed_entry.remembered_until(WEEK, 5) == feed_entry.remembered_until(WEEK)


def test_an_announced_lifetime_outlives_the_tokens_made_with_it() -> None:
    """Tokens may be made until the announcement ends, and live as long as it says from there."""
    feed_entry = FeedEntry("lifetime", AT, value=WEEK)
    until = feed_entry.remembered_until(0.0)
    assert until is not None
    assert until >= AT + LIFETIME_ANNOUNCED + WEEK + SKEW


def test_each_append_has_its_own_id() -> None:
    """Two alike are two entries, unless the caller names them."""
    feed_entry = FeedEntry("labels", AT, (1,))
    assert feed_entry.entry(WEEK).id != feed_entry.entry(WEEK).id
    assert feed_entry.entry(WEEK, "mine").id == "mine"
    assert json.loads(feed_entry.entry(WEEK).body)["kind"] == "labels"
    assert replace(feed_entry, recorded=True).encode() != feed_entry.encode()
