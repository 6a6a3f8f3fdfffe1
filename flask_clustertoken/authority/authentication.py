"""Judging: is this text a token, and is it good? The five steps of every request.

The one place where a token is judged. A seen token touches neither network nor disk nor
cryptography: a dictionary, three clocks, one number of the view.
"""

from __future__ import annotations

import json

from ..clock import SKEW
from ..errors import ClusterTokenError, StoreError
from ..events import TokenRefused
from ..revocations import Follower, Lock
from ..stores.base import Record
from ..tokens import NewerForm, Refusal, Token, TokenKind, from_record, record_key, with_record
from .revoking import Revoker
from .verified_cache import Recall, Seen


class Judge(Revoker):
    """Authenticates texts."""

    remembered: Recall

    def _new_memory(self) -> Recall:
        return Recall(self.settings.token_cache)

    def authenticate(
        self, text: str, kind: TokenKind = "login", *, strict: bool = False
    ) -> Token | Refusal:
        """The token that *text* spells, or why it is refused. Never raises for a store.

        Five steps, the lease's end taken before them and compared with the clock after them.
        *strict* asks the store itself, also for what was seen before.
        """
        try:
            found = self.judge_once(text, kind, strict)
            if isinstance(found, Token):
                return found
            if found.unknown_key or found.unknown_form:
                found = self._strangers.judge(found, self.follower())
            elif found.token_id and found.reason == "stale" and self.store.embedded:
                # One host: whoever can look at the database can vouch for itself. (Only for a
                # text whose signature held: nobody else makes us ask the store.)
                self.follower().step_now()
                found = self.judge_once(text, kind, strict)
        except StoreError as error:
            found = Refusal("stale", f"the store is in trouble: {error}", cause=error)
        except ClusterTokenError as error:
            found = Refusal("stale", str(error), cause=error)
        if isinstance(found, Refusal):
            self.refused(found)
        return found

    def judge_foreign(self, token: Token) -> Token | Refusal:
        """Whether *token*, made by somebody else and verified by the caller, still stands.

        For an adapter that accepts an identity provider's own tokens: the view is asked for its
        id and labels. Marks go by the feed's numbers, which such a token does not carry: with
        :data:`~flask_clustertoken.tokens.UNNUMBERED` as *since* it is covered by none.
        A refusal is not announced here: the adapter may refuse for reasons of its own before or
        after, and whoever asked it announces what came of it, once.
        """
        try:
            found = self._not_revoked(token)
            if isinstance(found, Refusal) and found.reason == "stale" and self.store.embedded:
                self.follower().step_now()
                found = self._not_revoked(token)
        except ClusterTokenError as error:
            found = Refusal("stale", str(error), token.id, token.subject, cause=error)
        return found

    def refused(self, refusal: Refusal) -> None:
        """Announce that what a request presented was not accepted, whoever judged it."""
        if refusal.reason == "stale" and self.following is not None:
            self.following.note_state()
        if self.events.heard(TokenRefused):
            self.events.announce(TokenRefused(refusal))

    def _not_revoked(self, token: Token) -> Token | Refusal:
        follower = self.follower()
        lease_end = follower.lease_end
        view = follower.view
        if (
            self.store.embedded
            and self.store.position() != view.applied
            and not follower.reach(self.store.position())
        ):
            return Refusal("stale", "the feed has not been read to its end", token.id)
        lock = view.lock_on(token, self.clock.time())
        if lock is not None:
            return _locked(token, lock)
        if view.covers(token):
            return Refusal("revoked", "a revocation covers it", token.id, token.subject)
        if self.clock.monotonic() >= lease_end and not self._accepts_when_stale(follower):
            why = follower.trouble or "the view is not vouched for"
            return Refusal("stale", why, token.id, token.subject)
        return token

    def judge_once(self, text: str, kind: TokenKind, strict: bool) -> Token | Refusal:
        """One judgement of *text*, as it is at the moment; :meth:`authenticate` may ask twice."""
        follower = self.following or self.follower()
        clock = self.clock
        lease_end = follower.lease_end
        now, moment = clock.time(), clock.monotonic()
        # 1 seen before?
        keys = self.keys.generation
        recall = self.remembered
        seen = recall.young.get(text)
        if seen is None or seen.keys_generation != keys:
            seen = recall.get(text, keys)
        if seen is None or seen.token.kind != kind:
            found = self._first_sight(text, kind, follower)
            if isinstance(found, Refusal):
                return found
            seen = found
        token = seen.token
        # 2 alive?
        if not -SKEW <= now - moment - follower.clocks.offset <= SKEW:  # (as its steady_at)
            return Refusal("stale", "this node's clock is wrong", token.id, token.subject)
        if now >= seen.ends_at:
            return Refusal("expired", "", token.id, token.subject, token.expires_at)
        # 3 known?
        if strict and not follower.reach(self.store.head()):
            return Refusal("stale", "the feed has not been read to its end", token.id)
        if seen.recorded and (moment >= seen.known_until or seen.doubts != recall.doubts or strict):
            refusal = self._ask(seen, follower)
            if refusal is not None:
                return refusal
            if seen.token is not token:
                token = seen.token
                recall.put(text, seen)  # with its claims it is heavier
        # (an embedded store: nothing was appended that this node has not read)
        view = follower.view
        if self.store.embedded and self.store.position() != view.applied:
            read_on = follower.reach(self.store.position())
            if not read_on:
                return Refusal("stale", "the feed has not been read to its end", token.id)
        if self.keys.generation != keys:
            # This thread, or another one, has read meanwhile that a key was dropped, perhaps
            # the one of this text.
            return self.judge_once(text, kind, strict)
        # 5 revoked? (4, fresh, is compared last)
        generation = view.generation
        if seen.checked != generation:
            if token.epoch != self._epoch:
                return _of_another_store(token)
            lock = view.lock_on(token, now, seen.keys)
            if lock is not None:
                return _locked(token, lock)
            if view.covers(token, seen.keys):
                return Refusal("revoked", "a revocation covers it", token.id, token.subject)
            seen.checked = generation
        # 4 view fresh?
        if clock.monotonic() >= lease_end and not self._accepts_when_stale(follower):
            why = follower.trouble or "the view is not vouched for"
            return Refusal("stale", why, token.id, token.subject)
        return token

    def _accepts_when_stale(self, follower: Follower) -> bool:
        """Where that was set, and the view is one that can be gone by."""
        return self.settings.when_stale == "accept" and follower.may_go_on and not self.closed

    def _first_sight(self, text: str, kind: TokenKind, follower: Follower) -> Seen | Refusal:
        generation = self.keys.generation
        token = self.wire.read(text, kind)
        if isinstance(token, Refusal):
            return token
        if not self._epoch:
            return Refusal("stale", follower.trouble, token.id, token.subject)
        if token.epoch != self._epoch:
            return _of_another_store(token)
        if token.since > follower.view.applied and not self._caught_up(token.since, follower):
            return Refusal("stale", "the token is ahead of this node", token.id, token.subject)
        seen = Seen(
            token,
            recorded=kind == "api" or self.settings.token_store == "session",
            ends_at=self._ends_at(token),
            keys_generation=generation,
        )
        self.remembered.put(text, seen)
        return seen

    def _ends_at(self, token: Token) -> float:
        """When *token* is over by our clock: its expiry, or the end of all renewals."""
        if token.expires_at is None:
            return float("inf")
        end = float(token.expires_at)
        absolute = self.settings.absolute_lifetime
        if token.kind == "login" and absolute is not None:
            end = min(end, token.began_at + absolute)
        return end + SKEW

    def _caught_up(self, seq: int, follower: Follower) -> bool:
        """A login on another node 5 ms ago is normal: wait for the feed a moment."""
        follower.met(seq)
        follower.wake.set()
        return follower.look(lambda: follower.reach(seq))

    def _ask(self, seen: Seen, follower: Follower) -> Refusal | None:
        """Look for the record of *seen* in the store; remember a yes, never a no."""
        token = seen.token
        generation = follower.view.generation
        doubts = self.remembered.doubts
        asked_at = self.clock.monotonic()
        record = follower.look(lambda: self.store.get(token.record_key))
        if record is None:
            return Refusal("revoked", "the store has no record of it", token.id, token.subject)
        try:
            known = with_record(token, from_record(record.value, token.expires_at))
        except NewerForm as error:
            return Refusal("stale", str(error), token.id, token.subject)
        except ValueError:
            known = None
        if known is None:
            return Refusal("invalid", "the record is another token's", token.id, token.subject)
        if known != token:
            seen.token = known
        seen.record_ends = record.expires_at
        if generation == follower.view.generation:
            # (Else a revocation was learnt between the read and here.)
            seen.known_until = asked_at + self.settings.record_cache
            seen.doubts = doubts
        if token.kind == "api":
            follower.soon(lambda: self._note_use(token.id))
        return None

    def _note_use(self, token_id: str) -> None:
        key = use_key(token_id)
        now = self.clock.time()
        last = read_use(self.store.get(key))
        if last is None or now - last > 3600:
            self.store.put(key, json.dumps(int(now)).encode(), now + 400 * 86_400)


def use_key(token_id: str) -> str:
    """Where the store keeps when a token was last used."""
    return "used/" + record_key(token_id).removeprefix("token/")


def read_use(record: Record | None) -> int | None:
    """When a token was last used, as its note says; ``None``: not known."""
    try:
        return None if record is None else int(json.loads(record.value))
    except (ValueError, TypeError):
        return None


def _locked(token: Token, lock: Lock) -> Refusal:
    return Refusal(
        "locked",
        f"lock {lock.seq}",
        token.id,
        token.subject,
        message=lock.message,
        locked_until=lock.ends_at,
    )


def _of_another_store(token: Token) -> Refusal:
    return Refusal("revoked", "issued before the store was replaced", token.id, token.subject)
