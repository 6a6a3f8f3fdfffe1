"""Revoking: what ends tokens, each as one acknowledged entry of the feed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from ..clock import SKEW
from ..cluster import Node, Publisher, Revocation
from ..errors import Conflict
from ..events import TokenRevoked
from ..revocations import FeedEntry, Kind
from ..stores import seq_at
from ..stores.base import Change, Delete, Record, Require
from ..tokens import (
    Token,
    TokenKind,
    digests,
    from_record,
    is_id,
    lives_until,
    record_key,
    validation,
)
from .lifetimes import Lifetimes
from .standing import Standing
from .verdict import Verdict

#: What ``restored`` stands above the highest number known, in the feed's microseconds.
AHEAD = seq_at(2 * SKEW)

#: The kinds of token that "log out everywhere" ends unless asked otherwise.
LOGINS: tuple[TokenKind, ...] = ("login",)


class Revoking:
    """Ends tokens. Each method raises a :class:`~flask_clustertoken.errors.StoreError` where
    the store did not acknowledge it; whether it is in force is then unknown. What it is given
    is checked first: a :class:`TypeError` or :class:`ValueError` has written nothing."""

    def __init__(self, publisher: Publisher, verdict: Verdict, lifetimes: Lifetimes) -> None:
        self._publisher = publisher
        self._runtime = publisher.runtime
        self._verdict = verdict
        self._lifetimes = lifetimes

    def revoke_ids(self, token_ids: Sequence[str]) -> Revocation:
        """End these tokens, and the bound logins that took the place of one of them.

        Raises :class:`ValueError` for what is no token id.
        """
        keys = {token_id: record_key(token_id) for token_id in token_ids}
        self._runtime.follower()
        found = self._runtime.store.get_many(list(keys.values()))
        feed_entry = self.entry_of_ids(token_ids, recorded=len(found) == len(keys))
        logins = [one for one, key in keys.items() if self._was_login(found.get(key))]
        changes = [Delete(key) for key in keys.values()]
        revocation = self.revoke(feed_entry, changes, named=list(keys), logins=logins)
        return self.end_successors(token_ids) or revocation

    def end_successors(self, token_ids: Sequence[str]) -> Revocation | None:
        """End the bound logins that took the place of these, which were ended just now.

        A registration may have been acknowledged whose answer is still under way: its browser
        would be logged in again when that arrives. It is looked for behind the end, and none can
        come any more: each is made on the strength of the login that ended. ``None``: there is
        none, or it was registered minutes ago, and the old login had no browser to end it.
        """
        if self._runtime.settings.device_bound == "off":
            return None
        notes = self._runtime.store.get_many([registration_key(one) for one in token_ids])
        bound = [said for one in notes.values() if is_id(said := one.value.decode())]
        return self.revoke_ids(bound) if bound else None

    def _was_login(self, record: Record | None) -> bool:
        if record is None:  # what has one is over without it
            return not self._lifetimes.records_logins
        try:
            return from_record(record.value, None).kind == "login"
        except ValueError:  # a newer version's
            return False

    def end(self, token: Token) -> Revocation:
        """End *token*, which is at hand: entry, record and head in one step, and no look before.

        Where the store never had a record of it, or has none any more, its id is remembered
        for as long as a copy of it may live. The unbound login that it took the place of ends with
        it; and if it is one itself, so does what took its place.
        """
        revocation = self._end(token)
        if token.kind == "login" and not token.bound_key:
            return self.end_successors([token.id]) or revocation
        return revocation

    def _end(self, token: Token) -> Revocation:
        ids, named = ending(token), [token.id]
        logins = named if token.kind == "login" else []
        deletes = [Delete(record_key(one)) for one in ids]
        if not self._lifetimes.keeps_record(token):
            entry = self.entry_of_ids(ids, recorded=False)
            return self.revoke(entry, named=named, logins=logins)
        with suppress(Conflict):
            feed_entry = self.entry_of_ids(ids, recorded=True)
            alive = Require(token.record_key, lives_until(token))
            return self.revoke(feed_entry, [alive, *deletes], named=named, logins=logins)
        return self.revoke(self.entry_of_ids(ids, recorded=False), deletes, named=named)

    def entry_of_ids(self, token_ids: Sequence[str], *, recorded: bool) -> FeedEntry:
        """What says that these tokens are over. *recorded*: nothing of them lives without a
        record, and those are deleted in the same step."""
        now = self._runtime.clock.time()
        return FeedEntry("ids", now, digests=digests("id", token_ids), recorded=recorded)

    def revoke_labels(
        self,
        labels: Sequence[str],
        *,
        before: bool = False,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
    ) -> Revocation:
        """End every token with one of these labels, also one that is issued later.

        *before*: only those issued before now, as where a label stands for a person and not for
        one session. (Nodes of a version that does not know that are told of in
        :class:`~flask_clustertoken.errors.NodesTooOld`, and nothing is written.)
        *changes* are made in the same step, and *entry_id* makes a repetition harmless: what an
        adapter needs to record the message that asked for it.
        """
        labels = validation.labels(labels)
        marks = digests("label", labels)
        kind: Kind = "labels_before" if before else "labels"
        feed_entry = FeedEntry(kind, self._runtime.clock.time(), digests=marks)
        return self.revoke(feed_entry, changes, entry_id, named=labels)

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
        feed_entry = FeedEntry("subject", self._runtime.clock.time(), digests=marks, kinds=kinds)
        if on is None:
            return self.revoke(feed_entry, changes, entry_id, named=[subject])
        return Standing(self._verdict, self._lifetimes, on).under_head(
            lambda conditions: self.revoke(
                feed_entry, [*changes, *conditions], entry_id, named=[subject]
            )
        )

    def revoke_all(
        self,
        kinds: Sequence[TokenKind] = LOGINS,
        *,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
    ) -> Revocation:
        """End every token of the realm issued before now, of these kinds."""
        feed_entry = FeedEntry("realm", self._runtime.clock.time(), kinds=validation.kinds(kinds))
        return self.revoke(feed_entry, changes, entry_id)

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
        now = self._runtime.clock.time()
        value = validation.moment(when, "not_before")
        if not ahead:
            value = validation.past(when, "not_before", now)
        return self.revoke(FeedEntry("not_before", now, kinds=validation.kinds(kinds), value=value))

    def restored(self, kinds: Sequence[TokenKind] = LOGINS) -> Revocation:
        """After a restore from backup: end what was issued before, above any number ever seen."""
        feed_entry = FeedEntry(
            "restored", self._runtime.clock.time(), kinds=validation.kinds(kinds)
        )
        now = seq_at(self._runtime.follower().store_time())
        seen = max((Node.decode(one).seen for one in self._runtime.store.nodes()), default=0)
        # Logins that were lost with the store may be out under numbers that nobody here has met:
        # a clock may be ahead as far as is tolerated, and where one was further ahead before the
        # backup, numbers have gone on from there, one by one.
        return self.revoke(feed_entry, above=max(seen, now, self._runtime.store.head()) + AHEAD)

    def revoke(
        self,
        feed_entry: FeedEntry,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        *,
        above: int = 0,
        named: Sequence[str] = (),
        logins: Sequence[str] = (),
    ) -> Revocation:
        """Append *feed_entry*, which revokes, make *changes* in the same step, and tell of it.

        *named*: the ids, labels or subjects that it says the digests of, for whoever is told;
        *logins*: those that were one.
        """
        seq = self._publisher.append(feed_entry, changes, entry_id, above=above)
        told = TokenRevoked(seq, feed_entry, tuple(named), tuple(logins))
        self._runtime.events.announce(told)
        return Revocation(seq, self._publisher)


def ending(token: Token) -> list[str]:
    """The ids that end with *token*: its own, and that of the login that it took the place of."""
    return [token.id, token.succeeds] if token.succeeds else [token.id]


def registration_key(token_id: str) -> str:
    """Where the store keeps for a while which bound login took the place of this one."""
    return "bound/" + record_key(token_id).removeprefix("token/")
