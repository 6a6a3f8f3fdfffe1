"""Issuing: tokens are made, and renewed while they are used.

An issue ends like a validation: a revocation that arrives while a token is being made wins.
A renewal creates nothing: it moves an expiry on, if what it belongs to still lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..clock import SKEW
from ..errors import (
    Conflict,
    HeadMoved,
    RevokedMeanwhile,
    StoreError,
    StoreUnavailable,
    TokenLimitReached,
)
from ..events import TokenIssued, TokenRenewed, TokenRevoked
from ..settings import Settings
from ..stores.base import Add, Change, Delete, HeadIs
from ..tokens import Refusal, Token, TokenKind, new_id, record_end, spare_of, to_record, validation
from .listing import Lister
from .standing import Standing
from .verified_cache import Seen

logger = logging.getLogger("flask_clustertoken")

#: Times that a token is written under the head before it is written first and looked at then.
TRIES = 3

#: Seconds within which logins of one subject count as simultaneous.
SAME_MOMENT = 5.0


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its text. The text is shown once; ``repr`` hides it."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.token!r}, text=<hidden>)"


class Issuer(Lister):
    """Makes and renews tokens."""

    def __init__(self, settings: Settings, **parts: Any) -> None:
        super().__init__(settings, **parts)
        #: A token with more than this left (seconds) is not renewed yet. Asked on each request.
        self._left_when_due = float("inf")
        if not settings.always_renew:
            self._left_when_due = settings.lifetime - settings.renew_after

    def begin(self) -> int:
        """The feed's number before credentials are checked: a later revocation wins."""
        self.follower()
        return self.store.head()

    def issue_login(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        since: int | None = None,
        persistent: bool = True,
        labels: Sequence[str] = (),
        authenticated_at: float | datetime | None = None,
        replaces: Token | None = None,
        carries_on: Token | None = None,
        on: Token | None = None,
        check: Callable[[IssuedToken], None] | None = None,
    ) -> IssuedToken:
        """A new login token; the one that it *replaces* ends in the same step.

        With *carries_on* it is no new login, but that token's under another id: its absolute
        lifetime goes on counting, or whoever stole one could keep it for ever.
        *on* is the token on whose strength this is asked for: it stands in the very step that
        issues, or nothing is issued.
        *authenticated_at* is seconds since 1970, or a datetime with its zone (:class:`ValueError`
        for one without). *check* may raise before anything is written (the text does not fit into
        a cookie).
        Raises :class:`RevokedMeanwhile` if a revocation appended after *since* covers it, or any
        covers *on*; :class:`TokenLimitReached`, or a :class:`StoreError`. Nothing was handed out
        then.
        """
        subject, labels = validation.subject(subject), validation.labels(labels)
        fixed = validation.claims(claims)
        if authenticated_at is not None:
            authenticated_at = validation.past(
                authenticated_at, "authenticated_at", self.clock.time()
            )
        if since is not None and (isinstance(since, bool) or not isinstance(since, int)):
            raise TypeError("since is what login_begins() returned")
        follower = self.follower()
        if since is None:
            since = self.begin()
        if not follower.clock_steady:
            # Its expiry would lie too late, and the token outlive its own revocation.
            raise StoreUnavailable("this node's clock differs from the store's")
        if not follower.lifetime_announced():
            raise StoreUnavailable("this node could not announce the lifetime of its tokens")
        now = int(self.clock.time())
        token = Token(
            id=new_id(subject),
            subject=subject,
            kind="login",
            issued_at=now,
            authenticated_at=now if authenticated_at is None else int(authenticated_at),
            expires_at=now,
            claims=fixed,
            labels=labels,
            since=since,
            epoch=self._known_epoch(),
            persistent=persistent,
            key_id=self.keys.signing()[0],
            made_at=self.clock.time(),
            first_issued_at=carries_on.began_at if carries_on is not None else None,
        )
        token = replace(token, expires_at=self._renewed_until(token))
        generation = self.keys.generation
        issued = IssuedToken(token, self.wire.write(token))
        if check is not None:
            check(issued)
        recorded = self.settings.token_store == "session"
        self._write(lambda _: issued, self._usual_spare, recorded, on, replaces)
        if recorded and self.settings.token_limit is not None:
            try:
                self._enforce_limit(token)
            except StoreError:
                # It was not handed out, so it must not count next time.
                self._withdraw_record(token)
                raise
        self._handed_out(issued, recorded, generation)
        return issued

    def issue_api_token(
        self,
        subject: str,
        name: str,
        scopes: Sequence[str] = (),
        lifetime: float | None = None,
        created_by: str = "",
        on: Token | None = None,
    ) -> IssuedToken:
        """A new API token; it never expires unless *lifetime* (seconds) is given.

        *on* is the token on whose strength it is asked for: that one stands in the very step
        that issues, or :class:`RevokedMeanwhile` is raised.
        """
        subject, name, scopes = (
            validation.subject(subject),
            validation.name(name),
            validation.scopes(scopes),
        )
        if lifetime is not None and validation.seconds(lifetime, "lifetime") < 1:
            raise ValueError("lifetime is a second at least; leave it out for a token without end")
        follower = self.follower()
        if lifetime is not None and not follower.clock_steady:
            raise StoreUnavailable("this node's clock differs from the store's")
        now = int(self.clock.time())
        token = Token(
            id=new_id(subject),
            subject=subject,
            kind="api",
            issued_at=now,
            authenticated_at=now,
            expires_at=None if lifetime is None else now + int(lifetime),
            scopes=scopes,
            name=name,
            created_by=created_by or subject,
            epoch=self._known_epoch(),
            key_id=self.keys.signing()[0],
        )
        generation = self.keys.generation

        def make(number: int) -> IssuedToken:
            # No credentials are checked here: the number is that of the step itself.
            numbered = replace(token, since=number)
            return IssuedToken(numbered, self.wire.write(numbered))

        issued = self._write(make, 0.0, True, on)
        self._handed_out(issued, True, generation)
        return issued

    def _known_epoch(self) -> str:
        if not self._epoch:
            # A token of no epoch would be refused everywhere, for ever.
            raise StoreUnavailable("this node had no contact with the store yet")
        return self._epoch

    def _write(
        self,
        make: Callable[[int], IssuedToken],
        spare: float,
        recorded: bool,
        on: Token | None,
        replaces: Token | None = None,
    ) -> IssuedToken:
        """Issue what *make* makes at a number of the feed, where neither it nor *on* is ended.

        What is written is written on condition that the feed's head is the number at which
        both were judged. If others append all the time, it is written first and then looked at:
        its text has not left yet, and it can be withdrawn.
        """
        standing = Standing(self, on)
        since = make(0).token.since
        number = standing.first_number(since)
        issued = make(number)
        if number < since or self.follower().view.covers(issued.token):
            # By a mark that this node set itself, perhaps: known before its place is reached.
            number = standing.look(since)
            issued = make(number)
        for _ in range(TRIES if recorded or replaces is not None else 0):
            self._refuse_ended(issued.token, standing)
            try:
                self._add(issued.token, spare, recorded, replaces, standing, [HeadIs(number)])
                return issued
            except HeadMoved:
                number = standing.look(since)
                issued = make(number)
        self._add(issued.token, spare, recorded, None, standing)
        self._still_wanted(issued.token, since, standing, recorded)
        if replaces is not None:
            # Not in one step with the record: the look behind it would find who asked ended.
            try:
                self.end(replaces)
            except StoreError:
                self._withdraw_record(issued.token)
                raise
        return issued

    def _refuse_ended(self, token: Token, standing: Standing) -> None:
        standing.refuse_ended()
        standing.refuse_locked(token)
        if self.follower().view.covers(token):
            raise RevokedMeanwhile("a revocation arrived while this token was being made")

    def _add(
        self,
        token: Token,
        spare: float,
        recorded: bool,
        replaces: Token | None,
        standing: Standing,
        conditions: Sequence[Change] = (),
    ) -> None:
        """In one step: the record of *token*, if it is to have one, and the end of *replaces*."""
        changes = [*conditions, *standing.needed()]
        if recorded:
            changes.append(Add(token.record_key, to_record(token, spare), record_end(token, spare)))
        try:
            if replaces is not None:
                notice = self._ids_notice([replaces.id], recorded=recorded)
                if recorded:
                    changes.append(Delete(replaces.record_key))
                seq = self._append(notice, changes)
                self.events.announce(TokenRevoked(seq, notice))
            elif changes:
                self.store.append([], changes)
        except HeadMoved:
            raise
        except Conflict as error:
            if error.key == token.record_key:
                raise StoreUnavailable("the store already has a token of this random id") from error
            raise standing.ended() from error

    def _still_wanted(self, token: Token, since: int, standing: Standing, recorded: bool) -> None:
        """The end of an issue is a validation: after the record is acknowledged, look again."""
        try:
            standing.look(since)
            self._refuse_ended(token, standing)
        except (StoreError, RevokedMeanwhile, ValueError):
            if recorded:
                self._withdraw_record(token)
            raise

    def _withdraw_record(self, token: Token) -> None:
        try:
            self.store.delete(token.record_key)
        except StoreError:
            # Its text is never handed out, so the record is only litter.
            logger.info("the record of a token that was not handed out stays until it expires")

    def _handed_out(self, issued: IssuedToken, recorded: bool, keys_generation: int) -> None:
        seen = Seen(
            issued.token,
            recorded=recorded,
            ends_at=self._ends_at(issued.token),
            keys_generation=keys_generation,
        )
        self.remembered.put(issued.text, seen)
        self.events.announce(TokenIssued(issued.token))

    def _enforce_limit(self, token: Token) -> None:
        """Whoever scans after its own add sees all others that may have been added before."""
        limit = self.settings.token_limit or 0
        alive = [one for one in self.tokens_of(token.subject) if one.kind == "login"]
        if len(alive) <= limit:
            return
        if self.settings.when_limit == "refuse":
            self._withdraw_record(token)
            raise TokenLimitReached(f"this subject already has {limit} login tokens")
        doomed = _oldest(alive, token, len(alive) - limit)
        self.revoke_ids([one.id for one in doomed])
        if any(one.id == token.id for one in doomed):
            raise TokenLimitReached("other logins of the same moment took all the places")

    # -- renew -------------------------------------------------------------------------

    def renewal_due(self, token: Token) -> bool:
        """Whether *token* is a login token whose expiry should move on now."""
        expires_at = token.expires_at
        if expires_at is None or token.kind != "login":
            return False
        if self.clock.time() <= expires_at - self._left_when_due:
            return False
        return self._renewed_until(token) > expires_at

    def _renewed_until(self, token: Token) -> int:
        until = int(self.clock.time()) + self.settings.lifetime
        absolute = self.settings.absolute_lifetime
        return until if absolute is None else min(until, token.began_at + absolute)

    def renew(self, text: str, token: Token) -> IssuedToken | None:
        """*token* with a later expiry, or nothing. Creates nothing, revives nothing.

        The whole test is repeated first, and never passes on a stale view: a copy renewed in
        a race carries the same id and sequence, so the same revocation covers it.
        """
        follower = self.follower()
        found = self.judge_once(text, "login", strict=False)
        if isinstance(found, Refusal) or not follower.fresh:
            return None
        if not self.renewal_due(found):
            return None
        if not follower.lifetime_announced():
            return None
        renewed = replace(found, expires_at=self._renewed_until(found))
        recorded = self.settings.token_store == "session"
        generation = self.keys.generation
        seen = self.remembered.get(text, generation)
        record_ends = seen.record_ends if seen is not None else None
        if recorded and (record_ends is None or (renewed.expires_at or 0) + SKEW > record_ends):
            # By the record's own spare: whoever of the realm lists it goes by that. (Whether the
            # record is still there the touch says, in one step.)
            record = self.store.get(renewed.record_key)
            spare = self._usual_spare
            if record is not None:
                spare = spare_of(record.value, spare)
            record_ends = record_end(renewed, spare)
            if not self.store.touch(renewed.record_key, record_ends):
                return None
        renewed = replace(renewed, key_id=self.keys.signing()[0])
        issued = IssuedToken(renewed, self.wire.write(renewed))
        copy = Seen(
            renewed,
            recorded=recorded,
            ends_at=self._ends_at(renewed),
            keys_generation=generation,
        )
        copy.record_ends = record_ends
        if seen is not None:
            # The same record: what was known of it is known of the copy, and no longer.
            copy.known_until, copy.doubts = seen.known_until, seen.doubts
        self.remembered.put(issued.text, copy)
        self.events.announce(TokenRenewed(renewed))
        return issued


def _oldest(alive: list[Token], mine: Token, count: int) -> list[Token]:
    """The *count* tokens to end for *mine*, which counts as the newest.

    Only among logins of the same few seconds, each of which may be doing the same at the
    moment, the order is one that all of them find: or they would end each other.
    """

    def place(one: Token) -> tuple[bool, float, str]:
        return (abs(one.made_at - mine.made_at) < SAME_MOMENT, one.made_at, one.id)

    return sorted(alive, key=place)[:count]


def acting_token(
    subject: str, claims: Mapping[str, Any], kind: TokenKind, scopes: Sequence[str]
) -> Token:
    """A token that no store knows and no text spells: for tests of views."""
    return Token(
        id=new_id(validation.subject(subject)),
        subject=subject,
        kind=kind,
        issued_at=0,
        authenticated_at=0,
        expires_at=None,
        claims=validation.claims(claims),
        scopes=validation.scopes(scopes),
    )
