"""Locks in the view: in force or not by number and time, whatever comes in whichever order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from flask_clustertoken.revocations import BEYOND, FeedEntry, View, mark_covers
from flask_clustertoken.revocations.entry import OF_FORM_2
from flask_clustertoken.stores.base import Entry
from flask_clustertoken.tokens import UNNUMBERED, Token, digest, digests

AT = 1_800_000_000.0
WEEK = 7 * 86_400.0
N = int(AT * 1e6)

SUBJECT = (digest("subject:login", "alice"), digest("subject:api", "alice"))


def a_token(**other: object) -> Token:
    base = Token(
        id="i" * 24,
        subject="alice",
        kind="login",
        issued_at=int(AT),
        authenticated_at=int(AT),
        expires_at=int(AT + WEEK),
        since=N,
        labels=("staff",),
    )
    return replace(base, **other)  # type: ignore[arg-type]


def entry(seq: int, feed_entry: FeedEntry) -> Entry:
    return Entry(seq, 0, str(seq), feed_entry.encode(), feed_entry.remembered_until(WEEK))


def learn(view: View, seq: int, feed_entry: FeedEntry) -> None:
    view.learn(entry(seq, feed_entry), FeedEntry.decode(feed_entry.encode()))


def lock(until: float = 0.0, spares: tuple[str, ...] = (), **where: object) -> FeedEntry:
    extra = {"message": "not now"}
    if spares:
        extra["except_labels"] = [f"{one:016x}" for one in digests("label", spares)]  # type: ignore[assignment]
    target = {"digests": SUBJECT, "kinds": ("login", "api"), **where}
    return FeedEntry("lock", AT, value=until, extra=extra, **target)  # type: ignore[arg-type]


def unlock(**where: object) -> FeedEntry:
    target = {"digests": SUBJECT, "kinds": ("login", "api"), **where}
    return FeedEntry("unlock", AT, **target)  # type: ignore[arg-type]


@pytest.fixture
def view() -> View:
    made = View()
    learn(made, N - 1000, FeedEntry("lifetime", AT, value=WEEK))
    return made


def refused(view: View, token: Token, now: float = AT) -> str:
    if view.lock_on(token, now) is not None:
        return "locked"
    return "revoked" if view.covers(token) else ""


def test_a_lock_refuses_whatever_it_matches_whenever_it_was_issued(view: View) -> None:
    """Logins of before and after, API tokens, and what another issuer numbered not at all."""
    learn(view, N + 10, lock())
    for token in (
        a_token(),
        a_token(since=N + 20),
        a_token(kind="api", labels=()),
        a_token(since=UNNUMBERED, epoch=""),
    ):
        assert refused(view, token) == "locked"
    assert refused(view, a_token(subject="bob")) == ""


def test_after_a_lock_the_logins_of_before_stay_ended_and_keys_are_good_again(view: View) -> None:
    """A login was ended; an API token was refused for a while; a new login is accepted."""
    learn(view, N + 10, lock())
    learn(view, N + 20, unlock())
    assert refused(view, a_token()) == "revoked"
    assert refused(view, a_token(since=N + 30)) == ""
    assert refused(view, a_token(kind="api", labels=())) == ""


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"digests": (digest("label", "staff"),)},
        {"digests": (), "kinds": ("login",)},
        {"digests": ()},
    ],
    ids=["subject", "label", "kind", "everyone"],
)
def test_each_target_is_locked_and_unlocked_by_its_own_name(
    view: View, where: dict[str, object]
) -> None:
    """The unlock of another target takes nothing away."""
    learn(view, N + 10, lock(**where))
    learn(view, N + 20, unlock(digests=(5,)))
    assert refused(view, a_token(since=N + 30)) == "locked"
    learn(view, N + 40, unlock(**where))
    assert refused(view, a_token(since=N + 30)) == ""


def test_a_lock_of_one_kind_leaves_the_other_alone(view: View) -> None:
    """API tokens may be locked alone; no login ends by that."""
    learn(view, N + 10, lock(digests=(), kinds=("api",)))
    assert refused(view, a_token(kind="api", labels=())) == "locked"
    assert refused(view, a_token()) == ""


def test_whoever_is_spared_is_neither_locked_nor_ended(view: View) -> None:
    """Administrators stay in; the others' logins stay ended when the lock is over."""
    learn(view, N + 10, lock(spares=("staff",), digests=()))
    other = a_token(labels=("guest",))
    assert refused(view, a_token()) == ""
    assert refused(view, other) == "locked"
    learn(view, N + 20, unlock(digests=()))
    assert refused(view, a_token()) == ""
    assert refused(view, other) == "revoked"
    assert refused(view, replace(other, since=N + 30)) == ""


