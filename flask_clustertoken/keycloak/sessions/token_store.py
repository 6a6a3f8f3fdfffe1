"""Token store: the provider's tokens of each login, sealed, in the cluster store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ...authority import TokenAuthority
from ...clock import SKEW
from ...errors import Conflict
from ...stores.base import Delete, Put, Record, Require
from ..protocol import TokenSet
from .labels import Keys
from .sealing import Sealer

#: Seconds that a refresh's result waits in the store for requests with the old cookie.
HANDOVER = 600.0

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


class ProviderTokenStore:
    """The provider's tokens of all logins, as this process reaches them.

    With the token store ``session`` they lie here. With ``cookie`` they travel in the companion
    cookie, and only what a refresh brought lies here for :data:`HANDOVER` seconds.
    """

    def __init__(self, authority: TokenAuthority, keys: Keys, sealer: Sealer) -> None:
        self._authority = authority
        self._keys = keys
        self._sealer = sealer
        self.where: Literal["session", "cookie"] = authority.settings.token_store

    def read(self, label: str) -> ProviderTokens | None:
        """What the store has for the login *label*; ``None`` where nothing readable is there."""
        key = self._keys.tokens(label)
        return self.opened(label, self._authority.store.get_many((key,)))

    def opened(self, label: str, found: Mapping[str, Record]) -> ProviderTokens | None:
        """The tokens of *label* among the records that were *found* in the store."""
        record = found.get(self._keys.tokens(label))
        if record is None:
            return None
        data = self._sealer.open(record.value.decode("ascii", "replace"), _PURPOSE, label)
        return ProviderTokens.from_json(data) if data is not None else None

    def put(self, label: str, tokens: ProviderTokens, *, brief: bool) -> Put:
        """The part of a transaction that keeps *tokens*; *brief*: for :data:`HANDOVER` seconds."""
        text = self._sealer.seal(asdict(tokens), _PURPOSE, label)
        ends = self._authority.clock.time() + HANDOVER if brief else self._ends()
        return Put(self._keys.tokens(label), text.encode(), ends)

    def _ends(self) -> float:
        """It outlives the login until its next renewal, and the refresh token: that this one is
        over, Keycloak shall say."""
        settings = self._authority.settings
        return self._authority.clock.time() + settings.lifetime + settings.renew_after + SKEW

    def prolong(self, label: str) -> None:
        """The login was renewed: what the store keeps for it lives as long."""
        self._authority.store.touch(self._keys.tokens(label), self._ends())

    def keep(self, label: str, tokens: ProviderTokens) -> None:
        """Before the login is issued: whatever ends it afterwards deletes this too."""
        put = self.put(label, tokens, brief=False)
        self._authority.store.put(put.key, put.value, put.expires_at)

    def keep_on(self, label: str, tokens: ProviderTokens) -> None:
        """What a refresh left in the store for a while stays there, unless a logout took it."""
        put = self.put(label, tokens, brief=False)
        with suppress(Conflict):
            self._authority.store.append([], [Require(put.key), put])

    def drop(self, label: str) -> None:
        """The login is over: its tokens go, and a refresh in flight writes nothing."""
        keys = (self._keys.tokens(label), self._keys.refreshing(label))
        self._authority.store.append([], [Delete(key) for key in keys])
