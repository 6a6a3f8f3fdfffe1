"""Refresher: the provider's tokens are refreshed by one at a time over the cluster.

Each change is a new *number*: whoever finds a higher one than its own takes it instead of
refreshing again (with rotation an old refresh token ends the session).

What is handed out stands on the login that asks for it. Tokens from the store are handed out
behind a look at the feed, new ones by the step that writes them: while the lease and the login's
record are there, and at the very head at which the view does not cover the login.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ...authority import TokenAuthority
from ...backoff import Backoff
from ...errors import Conflict, HeadMoved, StoreError
from ...oidc import NotGenuine
from ...revocations import Place
from ...stores import Lease
from ...stores.base import Change, HeadIs, Put, Require
from ...tokens import Token
from ..errors import KeycloakUnavailable, NoProviderTokens, SessionEnded
from ..options import KeycloakOptions
from ..protocol import Provider
from . import labels
from .labels import Keys
from .token_store import ProviderTokens, ProviderTokenStore

#: Seconds of a lease at least: who died with one holds up the others so long.
REFRESH_LEASE = 30.0
#: Seconds that a request waits for a refresh that another one is just doing.
REFRESH_PATIENCE = 10.0
#: Seconds between two looks while waiting: at first, and at most.
FIRST_LOOK, LAST_LOOK = 0.03, 0.5
#: Seconds that an access token must still live to be handed out.
REFRESH_MARGIN = 5.0
#: Times that new tokens are written under the head; each but the first behind a look at the feed.
WRITE_TRIES = 8


@dataclass(frozen=True, slots=True)
class _Wish:
    """Tokens that somebody wants, as :meth:`TokenRefresher.refresh` was asked for them."""

    provider: Provider
    token: Token
    label: str
    cookie: ProviderTokens | None
    least: float
    forced: bool
    voluntary: bool


class TokenRefresher:
    """Gives the provider's tokens of any login, refreshed where they are over."""

    def __init__(
        self,
        authority: TokenAuthority,
        options: KeycloakOptions,
        keys: Keys,
        tokens: ProviderTokenStore,
    ) -> None:
        self._authority = authority
        self._options = options
        self._keys = keys
        self._tokens = tokens

    def refresh(
        self,
        provider: Provider,
        token: Token,
        label: str,
        cookie: ProviderTokens | None,
        *,
        least: float = REFRESH_MARGIN,
        forced: bool = False,
        voluntary: bool = False,
    ) -> ProviderTokens:
        """Tokens that live at least *least* seconds more; *forced*: newer ones in any case.

        *voluntary*: nobody waits for them. While Keycloak is silent, nothing of that kind is
        tried, and whoever has a token that is still good goes on with it.
        *cookie*: what the browser carries; ``None`` where the store keeps them. Raises
        :class:`NoProviderTokens` (also where the login *token* was ended meanwhile),
        :class:`SessionEnded`, :class:`KeycloakRefused`, :class:`KeycloakUnavailable` or a
        :class:`~flask_clustertoken.errors.StoreError`.
        """
        wish = _Wish(provider, token, label, cookie, least, forced, voluntary)
        store, clock = self._authority.store, self._authority.clock
        lock, patience = self._keys.refreshing(label), clock.monotonic() + REFRESH_PATIENCE
        first: ProviderTokens | None = None
        pauses, busy = Backoff(FIRST_LOOK, LAST_LOOK), False
        while True:
            found = store.get_many((self._keys.tokens(label), *((lock,) if busy else ())))
            current = self._latest(wish, self._tokens.opened(label, found))
            if current is None:
                raise NoProviderTokens("no token of Keycloak is kept for this login")
            first = first or cookie or current
            if self._good(wish, current, first):
                return self._handed_out(wish, current)
            if provider.silent:
                if self._left(current) > REFRESH_MARGIN:
                    return self._handed_out(wish, current)
                if voluntary:
                    raise KeycloakUnavailable("Keycloak did not answer a moment ago")
            if not busy or lock not in found:
                lease = Lease(store, lock, margin=0.0, clock=clock)
                if lease.take(self.lease_lasts()):
                    try:
                        return self._refresh_alone(wish, first, lease)
                    finally:
                        lease.give()
            if clock.monotonic() >= patience:
                raise KeycloakUnavailable("another request's refresh takes too long")
            # Many may wait: less and less often, and not all at once.
            busy = True
            threading.Event().wait(pauses.next())

    def lease_lasts(self) -> float:
        """Seconds, longer than whatever is done within a lease: discovery, refresh, keys, store.

        (By the wall clocks of the nodes, which should agree to some seconds for that.)
        """
        options = self._options
        answers = 3 * (options.connect_timeout + options.read_timeout)
        return max(REFRESH_LEASE, answers + 4 * self._authority.store.timeout)

    def _good(self, wish: _Wish, current: ProviderTokens, first: ProviderTokens) -> bool:
        left = self._left(current)
        if current.number > first.number and current.access_token != first.access_token:
            # Somebody refreshed since we looked first: newer it does not get. (With the same
            # access token it is a refresh that still waits for the key of the new one.)
            return left > 0
        return not wish.forced and left > max(wish.least, REFRESH_MARGIN)

    def _left(self, tokens: ProviderTokens) -> float:
        return tokens.access_ends - self._authority.clock.time()

    def _latest(self, wish: _Wish, stored: ProviderTokens | None) -> ProviderTokens | None:
        if wish.cookie is None or (stored is not None and stored.number > wish.cookie.number):
            return stored
        return wish.cookie

    def _refresh_alone(self, wish: _Wish, first: ProviderTokens, lease: Lease) -> ProviderTokens:
        # Whoever had the lease before us may have been done between our look and our lease.
        current = self._latest(wish, self._tokens.read(wish.label))
        if current is not None and self._good(wish, current, first):
            return self._handed_out(wish, current)
        self._look(wish)
        if current is None or not current.refresh_token:
            raise NoProviderTokens("Keycloak gave no refresh token for this login")
        provider = wish.provider
        fields = self._session_fields(wish.token.labels)
        try:
            answer = provider.refresh(current.refresh_token, session=fields)
        except SessionEnded:
            newer = self._latest(wish, self._tokens.read(wish.label))
            if newer is not None and newer.number > current.number:
                return self._handed_out(wish, newer)
            raise
        before, kept = current, wish.cookie is None
        if not provider.keys.at_hand(answer.access_token):
            # To fetch its key may take long, or fail, and the old refresh token is used up. With
            # the old access token, since roles are read from what was verified.
            before = current.with_refresh_token(answer.refresh_token)
            self._write(wish, lease, before, brief=False)
        try:
            provider.keys.verify(answer.access_token, urgent=True)
        except NotGenuine as error:
            raise KeycloakUnavailable("Keycloak answered with a token not its own") from error
        tokens = ProviderTokens.of(answer, self._authority.clock.time(), before)
        self._write(wish, lease, tokens, brief=not kept)
        return tokens

    def _session_fields(self, of: tuple[str, ...]) -> Mapping[str, str]:
        """What tells Keycloak how to reach this login: sent at login and at each refresh."""
        state = labels.session_state(of)
        if state is None:
            return {}
        return {"client_session_state": state, "client_session_host": self._options.node_host}

    # -- the login that they stand on ----------------------------------------------------

    def _handed_out(self, wish: _Wish, tokens: ProviderTokens) -> ProviderTokens:
        """*tokens* that are there already, while the login stands.

        A request may be on its way for as long as its sender likes, and most revocations take no
        tokens away. Whoever waited may also have found what is just being taken back.
        """
        self._look(wish)
        return tokens

    def _look(self, wish: _Wish) -> Place:
        """The head, up to which the feed was read: no revocation up to it covers the login.

        Raises :class:`StoreUnavailable` where this node cannot catch up, and what
        :meth:`_refuse_ended` raises.
        """
        place = self._authority.verdict.catch_up()
        self._refuse_ended(wish)
        return place

    def _refuse_ended(self, wish: _Wish) -> None:
        """:class:`NoProviderTokens` where the view, as it stands, covers the login; then nothing
        of it stays here."""
        if self._authority.verdict.ended(wish.token) is not None:
            self._tokens.drop(wish.label)
            raise NoProviderTokens("the login has ended meanwhile")

    def _write(self, wish: _Wish, lease: Lease, tokens: ProviderTokens, *, brief: bool) -> None:
        """Keep *tokens* for the login, in one step with the conditions under which it stands."""
        put = self._tokens.put(wish.label, tokens, brief=brief)
        try:
            if self._written_at_the_head(wish, lease, put):
                return
            # What was used up at Keycloak to get them cannot be used again: without these the
            # session there would be lost. So where this node cannot catch up, or others revoke
            # faster than it writes, they are kept under the lease and the record alone; and
            # nothing is handed out before a look has shown that the login stands.
            self._authority.store.append([], [*self._needed(wish, lease), put])
        except Conflict:
            self._look(wish)
            if not lease.held:
                raise KeycloakUnavailable("the refresh took longer than its lease") from None
            raise NoProviderTokens("the login has ended meanwhile") from None
        self._look(wish)

    def _written_at_the_head(self, wish: _Wish, lease: Lease, put: Put) -> bool:
        """Whether *put* was done at the head at which the login stood; else nothing was done."""
        verdict = self._authority.verdict
        for attempt in range(WRITE_TRIES):
            try:
                # (Before the view is asked: what it learns later moves the head as well.)
                place = self._look(wish) if attempt else verdict.position()
            except StoreError:
                return False
            self._refuse_ended(wish)
            try:
                self._authority.store.append([], [HeadIs(*place), *self._needed(wish, lease), put])
                return True
            except HeadMoved:
                continue
        return False

    def _needed(self, wish: _Wish, lease: Lease) -> list[Change]:
        """The lease is ours, and the login's record and its tokens are there."""
        needed = lease.needed()
        if self._tokens.where == "session":
            needed.append(Require(wish.token.record_key))
        if wish.cookie is None:
            needed.append(Require(self._keys.tokens(wish.label)))
        return needed
