"""Vault: the provider's tokens beside a login, and one refresh at a time over the cluster.

With the token store ``session`` they lie sealed in an entry of the cluster store. With
``cookie`` they travel sealed in the browser's companion cookie, and only what a refresh
brought lies in the store for :data:`HANDOVER` seconds, for the requests that were on their
way with the old cookie. Each change is a new *number*: whoever finds a higher one than its
own takes it instead of refreshing again (with rotation an old refresh token ends the session).

A refresh ends as the issue of a login does. It writes only where its turn and the login's record
still stand, checked in the same transaction; then it looks again whether a revocation has come
meanwhile, since not every one deletes something, and takes back what it wrote if so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ...backoff import Backoff
from ...errors import Conflict
from ...stores import Lease
from ...stores.base import Change, Require
from ...tokens import Token
from ..errors import KeycloakUnavailable, NoProviderTokens, NotGenuine, SessionEnded
from ..protocol.provider import Provider
from . import labels
from .entries import HANDOVER, Entries, ProviderTokens

__all__ = ["HANDOVER", "ProviderTokens", "Vault"]

#: Seconds of a turn at least: who died with one holds up the others so long.
TURN = 30.0
#: Seconds that a request waits for a refresh that another one is just doing.
PATIENCE = 10.0
#: Seconds between two looks while waiting: at first, and at most.
LOOK_EVERY, LOOK_LAST = 0.03, 0.5
#: Seconds that an access token must still live to be handed out.
MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """Tokens that somebody wants, as :meth:`Vault.refresh` was asked for them."""

    provider: Provider
    token: Token
    label: str
    cookie: ProviderTokens | None
    least: float
    forced: bool
    voluntary: bool


class Vault(Entries):
    """The provider's tokens of all logins, refreshed when somebody wants them."""

    def refresh(
        self,
        provider: Provider,
        token: Token,
        label: str,
        cookie: ProviderTokens | None,
        *,
        least: float = MARGIN,
        forced: bool = False,
        voluntary: bool = False,
    ) -> ProviderTokens:
        """Tokens that live at least *least* seconds more; *forced*: newer ones in any case.

        *voluntary*: nobody waits for them. While Keycloak is silent, nothing of that kind is
        tried, and whoever has a token that is still good goes on with it.
        *cookie*: what the browser carries; ``None`` where the store keeps them. Raises
        :class:`NoProviderTokens`, :class:`SessionEnded`, :class:`KeycloakRefused`,
        :class:`KeycloakUnavailable` or a :class:`~flask_clustertoken.errors.StoreError`.
        """
        wish = _Wish(provider, token, label, cookie, least, forced, voluntary)
        store, clock = self._authority.store, self._authority.clock
        lock, patience = self._keys.refreshing(label), clock.monotonic() + PATIENCE
        first: ProviderTokens | None = None
        pauses, busy = Backoff(LOOK_EVERY, LOOK_LAST), False
        while True:
            found = store.get_many((self._keys.tokens(label), *((lock,) if busy else ())))
            current = self._latest(wish, self._opened(label, found))
            if current is None:
                raise NoProviderTokens("no token of Keycloak is kept for this login")
            first = first or cookie or current
            if self._good(wish, current, first):
                return current
            if provider.silent:
                if self._left(current) > MARGIN:
                    return current
                if voluntary:
                    raise KeycloakUnavailable("Keycloak did not answer a moment ago")
            if not busy or lock not in found:
                turn = Lease(store, lock, margin=0.0, clock=clock)
                if turn.take(self._turn_lasts()):
                    try:
                        return self._refresh_alone(wish, first, turn)
                    finally:
                        turn.give()
            if clock.monotonic() >= patience:
                raise KeycloakUnavailable("another request's refresh takes too long")
            # Many may wait: less and less often, and not all at once.
            busy = True
            threading.Event().wait(pauses.next())

    def _turn_lasts(self) -> float:
        """Longer than whatever is done within a turn: discovery, refresh, keys, and the store.

        (By the wall clocks of the nodes, which should agree to some seconds for that.)
        """
        options = self._options
        answers = 3 * (options.connect_timeout + options.read_timeout)
        return max(TURN, answers + 4 * self._authority.store.timeout)

    def _good(self, wish: _Wish, current: ProviderTokens, first: ProviderTokens) -> bool:
        left = self._left(current)
        if current.number > first.number and current.access_token != first.access_token:
            # Somebody refreshed since we looked first: newer it does not get. But those who wait
            # may have found what is just being taken back. (With the same access token it is a
            # refresh that still waits for the key of the new one.)
            if left > 0:
                self._still_wanted(wish)
            return left > 0
        return not wish.forced and left > max(wish.least, MARGIN)

    def _left(self, tokens: ProviderTokens) -> float:
        return tokens.access_ends - self._authority.clock.time()

    def _latest(self, wish: _Wish, stored: ProviderTokens | None) -> ProviderTokens | None:
        if wish.cookie is None or (stored is not None and stored.number > wish.cookie.number):
            return stored
        return wish.cookie

    def _refresh_alone(self, wish: _Wish, first: ProviderTokens, turn: Lease) -> ProviderTokens:
        # Whoever had the turn before us may have been done between our look and our turn.
        current = self._latest(wish, self.read(wish.label))
        if current is not None and self._good(wish, current, first):
            return current
        self._still_wanted(wish)
        if current is None or not current.refresh_token:
            raise NoProviderTokens("Keycloak gave no refresh token for this login")
        provider = wish.provider
        fields = self.session_fields(wish.token.labels)
        try:
            answer = provider.refresh(current.refresh_token, session=fields)
        except SessionEnded:
            newer = self._latest(wish, self.read(wish.label))
            if newer is not None and newer.number > current.number:
                self._still_wanted(wish)
                return newer
            raise
        before, kept = current, wish.cookie is None
        if not provider.keys.at_hand(answer.access_token):
            # To fetch its key may take long, or fail, and the old refresh token is used up. With
            # the old access token, since roles are read from what was verified.
            before = current.with_refresh_token(answer.refresh_token)
            self._write(wish, turn, before, brief=False)
        try:
            provider.keys.verify(answer.access_token, urgent=True)
        except NotGenuine as error:
            raise KeycloakUnavailable("Keycloak answered with a token not its own") from error
        tokens = ProviderTokens.of(answer, self._authority.clock.time(), before)
        self._write(wish, turn, tokens, brief=not kept)
        return tokens

    def _still_wanted(self, wish: _Wish) -> None:
        """Catch up with the feed; if a revocation covers the login, nothing of it stays here.

        Whoever revokes after this look finds our entry, or is found by the next look.
        """
        verdict = self._authority.verdict
        verdict.catch_up()
        if verdict.ended(wish.token) is not None:
            self.drop(wish.label)
            raise NoProviderTokens("the login has ended meanwhile")

    def _write(self, wish: _Wish, turn: Lease, tokens: ProviderTokens, *, brief: bool) -> None:
        needed: list[Change] = turn.needed()
        if self.where == "session":
            needed.append(Require(wish.token.record_key))
        if wish.cookie is None:
            needed.append(Require(self._keys.tokens(wish.label)))
        put = self._put(wish.label, tokens, brief)
        try:
            self._authority.store.append([], [*needed, put])
        except Conflict:
            self._still_wanted(wish)
            if not turn.held:
                raise KeycloakUnavailable("the refresh took longer than its turn") from None
            raise NoProviderTokens("the login has ended meanwhile") from None
        self._still_wanted(wish)

    def session_fields(self, of: tuple[str, ...]) -> Mapping[str, str]:
        """What tells Keycloak how to reach this login: sent at login and at each refresh."""
        state = labels.session_state(of)
        if state is None:
            return {}
        return {"client_session_state": state, "client_session_host": self._options.node_host}
