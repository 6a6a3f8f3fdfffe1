"""Writing: a token is written where neither it nor what it stands on is ended.

An issue ends like a validation: a revocation that arrives while a token is being made wins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..cluster import NodeRuntime
from ..errors import Conflict, HeadMoved, Locked, RevokedMeanwhile, StoreError, StoreUnavailable
from ..stores.base import Add, Change, Delete, HeadIs
from ..tokens import Token, record_end, record_key, to_record, view_keys
from .issued import IssuedToken
from .lifetimes import Lifetimes
from .revoking import Revoking, ending
from .standing import Standing
from .verdict import Verdict

logger = logging.getLogger("flask_clustertoken")

#: Times that a token is written under the head before it is written first and looked at then.
TRIES = 3


class Writing:
    """Writes the records of new tokens, and takes back those that are not handed out."""

    def __init__(
        self, runtime: NodeRuntime, revoking: Revoking, verdict: Verdict, lifetimes: Lifetimes
    ) -> None:
        self._runtime = runtime
        self._revoking = revoking
        self._verdict = verdict
        self._lifetimes = lifetimes

    def write(
        self,
        make: Callable[[int], IssuedToken],
        since: int,
        spare: float,
        on: Token | None,
        replaces: Token | None = None,
        once: Add | None = None,
    ) -> IssuedToken:
        """Issue what *make* makes at a number of the feed, where neither it nor *on* is ended.

        The number is *since* at least, from which on what was appended covers it.
        What is written is written on condition that the feed's head is the place at which
        both were judged. If others append all the time, it is written first and then looked at:
        its text has not left yet, and it can be withdrawn.

        *spare* are the seconds that its record has for renewals that write nothing; *replaces*
        ends in the same step, and *once* is added in it: :class:`Conflict` where it is there
        already. Raises :class:`RevokedMeanwhile` where either is ended, or a :class:`StoreError`;
        nothing is issued then.
        """
        verdict, standing = self._verdict, Standing(self._verdict, self._lifetimes, on)
        place = verdict.position(since)
        issued = make(place.seq)
        keys = view_keys(issued.token)
        if place.seq < since or verdict.ended(issued.token, keys) is not None:
            # By a mark that this node set itself, perhaps: known before its place is reached.
            place = verdict.catch_up(since)
            issued = make(place.seq)
        recorded = self._lifetimes.keeps_record(issued.token)
        also = [] if once is None else [once]
        for _ in range(TRIES if recorded or also or replaces is not None else 0):
            self.refuse_ended(issued.token, standing, keys)
            try:
                self._add(issued.token, spare, replaces, standing, [HeadIs(*place), *also])
                if replaces is not None and not replaces.bound_key:
                    with self._withdrawn_in_trouble(issued.token):
                        self._revoking.end_successors([replaces.id])
                return issued
            except HeadMoved:
                place = verdict.catch_up(since)
                issued = make(place.seq)
        self._add(issued.token, spare, None, standing, also)
        self._still_wanted(issued.token, since, standing)
        if replaces is not None:
            # Not in one step with the record: the look behind it would find who asked ended.
            with self._withdrawn_in_trouble(issued.token):
                self._revoking.end(replaces)
        return issued

    @contextmanager
    def _withdrawn_in_trouble(self, token: Token) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self.withdraw(token)
            raise

    def refuse_ended(
        self, token: Token, standing: Standing, keys: Iterable[int] | None = None
    ) -> None:
        """:class:`RevokedMeanwhile` where the view covers *token*, or what it stands on.

        *keys* are its :func:`~flask_clustertoken.tokens.view_keys`, if at hand.
        """
        standing.refuse_ended()
        refusal = self._verdict.ended(token, keys)
        if refusal is None:
            return
        if refusal.reason == "locked":
            raise Locked(refusal.message, refusal.locked_until)
        raise RevokedMeanwhile("a revocation arrived while this token was being made")

    def _add(
        self,
        token: Token,
        spare: float,
        replaces: Token | None,
        standing: Standing,
        conditions: Sequence[Change] = (),
    ) -> None:
        """In one step: the record of *token*, if it is to have one, and the end of *replaces*."""
        recorded = self._lifetimes.keeps_record(token)
        changes = [*conditions, *standing.needed()]
        if recorded:
            value = to_record(token, spare, self._lifetimes.lifetime)
            changes.append(Add(token.record_key, value, record_end(token, spare)))
        try:
            if replaces is not None:
                ids, named = ending(replaces), [replaces.id]
                feed_entry = self._revoking.entry_of_ids(ids, recorded=recorded)
                if recorded:
                    changes += [Delete(record_key(one)) for one in ids]
                self._revoking.revoke(feed_entry, changes, named=named, logins=named)
            elif changes:
                self._runtime.store.append([], changes)
        except HeadMoved:
            raise
        except Conflict as error:
            if error.key == token.record_key:
                raise StoreUnavailable("the store already has a token of this random id") from error
            if any(isinstance(one, Add) and one.key == error.key for one in conditions):
                raise
            raise standing.ended() from error

    def _still_wanted(self, token: Token, since: int, standing: Standing) -> None:
        """The end of an issue is a validation: after the record is acknowledged, look again."""
        try:
            self._verdict.catch_up(since)
            self.refuse_ended(token, standing)
        except (StoreError, RevokedMeanwhile, ValueError):
            self.withdraw(token)
            raise

    def withdraw(self, token: Token) -> None:
        """*token* is not handed out: its record, if it has one, is not to count."""
        if not self._lifetimes.keeps_record(token):
            return
        try:
            self._runtime.store.delete(token.record_key)
        except StoreError:
            # Its text is never handed out, so the record is only litter.
            logger.info("the record of a token that was not handed out stays until it expires")
