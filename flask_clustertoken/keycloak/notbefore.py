"""Not-before: the time that Keycloak pushed for a realm or client, shared by all nodes.

It is compared with when Keycloak issued a token (its clock against its own clock), for logins
to come and for bearer tokens. Logins that exist are ended by a mark of the feed, in the same
transaction. A user's own not-before never comes here: it would end everybody else's tokens.
"""

from __future__ import annotations

import json

from ..authority import TokenAuthority
from ..events import RevocationApplied
from ..stores.base import Put

#: Seconds for which a remembered value is good although nothing said that it changed.
REMEMBERED = 30.0


class NotBefore:
    """The stored value, and this process's memory of it."""

    def __init__(self, authority: TokenAuthority, key: str) -> None:
        self._authority = authority
        self._key = key
        self._value = 0.0
        self._until = float("-inf")
        self._changes = 0
        authority.events.listen(RevocationApplied, self._applied)

    def _applied(self, event: RevocationApplied) -> None:
        # A value that rose came with a mark over the realm; one that fell may wait.
        if event.notice.kind == "realm":
            self._changes += 1

    def stored(self) -> float:
        """The value, asked of the store. Raises :class:`~flask_clustertoken.errors.StoreError`."""
        record = self._authority.store.get(self._key)
        return 0.0 if record is None else float(json.loads(record.value))

    def remembered(self) -> float:
        """The value without a round trip, unless a mark arrived since it was read."""
        now = self._authority.clock.monotonic()
        changes = self._changes
        if now >= self._until or changes != self._seen_changes:
            value = self.stored()
            self._value, self._until, self._seen_changes = value, now + REMEMBERED, changes
            return value
        return self._value

    _seen_changes = -1

    def change(self, value: float) -> Put:
        """The part of a transaction that stores *value*."""
        return Put(self._key, json.dumps(value).encode(), None)
