"""Issuing: tokens are made. What is made is written by :mod:`.writing`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..clock import SKEW
from ..cluster import NodeRuntime, TokenReaders
from ..errors import (
    AlreadyBound,
    Conflict,
    StoreError,
    StoreUnavailable,
    TokenLimitReached,
)
from ..events import TokenBound, TokenIssued
from ..stores.base import Add
from ..tokens import Token, new_id, validation
from .authentication import Authentication
from .issued import IssuedToken
from .lifetimes import Lifetimes
from .listing import Listing
from .proving import CHALLENGE_LIFE
from .revoking import Revoking, registration_key
from .writing import Writing

#: Seconds within which logins of one subject count as simultaneous.
SAME_MOMENT = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """The login that is asked for, checked as far as it can be without the store."""

    subject: str
    claims: Mapping[str, Any]
    labels: tuple[str, ...]
    persistent: bool
    authenticated_at: float | None
    first_issued_at: int | None
    bound_key: str = ""
    device: str = ""
    network: str = ""


class Issuing:
    """Makes tokens."""

    def __init__(
        self,
        runtime: NodeRuntime,
        writing: Writing,
        authentication: Authentication,
        revoking: Revoking,
        listing: Listing,
        lifetimes: Lifetimes,
    ) -> None:
        self._runtime = runtime
        self._writing = writing
        self._authentication = authentication
        self._revoking = revoking
        self._listing = listing
        self._lifetimes = lifetimes
        self._readers = TokenReaders(runtime.clock)

    def begin(self) -> int:
        """The feed's number before credentials are checked: a later revocation wins."""
        self._runtime.follower()
        return self._runtime.store.head()

    def issue_login(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        since: int | None = None,
        persistent: bool = True,
        labels: Sequence[str] = (),
        authenticated_at: float | datetime | None = None,
        device: str = "",
        network: str = "",
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
        for one without). *device* and *network* are kept with its record, for lists. *check* may
        raise before anything is written (the text does not fit into a cookie).
        Raises :class:`RevokedMeanwhile` if a revocation appended after *since* covers it, or any
        covers *on*; :class:`TokenLimitReached`, or a :class:`StoreError`. Nothing was handed out
        then.
        """
        wish = Wish(
            subject=validation.subject(subject),
            labels=validation.labels(labels),
            claims=validation.claims(claims),
            persistent=persistent,
            authenticated_at=self._past(authenticated_at),
            first_issued_at=carries_on.began_at if carries_on is not None else None,
            bound_key=carries_on.bound_key if carries_on is not None else "",
            device=validation.device(device),
            network=network,
        )
        if since is not None and (isinstance(since, bool) or not isinstance(since, int)):
            raise TypeError("since is what login_begins() returned")
        if since is None:
            since = self.begin()
        self._refuse_unsteady(announced=True)
        token = self._login(wish, since)
        generation = self._runtime.keys.generation
        issued = IssuedToken(token, self._runtime.wire.write(token))
        if check is not None:
            check(issued)
        self._writing.write(lambda _: issued, since, self._lifetimes.spare, on, replaces)
        self._keep_to_limit(token)
        self._hand_out(issued, generation, TokenIssued(issued.token, carries_on or replaces))
        return issued

    def bind(
        self, login: Token, key: str, check: Callable[[IssuedToken], None] | None = None
    ) -> IssuedToken:
        """The unbound *login* under a new id, bound to *key*; *login* ends with its first use.

        No new login: what covers the one covers the other, and its times are kept. *check* as in
        :meth:`issue_login`. Of all that ask for one login, one is answered, on whichever node:
        :class:`~flask_clustertoken.errors.AlreadyBound` else. A second registration would need a
        challenge, and those are given with a login and good for a minute; so the note that there
        was a first is kept for not much longer. (The limit of logins is not asked for: this is
        one, and while both live, nobody is to be thrown out for it.)
        Raises :class:`RevokedMeanwhile` where *login* is ended, and
        :class:`~flask_clustertoken.errors.NodesTooOld` while a node knows no bound tokens.
        """
        if login.bound_key:
            raise AlreadyBound("this login is bound already")
        runtime = self._runtime
        self._refuse_unsteady(announced=True)
        self._readers.require(runtime.store)
        made_at = runtime.clock.time()
        token = replace(
            login,
            id=new_id(login.subject),
            first_issued_at=login.began_at,
            bound_key=key,
            succeeds=login.id,
            made_at=made_at,
            key_id=runtime.keys.signing()[0],
            expires_at=self._lifetimes.renewed_until(login.began_at),
        )
        generation = runtime.keys.generation
        issued = IssuedToken(token, runtime.wire.write(token))
        if check is not None:
            check(issued)
        # (Whoever ends *login* reads there what took its place.)
        note = token.id.encode()
        once = Add(registration_key(login.id), note, made_at + CHALLENGE_LIFE + 2 * SKEW)
        try:
            self._writing.write(
                lambda _: issued, token.since, self._lifetimes.spare, login, once=once
            )
        except Conflict as error:
            raise AlreadyBound("another registration of this login was first") from error
        self._hand_out(issued, generation, TokenBound(token, login.id))
        return issued

    def _past(self, when: float | datetime | None) -> float | None:
        if when is None:
            return None
        return validation.past(when, "authenticated_at", self._runtime.clock.time())

    def _refuse_unsteady(self, *, announced: bool) -> None:
        """Make nothing that ends where this node may be wrong about when that is."""
        follower = self._runtime.follower()
        if not follower.clock_steady:
            # Its expiry would lie too late, and the token outlive its own revocation.
            raise StoreUnavailable("this node's clock differs from the store's")
        if announced and not follower.lifetime_announced():
            raise StoreUnavailable("this node could not announce the lifetime of its tokens")

    def _login(self, wish: Wish, since: int) -> Token:
        runtime = self._runtime
        made_at = runtime.clock.time()
        now, authenticated_at = int(made_at), wish.authenticated_at
        began_at = now if wish.first_issued_at is None else wish.first_issued_at
        return Token(
            id=new_id(wish.subject),
            subject=wish.subject,
            kind="login",
            issued_at=now,
            authenticated_at=now if authenticated_at is None else int(authenticated_at),
            expires_at=self._lifetimes.renewed_until(began_at),
            claims=wish.claims,
            labels=wish.labels,
            since=since,
            epoch=self._known_epoch(),
            persistent=wish.persistent,
            key_id=runtime.keys.signing()[0],
            made_at=made_at,
            first_issued_at=wish.first_issued_at,
            bound_key=wish.bound_key,
            device=wish.device,
            network=wish.network,
            generation=0 if self._lifetimes.records_logins else None,
        )

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
            raise validation.WrongArgument(
                "lifetime is a second at least; leave it out for a token without end"
            )
        runtime = self._runtime
        runtime.follower()
        if lifetime is not None:
            self._refuse_unsteady(announced=False)
        now = int(runtime.clock.time())
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
            key_id=runtime.keys.signing()[0],
        )
        generation = runtime.keys.generation

        def make(number: int) -> IssuedToken:
            # No credentials are checked here: the number is that of the step itself.
            numbered = replace(token, since=number)
            return IssuedToken(numbered, runtime.wire.write(numbered))

        issued = self._writing.write(make, 0, 0.0, on)
        self._hand_out(issued, generation, TokenIssued(issued.token))
        return issued

    def _known_epoch(self) -> str:
        if not self._runtime.epoch:
            # A token of no epoch would be refused everywhere, for ever.
            raise StoreUnavailable("this node had no contact with the store yet")
        return self._runtime.epoch

    def _hand_out(self, issued: IssuedToken, keys_generation: int, event: object) -> None:
        seen = self._authentication.seen(issued.token, keys_generation)
        seen.spare = self._lifetimes.spare
        self._authentication.remembered.put(issued.text, seen)
        self._runtime.events.announce(event)

    def _keep_to_limit(self, token: Token) -> None:
        """End the oldest logins beyond ``TOKEN_LIMIT``, or refuse *token*.

        Raises :class:`TokenLimitReached`, or a :class:`StoreError`; *token* is withdrawn then.
        """
        limit = self._runtime.settings.token_limit
        if limit is None or not self._lifetimes.records_logins:
            return
        try:
            self._enforce(limit, token)
        except StoreError:
            # It was not handed out, so it must not count next time.
            self._writing.withdraw(token)
            raise

    def _enforce(self, limit: int, token: Token) -> None:
        """Whoever scans after its own add sees all others that may have been added before."""
        alive = [one for one in self._listing.tokens_of(token.subject) if one.kind == "login"]
        if len(alive) <= limit:
            return
        if self._runtime.settings.when_limit == "refuse":
            self._writing.withdraw(token)
            raise TokenLimitReached(f"this subject already has {limit} login tokens")
        doomed = _oldest(alive, token, len(alive) - limit)
        self._revoking.revoke_ids([one.id for one in doomed])
        if any(one.id == token.id for one in doomed):
            raise TokenLimitReached("other logins of the same moment took all the places")


def _oldest(alive: list[Token], mine: Token, count: int) -> list[Token]:
    """The *count* tokens to end for *mine*, which counts as the newest.

    Only among logins of the same few seconds, each of which may be doing the same at the
    moment, the order is one that all of them find: or they would end each other.
    """

    def place(one: Token) -> tuple[bool, float, str]:
        return (abs(one.made_at - mine.made_at) < SAME_MOMENT, one.made_at, one.id)

    return sorted(alive, key=place)[:count]
