"""Vault: the provider's tokens beside a login, and one refresh at a time over the cluster.

With the token store ``session`` they lie sealed in an entry of the cluster store. With
``cookie`` they travel sealed in the browser's companion cookie, and only what a refresh
brought lies in the store for :data:`HANDOVER` seconds, for the requests that were on their
way with the old cookie. Each change is a new *number*: whoever finds a higher one than its
own takes it instead of refreshing again (with rotation an old refresh token ends the session).

A refresh ends as the issue of a login does. It writes only where its lock and the login's record
still stand, checked in the same transaction; then it looks again whether a revocation has come
meanwhile, since not every one deletes something, and takes back what it wrote if so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..authority import TokenAuthority
from ..clock import SKEW
from ..errors import Conflict, StoreUnavailable
from ..stores.base import Change, Delete, Put, Require
from ..tokens import Token
from . import labels
from .errors import KeycloakUnavailable, NoProviderTokens, NotGenuine, SessionEnded
from .labels import Keys
from .options import Options
from .provider import Provider, TokenSet
from .sealing import Sealer

#: Seconds that a refresh may take before another process tries: longer than its own limits.
LOCK = 30.0
#: Seconds that a request waits for a refresh that another one is just doing.
PATIENCE = 10.0
#: Seconds between two looks while waiting.
LOOK_EVERY = 0.03
#: Seconds that a refresh's result waits in the store for requests with the old cookie.
HANDOVER = 600.0
#: Seconds that an access token must still live to be handed out.
MARGIN = 5.0

_PURPOSE = "tokens"


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """What Keycloak gave us for one login. Times are wall-clock seconds; ``repr`` hides texts."""

    access_token: str
    refresh_token: str
    id_token: str
    access_ends: float
    #: Grows with each refresh.
    number: int = 0

    def __repr__(self) -> str:
        return f"ProviderTokens(number={self.number}, access_ends={self.access_ends}, <hidden>)"

    @classmethod
    def of(
        cls, tokens: TokenSet, now: float, before: ProviderTokens | None = None
    ) -> ProviderTokens:
        """What a response holds; what it leaves out stays as it was *before*."""
        return cls(
            tokens.access_token,
            tokens.refresh_token or (before.refresh_token if before else ""),
            tokens.id_token or (before.id_token if before else ""),
            now + tokens.expires_in,
            before.number + 1 if before else 1,
        )

    def with_refresh_token(self, text: str) -> ProviderTokens:
        """The next ones, of which the access token is not known yet."""
        return replace(self, refresh_token=text or self.refresh_token, number=self.number + 1)

    @classmethod
    def from_json(cls, data: Any) -> ProviderTokens | None:
        try:
            return cls(**data)
        except TypeError:
            return None


class Vault:
    """The provider's tokens of all logins, as this process reaches them."""

    def __init__(
        self, authority: TokenAuthority, options: Options, keys: Keys, sealer: Sealer
    ) -> None:
        self._authority = authority
        self._options = options
        self._keys = keys
        self._sealer = sealer
        self.where: Literal["session", "cookie"] = authority.settings.token_store

    # -- the entry ---------------------------------------------------------------------

    def read(self, label: str) -> ProviderTokens | None:
        """What the store has for the login *label*; ``None`` where nothing readable is there."""
        record = self._authority.store.get(self._keys.tokens(label))
        if record is None:
            return None
        data = self._sealer.open(record.value.decode("ascii", "replace"), _PURPOSE, label)
        return ProviderTokens.from_json(data) if data is not None else None

    def _put(self, label: str, tokens: ProviderTokens, brief: bool) -> Put:
        text = self._sealer.seal(asdict(tokens), _PURPOSE, label)
        # It outlives the refresh token: that this one is over, Keycloak shall say.
        life = HANDOVER if brief else self._authority.settings.lifetime + SKEW
        ends = self._authority.clock.time() + life
        return Put(self._keys.tokens(label), text.encode(), ends)

    def keep(self, label: str, tokens: ProviderTokens) -> None:
        """Before the login is issued: whatever ends it afterwards deletes this too."""
        put = self._put(label, tokens, brief=False)
        self._authority.store.put(put.key, put.value, put.expires_at)

    def keep_on(self, label: str, tokens: ProviderTokens) -> None:
        """What a refresh left in the store for a while stays there, unless a logout took it."""
        put = self._put(label, tokens, brief=False)
        with suppress(Conflict):
            self._authority.store.append([], [Require(put.key), put])

    def drop(self, label: str) -> None:
        """The login is over: its tokens go, and a refresh in flight writes nothing."""
        keys = (self._keys.tokens(label), self._keys.refreshing(label))
        self._authority.store.append([], [Delete(key) for key in keys])

    # -- refresh -----------------------------------------------------------------------

    def refresh(
        self,
        provider: Provider,
        token: Token,
        label: str,
        cookie: ProviderTokens | None,
        *,
        least: float = MARGIN,
        forced: bool = False,
    ) -> ProviderTokens:
        """Tokens that live at least *least* seconds more; *forced*: newer ones in any case.

        *cookie*: what the browser carries; ``None`` where the store keeps them. Raises
        :class:`NoProviderTokens`, :class:`SessionEnded`, :class:`KeycloakRefused`,
        :class:`KeycloakUnavailable` or a :class:`~flask_clustertoken.errors.StoreError`.
        """
        authority = self._authority
        lock = self._keys.refreshing(label)
        patience = authority.clock.monotonic() + PATIENCE
        first: ProviderTokens | None = None
        while True:
            current = self._latest(label, cookie)
            if current is None:
                raise NoProviderTokens("no token of Keycloak is kept for this login")
            first = first or cookie or current
            if self._good(current, first, least, forced):
                return current
            if authority.store.add(lock, b"1", authority.clock.time() + LOCK):
                try:
                    return self._refresh_alone(provider, token, label, cookie, first, least, forced)
                finally:
                    authority.store.delete(lock)
            if authority.clock.monotonic() >= patience:
                raise KeycloakUnavailable("another request's refresh takes too long")
            threading.Event().wait(LOOK_EVERY)

    def _good(
        self, current: ProviderTokens, first: ProviderTokens, least: float, forced: bool
    ) -> bool:
        left = current.access_ends - self._authority.clock.time()
        if current.number > first.number:
            # Somebody refreshed since we looked first: newer it does not get.
            return left > 0
        return not forced and left > max(least, MARGIN)

    def _latest(self, label: str, cookie: ProviderTokens | None) -> ProviderTokens | None:
        stored = self.read(label)
        if cookie is None or (stored is not None and stored.number > cookie.number):
            return stored
        return cookie

    def _refresh_alone(
        self,
        provider: Provider,
        token: Token,
        label: str,
        cookie: ProviderTokens | None,
        first: ProviderTokens,
        least: float,
        forced: bool,
    ) -> ProviderTokens:
        # Whoever held the lock before us may have been done between our look and our lock.
        current = self._latest(label, cookie)
        if current is not None and self._good(current, first, least, forced):
            return current
        self._still_wanted(token, label)
        if current is None or not current.refresh_token:
            raise NoProviderTokens("Keycloak gave no refresh token for this login")
        fields = self.session_fields(token.labels)
        try:
            answer = provider.refresh(current.refresh_token, session=fields)
        except SessionEnded:
            newer = self._latest(label, cookie)
            if newer is not None and newer.number > current.number:
                return newer
            raise
        before, kept = current, cookie is None
        if not provider.keys.at_hand(answer.access_token):
            # To fetch its key may take long, or fail, and the old refresh token is used up. With
            # the old access token, since roles are read from what was verified.
            before = current.with_refresh_token(answer.refresh_token)
            self._write(token, label, before, kept=kept, brief=False)
        try:
            provider.keys.verify(answer.access_token, urgent=True)
        except NotGenuine as error:
            raise KeycloakUnavailable("Keycloak answered with a token not its own") from error
        tokens = ProviderTokens.of(answer, self._authority.clock.time(), before)
        self._write(token, label, tokens, kept=kept, brief=not kept)
        return tokens

    def _still_wanted(self, token: Token, label: str) -> None:
        """Catch up with the feed; if a revocation covers *token*, nothing of it stays here.

        Whoever revokes after this look finds our entry, or is found by the next look.
        """
        follower = self._authority.follower()
        if not follower.reach(self._authority.store.head()):
            raise StoreUnavailable("this node could not catch up with the revocations")
        if follower.view.covers(token):
            self.drop(label)
            raise NoProviderTokens("the login has ended meanwhile")

    def _write(
        self, token: Token, label: str, tokens: ProviderTokens, *, kept: bool, brief: bool
    ) -> None:
        """*kept*: in the place of those that the store keeps already."""
        needed: list[Change] = [Require(self._keys.refreshing(label))]
        if self.where == "session":
            needed.append(Require(token.record_key))
        if kept:
            needed.append(Require(self._keys.tokens(label)))
        try:
            self._authority.store.append([], [*needed, self._put(label, tokens, brief)])
        except Conflict:
            self._still_wanted(token, label)
            raise NoProviderTokens("the login has ended meanwhile") from None
        self._still_wanted(token, label)

    def session_fields(self, of: tuple[str, ...]) -> Mapping[str, str]:
        """What tells Keycloak how to reach this login: sent at login and at each refresh."""
        state = labels.session_state(of)
        if state is None:
            return {}
        return {"client_session_state": state, "client_session_host": self._options.node_host}