def test_a_lock_is_over_at_its_time(view: View) -> None:
    """No entry is needed for that; the message is told until then."""
    learn(view, N + 10, lock(until=AT + 60))
    late = a_token(since=N + 20)
    found = view.lock_on(late, AT + 59)
    assert found is not None
    assert (found.message, found.ends_at) == ("not now", AT + 60)
    assert refused(view, late, AT + 60) == ""


def test_the_order_of_locks_is_that_of_the_feed(view: View) -> None:
    """Own entries are learnt before their place is reached: every order comes to the same."""
    entries = [
        (N + 10, lock()),
        (N + 20, unlock()),
        (N + 30, lock(until=AT + 60, spares=("staff",))),
    ]
    for order in itertools.permutations(entries):
        made = View()
        learn(made, N - 1000, FeedEntry("lifetime", AT, value=WEEK))
        for seq, feed_entry in order:
            learn(made, seq, feed_entry)
        assert refused(made, a_token(since=N + 40)) == ""
        assert refused(made, a_token(since=N + 40, labels=("guest",))) == "locked"
        assert refused(made, a_token(since=N + 40, labels=("guest",)), AT + 61) == ""
        # What the first lock had ended nobody's exception brings back.
        assert refused(made, a_token()) == "revoked"


def test_a_lock_moves_the_generation(view: View) -> None:
    """So a token that was seen before is asked about once more, and then no more."""
    before = view.generation
    learn(view, N + 10, lock())
    assert view.generation > before


def test_a_lock_is_remembered_until_its_end_and_longer_than_what_it_ended(view: View) -> None:
    """With a time: until that and until every login of before is over. Without: until swept."""
    assert lock().remembered_until(WEEK) is None
    assert unlock().remembered_until(WEEK) is None
    assert lock(until=AT + 60).remembered_until(WEEK) == AT + WEEK + BEYOND
    assert lock(until=AT + 2 * WEEK).remembered_until(WEEK) == AT + 2 * WEEK + BEYOND
    only_api = lock(until=AT + 60, digests=(), kinds=("api",))
    assert only_api.remembered_until(WEEK) == AT + 60 + BEYOND

    learn(view, N + 10, lock(until=AT + 60, spares=("guest",), digests=()))
    view.expire(AT + WEEK)
    assert refused(view, a_token(), AT + WEEK) == "revoked"
    view.expire(AT + WEEK + 2 * BEYOND)
    assert len(view.locks) == 0


def test_a_lock_without_an_end_goes_by_name_and_its_unlock_after_it(view: View) -> None:
    """An unlock that went first would let the lock come back for whoever joins."""
    learn(view, N + 10, lock())
    assert view.locks.over(WEEK, AT + 10 * WEEK) == []
    learn(view, N + 20, unlock())
    assert view.locks.over(WEEK, AT + WEEK - 1) == []
    assert view.locks.over(WEEK, AT + WEEK + 1) == [N + 10]
    learn(view, N + 30, FeedEntry("swept", AT, value=float(N + 10)))
    assert view.locks.over(WEEK, AT + WEEK + 1) == [N + 20]
    learn(view, N + 40, FeedEntry("swept", AT, value=float(N + 20)))
    assert view.locks.over(WEEK, AT + 10 * WEEK) == []
    assert refused(view, a_token(since=N + 50)) == ""


@pytest.mark.parametrize("until", [0.0, AT + 4 * WEEK])
def test_a_lock_that_another_one_replaced_does_not_come_back(view: View, until: float) -> None:
    """The later one's time is over long before the earlier one may be forgotten."""
    learn(view, N + 10, lock(until=until))
    learn(view, N + 20, lock(until=AT + 3600))
    token = a_token(since=N + 30)
    assert refused(view, token, AT + 3599) == "locked"
    for weeks in range(1, 4):
        view.expire(AT + weeks * WEEK)
        assert refused(view, token, AT + weeks * WEEK) == ""
    assert view.locks.holds(N + 20)
    if until:
        view.expire(until + 2 * BEYOND)
    else:
        assert view.locks.over(WEEK, AT + 2 * WEEK) == [N + 10]
        learn(view, N + 40, FeedEntry("swept", AT + 2 * WEEK, value=float(N + 10)))
        view.expire(AT + 2 * WEEK)
    assert not view.locks.holds(N + 20)
    assert len(view.locks) == 0


