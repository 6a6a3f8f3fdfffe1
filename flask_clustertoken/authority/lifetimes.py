"""Lifetimes: until when a token lives, until when its record does, and which tokens have one."""

from __future__ import annotations

from ..clock import SKEW, Clock
from ..settings import Settings
from ..tokens import Pace, Token


class Lifetimes:
    """What the settings say of a token's time, by this node's wall clock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        #: Seconds by which a renewal moves the expiry of a login on.
        self.lifetime = settings.lifetime
        self._absolute = settings.absolute_lifetime
        #: Whether logins have a record at all; API tokens always have.
        self.records_logins = settings.token_store == "session"
        #: Seconds that the records of our own logins have for renewals that write nothing.
        self.spare = settings.renew_after / 4
        self._pace = Pace.of(
            renew_after=settings.renew_after,
            always=settings.always_renew,
            grace=settings.reuse_grace,
        )
        #: A login token with more than this left (seconds) is not renewed yet.
        self.left_when_due = float("inf")
        if not settings.always_renew:
            self.left_when_due = settings.lifetime - settings.renew_after

    def renewed_until(self, began_at: int) -> int:
        """The expiry of a token of the login that *began_at* then, were it made or renewed now
        (seconds since 1970)."""
        until = int(self._clock.time()) + self.lifetime
        return until if self._absolute is None else min(until, began_at + self._absolute)

    def generation(self, token: Token, now: float) -> int | None:
        """Of a copy of *token* made *now*, by the store's clock; never before that of *token*.

        ``None`` where there is no record beside which its use is noted.
        """
        if not self.records_logins:
            return None
        return max(token.generation or 0, self._pace.generation(now - token.issued_at))

    def ends_at(self, token: Token) -> float:
        """When *token* is over by our clock: its expiry, or the end of all renewals."""
        if token.expires_at is None:
            return float("inf")
        end = float(token.expires_at)
        if token.kind == "login" and self._absolute is not None:
            end = min(end, token.began_at + self._absolute)
        return end + SKEW

    def keeps_record(self, token: Token) -> bool:
        """Whether *token*, if it stands, has a record in the store: not one that others made."""
        return (token.kind == "api" or self.records_logins) and token.epoch != ""
