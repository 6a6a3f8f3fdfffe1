"""Broken on purpose: what the checker must notice. Each breaks a worker's authority."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cluster import Confirmation, confirmation
from flask_clustertoken.errors import StoreError
from flask_clustertoken.revocations import Follower, entry


def ignore_the_lease(authority: TokenAuthority) -> None:
    """Accept whatever was known, however long ago."""

    def never_over(follower: Follower) -> None:
        type(follower).lease_end = property(lambda self: float("inf"), lambda self, end: None)  # type: ignore[assignment]

    never_over(authority.follower())


def trust_a_reconnect(authority: TokenAuthority) -> None:
    """Call the view current after a contact, without reading what was missed."""

    def follow() -> bool:
        self = authority.follower().reader
        with self.view.lock:
            self.view.applied = max(self.view.applied, self.store.head())
        return True

    authority.follower().follow = authority.follower().reader.follow = follow  # type: ignore[method-assign]


def confirm_without_answers(authority: TokenAuthority) -> None:
    """Say "everywhere" as soon as the barrier was written."""

    def hasty(publisher: Any, seq: int, timeout: float, progress: Any = None) -> Confirmation:
        return Confirmation(seq, 0.0)

    confirmation.confirm = hasty


def accept_without_an_entry(authority: TokenAuthority) -> None:
    """Stay fresh by reading alone: whoever lists the nodes does not see this one."""

    def step(self: Follower) -> float:
        start = self._clock.monotonic()
        try:
            self.store.withdraw(self.node_id)
            self.follow()
        except StoreError:
            return 0.5
        self._confirmed_at = start
        self.lease_end = start + self._max_staleness
        return 0.5

    authority.follower()
    Follower._step = step  # type: ignore[method-assign]


def be_the_version_before(authority: TokenAuthority) -> None:
    """No mutation: a node of a version that reads form 1 of entries alone, and no locks."""
    entry.FORMAT = 1
    entry.KINDS -= entry.OF_FORM_2  # type: ignore[misc]


MUTATIONS: dict[str, Callable[[TokenAuthority], None]] = {
    "ignore-the-lease": ignore_the_lease,
    "trust-a-reconnect": trust_a_reconnect,
    "confirm-without-answers": confirm_without_answers,
    "accept-without-an-entry": accept_without_an_entry,
    "version-before": be_the_version_before,
}
