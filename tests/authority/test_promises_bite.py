"""The tests of the promises can fail: each central rule, broken, is noticed by its test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_clustertoken.authority.authentication import Authentication
from flask_clustertoken.authority.verified_cache import VerifiedTokens
from flask_clustertoken.authority.writing import Writing
from flask_clustertoken.cluster import Node, Sweeper
from flask_clustertoken.cluster.sweeper import DAY
from flask_clustertoken.errors import HeadMoved, StoreUnavailable
from flask_clustertoken.revocations import FeedEntry, Follower, View
from flask_clustertoken.revocations.reader import Place, Reader
from flask_clustertoken.stores.base import HeadIs
from flask_clustertoken.tokens import Wire
from tests.authority import (
    test_authentication,
    test_issuing,
    test_renewal,
    test_restored_meanwhile,
    test_standing,
)
from tests.cluster import test_confirmation, test_sweeper
from tests.doubles import Cluster
from tests.revocations import test_follower, test_follower_history
from tests.tokens import test_wire

Test = Callable[[Cluster], None]
Patch = Callable[[pytest.MonkeyPatch], None]


def put(target: Any, name: str, broken: Any) -> Patch:
    return lambda patch: patch.setattr(target, name, broken)


def lease_from_the_end(patch: pytest.MonkeyPatch) -> None:
    extend = Follower.extend_lease
    patch.setattr(
        Follower,
        "extend_lease",
        lambda self, start, seq: extend(self, self._clock.monotonic(), seq),
    )


def compare_with_the_current_lease(patch: pytest.MonkeyPatch) -> None:
    judge = Authentication.judge_once

    def broken(self: Any, *asked: Any, **more: Any) -> Any:
        found = judge(self, *asked, **more)
        return found or judge(self, *asked, **more)

    patch.setattr(Authentication, "judge_once", broken)


def skip_what_is_unreadable(patch: pytest.MonkeyPatch) -> None:
    learn = Reader.learn_entry

    def broken(self: Any, entry: Any) -> FeedEntry:
        try:
            return learn(self, entry)
        except Exception:
            self.advance(entry.seq, self.era)
            return FeedEntry("barrier", 0.0)

    patch.setattr(Reader, "learn_entry", broken)


def restored_is_a_mark_only(patch: pytest.MonkeyPatch) -> None:
    learn = Reader.learn_page
    patch.setattr(Reader, "learn_page", lambda self, batch: (learn(self, batch)[0], False))


def by_the_number(self: HeadIs, head: int, entry: str | None) -> None:
    if head != self.seq:
        raise HeadMoved(self.seq)


def up_to_the_number(self: Reader) -> int:
    head = self.store.head()
    if not self.reach(head):
        raise StoreUnavailable("behind")
    return head


def own_moves_the_position(patch: pytest.MonkeyPatch) -> None:
    learn = Reader.learn_own

    def broken(self: Any, entry: Any, feed_entry: Any) -> None:
        learn(self, entry, feed_entry)
        self.advance(entry.seq, self.era)

    patch.setattr(Reader, "learn_own", broken)


def forget_by_the_shorter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(View, "longest", lambda self, now: min(self._lifetimes, default=0.0))
    patch.setattr(FeedEntry, "remembered_until", _short)


def _short(self: FeedEntry, longest: float, seq: int = 0) -> float | None:
    return self.at + longest


def believe_the_writer(patch: pytest.MonkeyPatch) -> None:
    remembered = FeedEntry.remembered_until
    patch.setattr(Follower, "store_time", lambda self: self._clock.time())
    patch.setattr(
        FeedEntry, "remembered_until", lambda self, longest, seq=0: remembered(self, longest)
    )


def decode_the_signature(patch: pytest.MonkeyPatch) -> None:
    """Compare what the signature decodes to, as a lenient reader would."""
    from flask_clustertoken.tokens import wire

    patch.setattr(wire, "compare_digest", lambda a, b: wire.unb64(a) == wire.unb64(b[:43]))


def one_salt(patch: pytest.MonkeyPatch) -> None:
    sign = Wire.sign

    def broken(self: Any, secret: bytes, kind: Any, value: str) -> str:
        realm, self._realm = self._realm, ""
        try:
            return sign(self, secret, "login", value)
        finally:
            self._realm = realm

    patch.setattr(Wire, "sign", broken)


def renew_what_is_gone(patch: pytest.MonkeyPatch) -> None:
    from tests.doubles import RemoteStore

    patch.setattr(RemoteStore, "touch", lambda self, key, end: self.put(key, b"{}", end) or True)


def believe_the_old_epoch(patch: pytest.MonkeyPatch) -> None:
    """Go by the epoch of the last contact, wherever the feed was read since."""
    meet = Reader.meet
    patch.setattr(Reader, "meet", lambda self, epoch: None if self.epoch else meet(self, epoch))


def in_a_replaced_store(cluster: Cluster) -> None:
    host = Cluster(remote=False)
    try:
        test_follower_history.test_a_replaced_store_is_not_taken_for_the_old_one(host, "cookie")
    finally:
        host.close()


def plain(test: Callable[[], None]) -> Test:
    return lambda cluster: test()


BITES: list[tuple[str, Patch, Test]] = [
    (
        "a lease from the end",
        lease_from_the_end,
        test_follower.test_the_lease_runs_from_the_start_of_the_contact,
    ),
    (
        "a second look with a new lease",
        compare_with_the_current_lease,
        test_authentication.test_the_lease_is_compared_last_with_the_end_taken_first,
    ),
    (
        "an unreadable entry is skipped",
        skip_what_is_unreadable,
        test_follower.test_an_unreadable_entry_makes_stale_and_is_not_skipped,
    ),
    (
        "an own entry moves the position",
        own_moves_the_position,
        test_follower.test_an_own_revocation_never_moves_the_position,
    ),
    (
        "a gap is overlooked",
        put(Reader, "has_gap", lambda self, after, batch, era: False),
        test_follower_history.test_a_rollback_under_newer_entries_is_noticed,
    ),
    (
        "a number tells the history",
        put(Reader, "place", lambda self: Place(self.view.applied)),
        test_follower_history.test_numbers_that_come_again_are_another_history,
    ),
    (
        "a number tells the history of the head",
        put(HeadIs, "check", by_the_number),
        lambda cluster: (
            test_restored_meanwhile.test_nothing_is_made_under_a_head_of_another_history(
                cluster,
                test_standing.make_an_api_token,
                lambda node: node.revoke_subject("alice"),
                1,
                "session",
            )
        ),
    ),
    (
        "whoever stands higher has read all",
        put(Reader, "reach_head", lambda self: self.store.head()),
        test_restored_meanwhile.test_a_strict_look_notices_that_the_store_went_back,
    ),
    (
        "whoever stands at the head's number has read all",
        put(Reader, "reach_head", up_to_the_number),
        lambda cluster: (
            test_restored_meanwhile.test_who_is_locked_out_is_not_let_in_under_a_number_that_came_again(
                cluster, 1, "cookie"
            )
        ),
    ),
    (
        "a restore is a mark and no more",
        restored_is_a_mark_only,
        test_follower_history.test_restored_makes_every_node_read_the_feed_anew,
    ),
    (
        "a gap forgets no answers",
        put(VerifiedTokens, "doubt", lambda self: None),
        test_follower.test_a_gap_forgets_remembered_answers,
    ),
    ("the old epoch is believed", believe_the_old_epoch, in_a_replaced_store),
    (
        "the shorter lifetime decides",
        forget_by_the_shorter,
        test_sweeper.test_an_entry_of_a_short_sighted_writer_stays,
    ),
    (
        "the view is not asked",
        put(View, "covers", lambda self, token, keys=None: False),
        test_authentication.test_an_answer_that_crossed_a_revocation_is_not_remembered,
    ),
    (
        "an issue does not look again",
        put(Writing, "refuse_ended", lambda *args, **kw: None),
        test_issuing.test_a_mark_while_the_record_is_written_wins,
    ),
    ("a renewal creates", renew_what_is_gone, test_renewal.test_renewal_never_creates),
    (
        "the clock is believed",
        put(Follower, "clock_steady", True),
        lambda cluster: test_follower.test_a_clock_that_jumps_makes_stale_until_it_agrees(
            cluster, 3600.0
        ),
    ),
    (
        "the writer's clock is believed",
        believe_the_writer,
        test_follower.test_a_wrong_clock_shortens_no_memory,
    ),
    (
        "the broom believes the clock",
        put(Sweeper, "over", lambda self: self._clock.time() - DAY),
        lambda cluster: test_sweeper.test_a_clock_that_wakes_a_month_ahead_deletes_nothing(
            cluster, "after"
        ),
    ),
    (
        "a signature is decoded first",
        decode_the_signature,
        plain(test_wire.test_a_signature_has_one_spelling),
    ),
    ("one salt for all", one_salt, plain(test_wire.test_kind_realm_and_token_store_are_signed)),
]


@pytest.mark.parametrize(("broken", "test"), [one[1:] for one in BITES], ids=[b[0] for b in BITES])
def test_a_broken_rule_fails_its_test(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, broken: Patch, test: Test
) -> None:
    """With the rule in place the test passes (elsewhere); without it, it fails."""
    broken(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(cluster)


def test_an_answer_by_the_number_is_noticed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number above the barrier's that is of what a backup lost."""
    from flask_clustertoken.cluster import confirmation

    monkeypatch.setattr(
        confirmation.Behind, "__contains__", lambda self, node: node.applied >= self._barrier
    )
    waiting = test_confirmation.Waiting(cluster)
    monkeypatch.setattr(confirmation, "threading", waiting)
    with pytest.raises(AssertionError):
        test_confirmation.test_a_number_of_another_history_is_no_answer(cluster, waiting)


def test_confirming_without_answers_is_noticed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence that counts as an answer at once fails the test of the silent node."""
    from flask_clustertoken.cluster import confirmation

    monkeypatch.setattr(Node, "certainly_over_after", 0.0)
    waiting = test_confirmation.Waiting(cluster)
    monkeypatch.setattr(confirmation, "threading", waiting)
    with pytest.raises(AssertionError):
        test_confirmation.test_a_silent_node_is_named_with_when_it_is_certain(cluster, waiting)
