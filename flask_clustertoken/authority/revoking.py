"""Revoking: what ends tokens, each as one acknowledged entry of the feed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from ..clock import SKEW
from ..cluster import Membership, Node, Revocation
from ..errors import Conflict
from ..events import TokenRevoked
from ..revocations import Notice
from ..stores import seq_at
from ..stores.base import Change, Delete, Require
from ..tokens import Token, TokenKind, digests, record_key, validation
from .standing import Standing

#: What ``restored`` stands above the highest number known, in the feed's microseconds.
AHEAD = seq_at(2 * SKEW)

#: The kinds of token that "log out everywhere" ends unless asked otherwise.
LOGINS: tuple[TokenKind, ...] = ("login",)


class Revoker(Membership):
    """Ends tokens. Each method raises a :class:`~flask_clustertoken.errors.StoreError` where
    the store did not acknowledge it; whether it is in force is then unknown. What it is given
    is checked first: a :class:`TypeError` or :class:`ValueError` has written nothing."""

    def revoke_ids(self, token_ids: Sequence[str]) -> Revocation:
        """End these tokens. Raises :class:`ValueError` for what is no token id."""
        keys = {token_id: record_key(token_id) for token_id in token_ids}
        self.follower()
        found = self.store.get_many(list(keys.values()))
        notice = self._ids_notice(token_ids, recorded=len(found) == len(keys))
        return self._revoke(notice, [Delete(key) for key in keys.values()])

    def end(self, token: Token) -> Revocation:
        """End *token*, which is at hand: entry, record and head in one step, and no look before.

        Where the store never had a record of it, or has none any more, its id is remembered
        for as long as a copy of it may live.
        """
        key = token.record_key
        if not self.keeps_record(token):
            return self._revoke(self._ids_notice([token.id], recorded=False))
        with suppress(Conflict):
            notice = self._ids_notice([token.id], recorded=True)
            return self._revoke(notice, [Require(key), Delete(key)])
        return self._revoke(self._ids_notice([token.id], recorded=False), [Delete(key)])

    def _ids_notice(self, token_ids: Sequence[str], *, recorded: bool) -> Notice:
        return Notice("ids", self.clock.time(), digests=digests("id", token_ids), recorded=recorded)

    def revoke_labels(
        self, labels: Sequence[str], *, changes: Sequence[Change] = (), entry_id: str | None = None
    ) -> Revocation:
        """End every token with one of these labels, also one that is issued later.

        *changes* are made in the same step, and *entry_id* makes a repetition harmless: what an
        adapter needs to record the message that asked for it.
        """
        marks = digests("label", validation.labels(labels))
        notice = Notice("labels", self.clock.time(), digests=marks)
        return self._revoke(notice, changes, entry_id)

    def revoke_subject(
        self,
        subject: str,
        kinds: Sequence[TokenKind] = LOGINS,
        *,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        on: Token | None = None,
    ) -> Revocation:
        """End every token of *subject* issued before now, of these kinds.

        Where it was asked for with a token, *on*, from which something is to be made afterwards:
        :class:`~flask_clustertoken.errors.RevokedMeanwhile`, and nothing is ended, unless that
        token stands in this very step.
        """
        kinds, subject = validation.kinds(kinds), validation.subject(subject)
        marks = tuple(digests(f"subject:{kind}", [subject])[0] for kind in kinds)
        notice = Notice("subject", self.clock.time(), digests=marks, kinds=kinds)
        if on is None:
            return self._revoke(notice, changes, entry_id)
        return Standing(self, on).under_head(
            lambda conditions: self._revoke(notice, [*changes, *conditions], entry_id)
        )

    def revoke_all(
        self,
        kinds: Sequence[TokenKind] = LOGINS,
        *,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
    ) -> Revocation:
        """End every token of the realm issued before now, of these kinds."""
        notice = Notice("realm", self.clock.time(), kinds=validation.kinds(kinds))
        return self._revoke(notice, changes, entry_id)

    def not_before(
        self,
        when: float | datetime,
        kinds: Sequence[TokenKind] = LOGINS,
        *,
        ahead: bool = False,
    ) -> Revocation:
        """End every token issued before the time *when*, now and later; it only ever rises.

        A time in the future ends logins that are still to come, until then: that is refused
        (milliseconds would end them for ever) unless *ahead* says that it is meant. Seconds since
        1970, or a datetime with its zone: :class:`ValueError` for one without.
        """
        now = self.clock.time()
        value = validation.moment(when, "not_before")
        if not ahead:
            value = validation.past(when, "not_before", now)
        return self._revoke(Notice("not_before", now, kinds=validation.kinds(kinds), value=value))

    def restored(self, kinds: Sequence[TokenKind] = LOGINS) -> Revocation:
        """After a restore from backup: end what was issued before, above any number ever seen."""
        notice = Notice("restored", self.clock.time(), kinds=validation.kinds(kinds))
        now = seq_at(self.follower().store_time())
        seen = max((Node.decode(one).seen for one in self.store.nodes()), default=0)
        # Logins that were lost with the store may be out under numbers that nobody here has met:
        # a clock may be ahead as far as is tolerated, and where one was further ahead before the
        # backup, numbers have gone on from there, one by one.
        return self._revoke(notice, above=max(seen, now, self.store.head()) + AHEAD)

    def _revoke(
        self,
        notice: Notice,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        *,
        above: int = 0,
    ) -> Revocation:
        seq = self._append(notice, changes, entry_id, above=above)
        self.events.announce(TokenRevoked(seq, notice))
        return Revocation(seq, self)
