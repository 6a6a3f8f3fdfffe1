"""Not-before: the times that Keycloak pushed for a realm or client, shared by all nodes.

They are compared with when Keycloak issued a token: its clock against its own clock. One is
*assigned* by each push, also a lower one, and judges logins to come. The *floor* only rises, and
judges what exists: a token that was refused once stays refused, whatever is pushed later (a push
for the realm brings the realm's value, and would take back a newer one of the client's).
Logins that exist are ended by a mark of the feed, in the same transaction.

A user's own not-before never comes here: it would end everybody else's tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ...authority import TokenAuthority
from ...errors import Conflict, StoreUnavailable
from ...events import RevocationApplied, RevocationEntry
from ...oidc import LEEWAY
from ...stores.base import Add, Change, Delete, Put, Require
from ...tokens import digests
from ..sessions import Keys

#: Seconds for which a remembered value is good although nothing said that it changed.
TIMES_REMEMBERED = 30.0
#: How often a push is tried while others push at the same moment.
PUSH_TRIES = 20


@dataclass(frozen=True, slots=True)
class Times:
    """What is stored. *number* grows with each change."""

    assigned: float = 0.0
    floor: float = 0.0
    number: int = 0

    @property
    def for_bearers(self) -> float:
        """A bearer token that Keycloak issued before this is refused."""
        return max(self.assigned, self.floor)

    def after(self, value: float, now: float, *, lowers: bool) -> Times:
        """What it is once *value* was pushed; *lowers*: also where it is an earlier one."""
        assigned = value if lowers else max(value, self.assigned)
        # What lies in the future has refused nothing but what was issued until now.
        ended = [one if one <= now + LEEWAY else now for one in (self.assigned, value)]
        return Times(assigned, max(self.floor, *ended), self.number + 1)

    @classmethod
    def read(cls, value: bytes) -> Times:
        data = json.loads(value)
        # (A number alone is what a version before the floor wrote.)
        return cls(**data) if isinstance(data, dict) else cls(float(data), float(data))


class NotBefore:
    """The stored times, and this process's memory of them.

    *pushed* is called whenever this node learns that something was pushed, or that everybody was
    logged out, at whichever node: keys may have been withdrawn as well.
    """

    def __init__(self, authority: TokenAuthority, keys: Keys, pushed: Callable[[], None]) -> None:
        self._authority = authority
        self._keys = keys
        self._pushed = pushed
        self._times = Times()
        self._until = float("-inf")
        self._seen = -1
        #: Moves with each push that this node learns of.
        self.changes = 0
        self._digests = digests("label", [keys.pushed])
        authority.events.listen(RevocationApplied, self._applied)

    def _applied(self, event: RevocationApplied) -> None:
        if self._is_push(event.notice):
            self.changes += 1
            self._pushed()

    def _is_push(self, feed_entry: RevocationEntry) -> bool:
        return feed_entry.kind == "realm" or (
            feed_entry.kind == "labels" and feed_entry.digests == self._digests
        )

    def stored(self) -> Times:
        """Asked of the store. Raises :class:`~flask_clustertoken.errors.StoreError`."""
        record = self._authority.store.get(self._keys.not_before)
        return Times() if record is None else Times.read(record.value)

    def remembered(self) -> Times:
        """Without a round trip, unless a push arrived since they were read."""
        now = self._authority.clock.monotonic()
        changes = self.changes
        if now >= self._until or changes != self._seen:
            times = self.stored()
            self._times, self._until, self._seen = times, now + TIMES_REMEMBERED, changes
            return times
        return self._times

    def push(self, value: float, changes: list[Change], entry_id: str) -> None:
        """*value* from now on, with *changes* in the same step, and every node hears of it.

        A later one than any before ends every login. Raises
        :class:`~flask_clustertoken.errors.Conflict` where *changes* do not hold.
        """

        def step(old: Times, more: list[Change]) -> None:
            if value > old.floor:
                self._authority.revoke_all(changes=[*changes, *more], entry_id=entry_id)
            else:
                # It ends nobody. No token has this label: that something was pushed is all it says.
                self._authority.revoke_labels(
                    [self._keys.pushed], changes=[*changes, *more], entry_id=entry_id
                )

        self._change(value, step, lowers=True)

    def log_out_all(self, value: float, changes: list[Change], entry_id: str) -> None:
        """Every login ends; *value* counts where it is later than what was pushed."""

        def step(_: Times, more: list[Change]) -> None:
            self._authority.revoke_all(changes=[*changes, *more], entry_id=entry_id)

        self._change(value, step, lowers=False)

    def _change(
        self, value: float, step: Callable[[Times, list[Change]], None], *, lowers: bool
    ) -> None:
        """Read, then write only where nobody wrote in between: else once more."""
        for _ in range(PUSH_TRIES):
            old = self.stored()
            new = old.after(value, self._authority.clock.time(), lowers=lowers)
            mine = self._keys.not_before_turn(new.number)
            more: list[Change] = [Add(mine, b"1", None)]
            if old.number:
                theirs = self._keys.not_before_turn(old.number)
                more += [Require(theirs), Delete(theirs)]
            more.append(Put(self._keys.not_before, json.dumps(asdict(new)).encode(), None))
            try:
                return step(old, more)
            except Conflict as error:
                if not error.key.startswith(self._keys.not_before_turn("")):
                    raise
        raise StoreUnavailable("too many not-befores are being pushed at the same moment")
