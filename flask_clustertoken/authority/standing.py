"""Standing: what is made out of a token is made where that token still stands.

Whoever sends a request decides how slowly its body comes. So between the look at a token and
what is made on its strength any revocation may fall, and a second look before the step, or one
after a step that cannot be taken back, leaves a gap all the same. The look is a condition of the
step itself: the feed's head is still the number at which the view was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..cluster import Membership
from ..errors import (
    Conflict,
    HeadMoved,
    Locked,
    RevokedMeanwhile,
    StoreNotOpen,
    StoreUnavailable,
)
from ..stores.base import Change, HeadIs, Require
from ..tokens import Token

T = TypeVar("T")

#: Times that a step is tried under the head; each but the first behind a look at the store.
TRIES = 8


class Standing:
    """What a step of *member* stands on: the token of whoever *asked*, ``None``: on nothing."""

    def __init__(self, member: Membership, asked: Token | None) -> None:
        self._member = member
        self._asked = asked
        self._follower = member.follower()

    def refuse_ended(self) -> None:
        """:class:`RevokedMeanwhile` where the view, as it stands, covers who asked."""
        asked, view = self._asked, self._follower.view
        if asked is None:
            return
        self.refuse_locked(asked)
        # (A token of another issuer has no epoch; only its id and its labels can be revoked.)
        if view.covers(asked) or asked.epoch not in ("", self._member._epoch):
            raise self.ended()

    def refuse_locked(self, token: Token) -> None:
        """:class:`Locked` where a lock that the view knows refuses *token*."""
        lock = self._follower.view.lock_on(token, self._member.clock.time())
        if lock is not None:
            raise Locked(lock.message, lock.ends_at)

    def ended(self) -> RevokedMeanwhile:
        return RevokedMeanwhile("the login that asked for this was ended meanwhile")

    def needed(self) -> list[Change]:
        """The record of who asked, where there is one: an entry of the feed may be over by the
        time that a very slow request goes on, and a record that was deleted stays so."""
        asked = self._asked
        if asked is None or not self._member.keeps_record(asked):
            return []
        return [Require(asked.record_key)]

    def first_number(self, since: int = 0) -> int:
        """Where the view stands; read on where that is before *since*. Asks no server to write."""
        follower = self._follower
        if follower.view.applied < since:
            follower.follow()
        if follower.view.broken:
            raise StoreNotOpen(follower.view.broken)
        return follower.view.applied

    def look(self, since: int = 0) -> int:
        """The head, up to which the view was read; :class:`StoreUnavailable` where it cannot be."""
        head = self._member.store.head()
        if since > head:
            raise ValueError("since is not what login_begins() of this store returned")
        if not self._follower.reach(head):
            raise StoreUnavailable("this node could not catch up with the revocations")
        return head

    def under_head(self, step: Callable[[list[Change]], T]) -> T:
        """Do *step*, with the conditions under which who asked still stands in it.

        Raises :class:`RevokedMeanwhile`, or a :class:`StoreError`; then nothing was written.
        """
        number = self.first_number()
        for _ in range(TRIES):
            self.refuse_ended()
            try:
                return step([HeadIs(number), *self.needed()])
            except HeadMoved:
                number = self.look()
            except Conflict as error:
                raise self.ended() from error
        raise StoreUnavailable("others revoke faster than this could be done")
