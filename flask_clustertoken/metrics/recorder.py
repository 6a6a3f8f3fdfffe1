"""Recorder: hears what happens in one process, and counts it."""

from __future__ import annotations

import logging
import math
import weakref
from typing import TYPE_CHECKING

from .. import forks
from ..authority import Tally, TokenAuthority
from ..events import (
    NodeFresh,
    NodeLeaving,
    NodeStale,
    RevocationApplied,
    RevocationConfirmed,
    Swept,
    TokenIssued,
    TokenRefused,
    TokenRenewed,
    TokenRevoked,
)
from ..stores import Outcome, observe

if TYPE_CHECKING:
    from .series import Series

logger = logging.getLogger("flask_clustertoken")

_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _begin_in_child() -> None:
    for recorder in list(_recorders):
        recorder.begin()


forks.in_child("adapters", _begin_in_child)


class Recorder:
    """Counts for one authority. What each request does is counted there, and taken over here."""

    def __init__(self, authority: TokenAuthority, series: Series) -> None:
        self._authority = authority
        self._series = series
        self._realm = authority.settings.realm
        self._taken: dict[Tally, int] = {}
        self._begun = False
        authentication = authority.authentication
        self._tallies = {
            (kind, result): tally
            for result, tallies in (
                ("accepted", authentication.accepted),
                ("refused", authentication.not_accepted),
            )
            for kind, tally in tallies.items()
        }
        self.begin()
        _recorders.add(self)
        self._listen()
        observe(authority.store, self._called)
        authority.runtime.after_step.append(self.note)

    def begin(self) -> None:
        """In a fork's child: what the parent counted is the parent's to tell."""
        self._taken = {tally: tally.total for tally in self._tallies.values()}

    def note(self) -> None:
        """Write down what this process has counted, and how it stands. Never raises."""
        try:
            self._take_over()
        except Exception:
            # (The folder was removed, or its disk is full.)
            logger.exception("what was counted could not be written down")

    def _take_over(self) -> None:
        realm, series = self._realm, self._series
        if not self._begun:
            # (What has not happened yet is told as none: no query has a gap for it.)
            self._begun = True
            series.begin(realm)
        for (kind, result), tally in self._tallies.items():
            total = tally.total
            more, self._taken[tally] = total - self._taken[tally], total
            series.count("authentications", realm, kind, result, more=more)
        follower = self._authority.following
        if follower is None:
            return
        staleness = follower.staleness
        now = self._authority.clock.monotonic()
        confirmed = -math.inf if staleness is None else now - staleness
        for name, value in (
            ("confirmed_at", confirmed),
            ("lease_end", follower.lease_end),
            ("view_entries", len(follower.view)),
        ):
            series.noted[name].labels(realm).set(value)

    def _called(self, call: str, seconds: float, outcome: Outcome) -> None:
        try:
            self._series.calls.labels(self._realm, call, outcome).observe(seconds)
        except Exception:
            logger.exception("a call to the store could not be counted")

    def _listen(self) -> None:
        events = self._authority.events
        count, realm = self._series.count, self._realm
        events.listen(TokenIssued, lambda one: count("tokens_issued", realm, one.token.kind))
        events.listen(TokenRenewed, lambda _: count("renewals", realm))
        events.listen(TokenRefused, lambda one: count("refusals", realm, one.refusal.reason))
        events.listen(TokenRevoked, lambda one: count("revocations", realm, one.notice.kind))
        events.listen(RevocationApplied, self._applied)
        events.listen(RevocationConfirmed, self._confirmed)
        events.listen(Swept, lambda one: count("swept", realm, one.what, more=one.count))
        events.listen(NodeFresh, lambda _: self._became("fresh"))
        events.listen(NodeStale, lambda _: self._became("stale"))
        events.listen(NodeLeaving, lambda _: self.note())

    def _applied(self, event: RevocationApplied) -> None:
        self._series.count("revocations_applied", self._realm, event.notice.kind)
        if self._authority.store.embedded:
            # (Across hosts no two clocks agree: there it is the barrier that tells.)
            lag = max(0.0, self._authority.clock.time() - event.notice.at)
            self._series.lag.labels(self._realm, "clock").observe(lag)

    def _confirmed(self, event: RevocationConfirmed) -> None:
        self._series.lag.labels(self._realm, "barrier").observe(event.elapsed)

    def _became(self, state: str) -> None:
        self._series.count("freshness_changes", self._realm, state)
        self.note()
