"""Standing: what is made out of a token is made where that token still stands.

Whoever sends a request decides how slowly its body comes. So between the look at a token and
what is made on its strength any revocation may fall, and a second look before the step, or one
after a step that cannot be taken back, leaves a gap all the same. The look is a condition of the
step itself: the feed's head is still the number, and the entry, at which the view was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import Conflict, HeadMoved, Locked, RevokedMeanwhile, StoreUnavailable
from ..stores.base import Change, HeadIs, Require
from ..tokens import Token, lives_until
from .lifetimes import Lifetimes
from .verdict import Verdict

T = TypeVar("T")

#: Times that a step is tried under the head; each but the first behind a look at the store.
TRIES = 8


class Standing:
    """What a step stands on: the token of whoever *asked*, ``None``: on nothing."""

    def __init__(self, verdict: Verdict, lifetimes: Lifetimes, asked: Token | None) -> None:
        self._verdict = verdict
        self._lifetimes = lifetimes
        self.asked = asked

    def refuse_ended(self) -> None:
        """:class:`RevokedMeanwhile` where the view, as it stands, covers who asked;
        :class:`Locked` where a lock does."""
        if self.asked is None:
            return
        refusal = self._verdict.ended(self.asked)
        if refusal is None:
            return
        if refusal.reason == "locked":
            raise Locked(refusal.message, refusal.locked_until)
        raise self.ended()

    def ended(self) -> RevokedMeanwhile:
        return RevokedMeanwhile("the login that asked for this was ended meanwhile")

    def needed(self) -> list[Change]:
        """The record of who asked, where there is one: an entry of the feed may be over by the
        time that a very slow request goes on, and a record that was deleted stays so."""
        asked = self.asked
        if asked is None or not self._lifetimes.keeps_record(asked):
            return []
        return [Require(asked.record_key, lives_until(asked))]

    def under_head(self, step: Callable[[list[Change]], T]) -> T:
        """Do *step*, with the conditions under which who asked still stands in it.

        Raises :class:`RevokedMeanwhile`, or a :class:`StoreError`; then nothing was written.
        """
        place = self._verdict.position()
        for _ in range(TRIES):
            self.refuse_ended()
            try:
                return step([HeadIs(*place), *self.needed()])
            except HeadMoved:
                place = self._verdict.catch_up()
            except Conflict as error:
                raise self.ended() from error
        raise StoreUnavailable("others revoke faster than this could be done")