def test_a_lock_that_is_set_every_night_leaves_nothing_behind(view: View) -> None:
    """Each goes when the next one is old enough, although there is always a newest."""
    night = 86_400_000_000
    for number in range(20):
        learn(view, N + number * night, replace(lock(), at=AT + number * 86_400))
        for over in view.locks.over(WEEK, AT + number * 86_400):
            swept = FeedEntry("swept", AT, value=float(over))
            learn(view, N + number * night + 1, swept)
        assert refused(view, a_token(), AT) == "locked"
    assert len(view.locks) == 9  # (a week's, the newest, and one that is a moment too young)


def test_of_many_unlocks_the_last_one_stays_while_a_lock_is_left(view: View) -> None:
    """Locking and unlocking over and over leaves nothing behind, in view and feed."""
    for number in range(10, 50, 20):
        learn(view, N + number, lock())
        learn(view, N + number + 10, unlock())
    late = AT + 2 * WEEK
    assert sorted(view.locks.over(WEEK, late)) == [N + 10, N + 20, N + 30]
    for number in (10, 20, 30):
        learn(view, N + 100 + number, FeedEntry("swept", AT, value=float(N + number)))
        assert refused(view, a_token(since=N + 60)) == ""
    assert view.locks.over(WEEK, late) == [N + 40]
    learn(view, N + 200, FeedEntry("swept", AT, value=float(N + 40)))
    assert view.locks.over(WEEK, late) == []
    assert refused(view, a_token(since=N + 60)) == ""


def test_after_a_loss_an_unlock_counts_only_if_it_is_met_again(view: View) -> None:
    """Numbers of a lost history may be higher than those to come; a lock of it alone is none."""
    learn(view, N + 10, lock())
    learn(view, N + 20, unlock())
    learn(view, N + 30, lock(spares=("staff",), digests=()))
    view.begin_anew()
    era = view.locks.era
    token = a_token(since=N + 40, labels=("guest",))
    assert refused(view, token) == "locked"
    learn(view, N + 10, lock())
    learn(view, N + 15, unlock())
    view.locks.settle(era)
    assert refused(view, token) == ""
    # What was ended stays so.
    assert refused(view, a_token(labels=("guest",))) == "revoked"
    learn(view, N + 16, lock())
    assert refused(view, token) == "locked"


@pytest.mark.long
def test_a_hundred_thousand_locks_are_learnt_and_asked(view: View) -> None:
    """Each is found, and nobody else is held up by them."""
    for number in range(100_000):
        name = f"user-{number}"
        marks = (digest("subject:login", name), digest("subject:api", name))
        feed_entry = lock(digests=marks)
        view.learn(Entry(N + number, 0, str(number), b"", None), feed_entry)
    assert len(view.locks) == 100_000
    assert refused(view, a_token(subject="user-77777", since=N * 2)) == "locked"
    assert refused(view, a_token()) == ""


def test_a_label_issued_before_here_ends_no_later_token(view: View) -> None:
    """Unlike a label's own revocation, which also ends what is issued later."""
    mark = FeedEntry("labels_before", AT, digests("label", ["staff"]))
    learn(view, N + 10, mark)
    assert view.covers(a_token())
    assert not view.covers(a_token(since=N + 20))
    assert not view.covers(a_token(labels=()))
    for token in (a_token(), a_token(since=N + 20), a_token(labels=())):
        assert mark_covers(N + 10, mark, token) == view.covers(token)


@pytest.mark.parametrize("kind", ["subject", "realm", "labels_before", "lock", "restored"])
def test_an_entry_may_stand_for_an_earlier_number(view: View, kind: str) -> None:
    """Published again after a fail-over it ends what was issued before, and no login since."""
    marks = {
        "subject": (SUBJECT[0],),
        "labels_before": digests("label", ["staff"]),
        "lock": SUBJECT,
    }.get(kind, ())
    kinds = () if kind == "labels_before" else ("login",)
    again = FeedEntry(kind, AT, marks, kinds, stands_for=N + 10)  # type: ignore[arg-type]
    learn(view, N + 1000, again)
    if kind == "lock":
        learn(view, N + 20, unlock(kinds=("login",)))  # of after the number it stands for
    assert view.covers(a_token())
    assert not view.covers(a_token(since=N + 20))
    if kind != "lock":
        assert not mark_covers(N + 1000, again, a_token(since=N + 20))


def test_what_is_new_is_of_form_two_and_all_else_of_form_one() -> None:
    """So an old node reads whatever it would know, and is stale at whatever it would not."""
    for kind in OF_FORM_2:
        assert FeedEntry(kind, AT).format == 2  # type: ignore[arg-type]
    assert FeedEntry("realm", AT, kinds=("login",)).format == 1
    assert FeedEntry("realm", AT, kinds=("login",), stands_for=5).format == 2
