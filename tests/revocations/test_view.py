"""The view: what it has learnt it keeps, whatever comes in whichever order."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_clustertoken.revocations import FeedEntry, View, mark_covers
from flask_clustertoken.revocations.digest_table import ALWAYS, NEVER, DigestTable
from flask_clustertoken.revocations.entry import LIFETIME_ANNOUNCED
from flask_clustertoken.stores.base import Entry
from flask_clustertoken.tokens import Token, TokenKind, digest, digests, new_id

AT = 1_800_000_000.0
WEEK = 7 * 86_400.0
KEYS = st.one_of(st.integers(0, 40), st.integers(2**64 - 40, 2**64 - 1), st.integers(0, 2**64 - 1))
LEARNT = st.lists(st.tuples(KEYS, st.integers(1, 50), st.integers(0, 2000)), max_size=60)


@given(learnt=LEARNT, asked=st.lists(KEYS, max_size=10))
def test_the_table_is_a_dictionary_of_maxima(
    learnt: list[tuple[int, int, int]], asked: list[int]
) -> None:
    """Per digest the highest number stands, and each is counted once."""
    table, model = DigestTable(), dict[int, int]()
    for key, seq, until in learnt:
        table.learn(key, seq, until)
        model[key] = max(seq, model.get(key, 0))
    assert len(table) == len(model)
    for key in [*model, *asked]:
        assert table.seq(key) == model.get(key, 0)


@given(learnt=LEARNT, now=st.integers(0, 2000))
def test_the_table_unlearns_nothing_before_its_end(
    learnt: list[tuple[int, int, int]], now: int
) -> None:
    """After a whole round of expiry exactly what was not over is left."""
    table, ends = DigestTable(), dict[int, int]()
    for key, seq, until in learnt:
        table.learn(key, seq, until)
        ends[key] = max(until, ends.get(key, 0))
    gone = table.expire(now, shards=4096)
    left = {key for key, until in ends.items() if until >= now}
    assert gone == len(ends) - len(left)
    assert {key for key in ends if table.seq(key)} == left
    assert len(table) == len(left)


@given(order=st.permutations([(5, 100), (9, 50), (7, NEVER)]), settled=st.sampled_from([5, 7, 9]))
def test_settling_touches_only_the_mark_that_was_swept(
    order: list[tuple[int, int]], settled: int
) -> None:
    """A later mark on the same digest keeps its own end."""
    table = DigestTable()
    for seq, until in order:
        table.learn(1, seq, until)
    table.settle(1, settled, 60)
    table.expire(1000, shards=4096)
    assert table.seq(1) == (0 if settled == 9 else 9)


def a_token(since: int, kind: TokenKind = "login", labels: tuple[str, ...] = ()) -> Token:
    return Token(
        id=ID,
        subject="alice",
        kind=kind,
        issued_at=int(AT),
        authenticated_at=int(AT),
        expires_at=None,
        since=since,
        labels=labels,
    )


ID = new_id("alice")


def feed_entries(kinds: tuple[str, ...] = ("login",)) -> dict[str, FeedEntry]:
    return {
        "id": FeedEntry("ids", AT, digests("id", [ID])),
        "label": FeedEntry("labels", AT, digests("label", ["sid"])),
        "subject": FeedEntry(
            "subject", AT, tuple(digest(f"subject:{k}", "alice") for k in kinds), kinds
        ),
        "realm": FeedEntry("realm", AT, kinds=kinds),
        "not_before": FeedEntry("not_before", AT, kinds=kinds, value=AT + 1),
        "restored": FeedEntry("restored", AT, kinds=kinds),
    }


def learn(view: View, seq: int, feed_entry: FeedEntry) -> None:
    view.learn(
        Entry(seq, 0, str(seq), feed_entry.encode(), feed_entry.remembered_until(WEEK)), feed_entry
    )


@pytest.mark.parametrize("what", sorted(feed_entries()))
def test_each_level_covers_what_it_names(what: str) -> None:
    """Id and label whenever issued; subject, realm and restore what was issued before; a time."""
    view = View()
    learn(view, 10, feed_entries()[what])
    always = what in ("id", "label", "not_before")
    assert view.covers(a_token(9, labels=("sid",)))
    assert view.covers(a_token(10, labels=("sid",))) is always
    assert view.covers(a_token(11, labels=("sid",))) is always
    api = a_token(9, "api", labels=("sid",))
    assert view.covers(api) is (what in ("id", "label"))
    learn(view, 12, feed_entries(("login", "api"))[what])
    assert view.covers(api)


@pytest.mark.parametrize("what", sorted(feed_entries()))
def test_one_mark_alone_says_the_same(what: str) -> None:
    """What listeners ask of a single revocation is what the view says of it."""
    for kinds in (("login",), ("login", "api")):
        feed_entry = feed_entries(kinds)[what]
        view = View()
        learn(view, 10, feed_entry)
        for kind in ("login", "api"):
            for since in (9, 10, 11):
                for labels in ((), ("sid",), ("x", "sid")):
                    token = a_token(since, kind, labels)  # type: ignore[arg-type]
                    assert mark_covers(10, feed_entry, token) == view.covers(token)


def test_the_order_of_learning_changes_nothing() -> None:
    """All orders of the levels lead to one view (an own entry is learnt before its place)."""
    steps = list(enumerate(feed_entries().values(), start=10))
    tokens = [
        a_token(since, kind, labels)  # type: ignore[arg-type]
        for since in range(9, 18)
        for kind in ("login", "api")
        for labels in ((), ("sid",))
    ]
    answers = set()
    for order in permutations(steps):
        view = View()
        for seq, feed_entry in order:
            learn(view, seq, feed_entry)
        answers.add(tuple(view.covers(token) for token in tokens))
    assert len(answers) == 1


def test_a_lower_time_takes_nothing_back() -> None:
    """Not-before only ever rises."""
    view = View()
    learn(view, 10, FeedEntry("not_before", AT, kinds=("login",), value=AT + 100))
    learn(view, 11, FeedEntry("not_before", AT, kinds=("login",), value=AT - 100))
    assert view.covers(a_token(99))


def test_each_revocation_moves_the_generation() -> None:
    """Whoever remembers "not covered" can see that something was learnt since."""
    view = View()
    for number, feed_entry in enumerate(feed_entries().values(), start=1):
        before = view.generation
        learn(view, number, feed_entry)
        assert view.generation > before


def test_learning_never_moves_the_position() -> None:
    """The position says what was read without a gap; one entry alone says nothing of others."""
    view = View()
    learn(view, 10, feed_entries()["realm"])
    assert view.applied == 0


@settings(max_examples=40)
@given(longer=st.sampled_from([WEEK, 4 * WEEK]), early=st.booleans())
def test_the_longest_announced_lifetime_decides(longer: float, early: bool) -> None:
    """A mark outlives the longest-lived token announced before it, in whichever order they came."""
    view = View()
    announced = FeedEntry("lifetime", AT - 10, value=longer)
    mark = feed_entries()["subject"]
    steps = [(8, announced), (10, mark)]
    if early:
        steps.insert(0, (10, mark))
    for seq, feed_entry in steps:
        view.learn(Entry(seq, 0, str(seq), b"", AT + 60), feed_entry)
    for _ in range(64):
        view.expire(AT + longer)
    assert view.covers(a_token(9))
    for _ in range(64):
        view.expire(AT + longer + 3600)
    assert not view.covers(a_token(9))


def test_a_lowered_lifetime_counts_until_its_tokens_are_over() -> None:
    """What was announced stays the longest until the last token made with it has expired."""
    view = View()
    learn(view, 5, FeedEntry("lifetime", AT, value=4 * WEEK))
    learn(view, 6, FeedEntry("lifetime", AT + 86_400, value=3600.0))
    last = AT + LIFETIME_ANNOUNCED + 4 * WEEK
    assert view.longest(last) == 4 * WEEK
    assert view.longest(last + 3600) == 0.0


def test_marks_over_api_tokens_stay_until_they_are_swept() -> None:
    """No end before the sweep is recorded; then as long as a token of another kind may live."""
    view = View()
    learn(view, 5, FeedEntry("lifetime", AT, value=WEEK))
    learn(view, 10, feed_entries(("login", "api"))["subject"])
    assert set(view.unswept()) == {10}
    for _ in range(64):
        view.expire(AT + 1000 * WEEK)
    assert view.covers(a_token(9, "api"))
    learn(view, 11, FeedEntry("lifetime", AT + 1000 * WEEK, value=WEEK))
    learn(view, 12, FeedEntry("swept", AT + 1000 * WEEK, value=10.0))
    assert view.unswept() == {}
    for _ in range(64):
        view.expire(AT + 1001 * WEEK)
    assert view.covers(a_token(9))
    for _ in range(64):
        view.expire(AT + 1002 * WEEK)
    assert not view.covers(a_token(9))


def test_ids_and_labels_cover_what_is_issued_later() -> None:
    """Their digests carry no number: whatever comes is covered while they live."""
    view = View()
    learn(view, 10, feed_entries()["label"])
    assert view.covers(a_token(ALWAYS - 1, labels=("sid",)))
