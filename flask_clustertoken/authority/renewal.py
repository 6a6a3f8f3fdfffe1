"""Renewal: the expiry of a login moves on while it is used.

A renewal creates nothing: it moves an expiry on, if what it belongs to still lives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..clock import SKEW
from ..cluster import NodeRuntime
from ..events import TokenRenewed
from ..tokens import Refusal, Token, record_end, spare_of
from .authentication import Authentication
from .issued import IssuedToken
from .lifetimes import Lifetimes
from .reuse import AGAIN, Reuse
from .verified_cache import Verified


class Renewal:
    """Renews login tokens."""

    def __init__(
        self,
        runtime: NodeRuntime,
        authentication: Authentication,
        lifetimes: Lifetimes,
        reuse: Reuse,
    ) -> None:
        self._runtime = runtime
        self._authentication = authentication
        self._lifetimes = lifetimes
        self._reuse = reuse
        # At hand: it is asked on each request whether a renewal is due.
        self._clock = runtime.clock
        self._left_when_due = lifetimes.left_when_due

    def renewal_due(self, token: Token) -> bool:
        """Whether *token* is a login token whose expiry should move on now."""
        expires_at = token.expires_at
        if expires_at is None or token.kind != "login":
            return False
        if self._clock.time() <= expires_at - self._left_when_due:
            return False
        return self._lifetimes.renewed_until(token.began_at) > expires_at

    def renew(
        self, text: str, token: Token, *, came_at: float | None = None, request: Any = None
    ) -> IssuedToken | None:
        """*token* with a later expiry, or nothing. Creates nothing, revives nothing.

        The whole test is repeated first, and never passes on a stale view: a copy renewed in
        a race carries the same id and sequence, so the same revocation covers it.

        *came_at* is when *text* was looked at first (monotonic), which may be long ago: whoever
        downloads for an hour still holds the copy with which that began. *request* is whatever
        :attr:`.Reuse.agent_of` knows to ask.
        """
        runtime, authentication = self._runtime, self._authentication
        follower = runtime.follower()
        found = authentication.judge_once(text, "login", strict=False, request=AGAIN)
        if isinstance(found, Refusal) or not follower.fresh:
            return None
        if not self.renewal_due(found):
            return None
        if not follower.lifetime_announced():
            return None
        renewed = replace(
            found,
            expires_at=self._lifetimes.renewed_until(found.began_at),
            generation=self._lifetimes.generation(found, follower.clocks.store_time()),
        )
        generation = runtime.keys.generation
        seen = authentication.remembered.get(text, generation)
        if seen is not None and seen.succeeded:
            # (What remembers that one's end may be over before this copy is.)
            renewed = replace(renewed, succeeds="")
        record_ends = None
        if self._lifetimes.records_logins:
            record_ends = self._prolonged(renewed, seen)
            if record_ends is None:
                return None
        renewed = replace(renewed, key_id=runtime.keys.signing()[0])
        issued = IssuedToken(renewed, runtime.wire.write(renewed))
        copy = authentication.seen(renewed, generation)
        copy.record_ends = record_ends
        if seen is not None:
            _take_over(copy, seen)
        authentication.remembered.put(issued.text, copy)
        runtime.events.announce(TokenRenewed(renewed))
        if renewed.generation != found.generation:
            # (A copy of this very generation cannot be an older one.)
            self._reuse.asked(found, came_at, request)
        return issued

    def _prolonged(self, renewed: Token, seen: Verified | None) -> float | None:
        """When the record of *renewed* ends, prolonged if need be; ``None``: there is none."""
        ends = seen.record_ends if seen is not None else None
        if ends is not None and (renewed.expires_at or 0) + SKEW <= ends:
            return ends
        # Whether the record is still there the touch says, in one step.
        ends = record_end(renewed, self._spare(renewed, seen))
        return ends if self._runtime.store.touch(renewed.record_key, ends) else None

    def _spare(self, token: Token, seen: Verified | None) -> float:
        """The record's own spare: whoever of the realm lists it goes by that."""
        if seen is not None and seen.spare is not None:
            return seen.spare
        record, usual = self._runtime.store.get(token.record_key), self._lifetimes.spare
        return usual if record is None else spare_of(record.value, usual)


def _take_over(copy: Verified, seen: Verified) -> None:
    """The same record: what was known of it is known of the copy, and no longer."""
    copy.doubts, copy.spare = seen.doubts, seen.spare
    copy.proof, copy.proof_ends = seen.proof, seen.proof_ends
    copy.rest(seen.record_known_until)
