"""Authentication: is this text a token, and is it good? The five steps of every request.

A seen token touches neither network nor disk nor cryptography: a dictionary, three clocks, one
number of the view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..clock import SKEW
from ..cluster import NodeRuntime, Strangers
from ..errors import ClusterTokenError, StoreError
from ..events import TokenRefused
from ..revocations import Follower
from ..tokens import NewerForm, Refusal, Token, TokenKind, from_record, spare_of, with_record
from .lifetimes import Lifetimes
from .proving import Proving
from .reuse import Reuse
from .tally import Tally
from .usage import Usage
from .verdict import NOT_READ, Verdict, locked, not_vouched_for, of_another_store
from .verified_cache import Verified, VerifiedTokens

#: What proves a bound login: texts, or what finds them in a request; ``None``: not asked here.
Proofs = Sequence[str] | Callable[[Any], Sequence[str]] | None


class Authentication:
    """Authenticates texts, for one process, and remembers those that it has verified."""

    def __init__(
        self,
        runtime: NodeRuntime,
        verdict: Verdict,
        lifetimes: Lifetimes,
        usage: Usage,
        proving: Proving,
        reuse: Reuse,
    ) -> None:
        self._runtime = runtime
        self._verdict = verdict
        self._proving = proving
        self._all_bound = proving.required
        self._lifetimes = lifetimes
        self._usage = usage
        self._reuse = reuse
        #: How often a text was presented and accepted, and how often it was refused.
        self.accepted: dict[TokenKind, Tally] = {"login": Tally(), "api": Tally()}
        self.not_accepted: dict[TokenKind, Tally] = {"login": Tally(), "api": Tally()}
        self._count = {kind: tally.add for kind, tally in self.accepted.items()}
        self.begin()
        runtime.memories.append(self)

    # -- what is remembered (see cluster.runtime.Memory) -------------------------------

    def begin(self) -> None:
        """Remember nothing. Another follower's answers are never mixed with these."""
        runtime = self._runtime
        #: The texts that were verified.
        self.remembered = VerifiedTokens(runtime.settings.token_cache)
        #: What the cluster knows of keys that this node does not.
        self.strangers = Strangers(runtime.store, runtime.clock)

    def doubt(self) -> None:
        """Ask for every record again."""
        self.remembered.doubt()

    def clear(self) -> None:
        """It was another store that answered."""
        self.remembered.clear()

    def seen(self, token: Token, keys_generation: int) -> Verified:
        """What is to be remembered of *token*, which is genuine by the keys of that generation."""
        return Verified(
            token,
            recorded=self._lifetimes.keeps_record(token),
            ends_at=self._lifetimes.ends_at(token),
            keys_generation=keys_generation,
            copies=self._reuse.copies_of(token),
        )

    # -- asked by each request ---------------------------------------------------------

    def authenticate(
        self,
        text: str,
        kind: TokenKind = "login",
        *,
        strict: bool = False,
        proofs: Proofs = (),
        request: Any = None,
    ) -> Token | Refusal:
        """The token that *text* spells, or why it is refused. Never raises for a store.

        Five steps, the lease's end taken before them and compared with the clock after them.
        *strict* asks the store itself, also for what was seen before. *proofs* are the texts of
        the bound cookie that came with it, or what finds them in *request* if there is need: a
        login that is bound to a device is good with one of them and refused without. ``None``:
        whoever asks has the proof, or asks for it itself.
        *request* is whatever :attr:`.Reuse.agent_of` knows to ask, or :data:`~.reuse.AGAIN`.
        """
        try:
            found = self.judge_once(text, kind, strict, request)
            if isinstance(found, Token) and (found.bound_key or self._all_bound):
                found = self._proven(found, text, proofs, request)
            if isinstance(found, Token):
                self._count[kind]()
                return found
            if found.unknown_key or found.unknown_form:
                found = self.strangers.judge(found, self._runtime.follower())
            elif found.token_id and found.reason == "stale" and self._runtime.store.embedded:
                # One host: whoever can look at the database can vouch for itself. (Only for a
                # text whose signature held: nobody else makes us ask the store.)
                self._runtime.follower().step_now()
                found = self.judge_once(text, kind, strict, request)
                if isinstance(found, Token):
                    found = self._proven(found, text, proofs, request)
        except StoreError as error:
            found = Refusal("stale", f"the store is in trouble: {error}", cause=error)
        except ClusterTokenError as error:
            found = Refusal("stale", str(error), cause=error)
        if isinstance(found, Refusal):
            self.not_accepted[kind].add()
            self.refused(found)
        else:
            self.accepted[kind].add()
        return found

    def _proven(self, token: Token, text: str, proofs: Proofs, request: Any) -> Token | Refusal:
        """*token*, which is good but for the proof of its device; the text was just judged."""
        proving = self._proving
        if not token.bound_key:
            refusal = proving.unbound(token) if self._all_bound else None
            return token if refusal is None else refusal
        keys = self._runtime.keys.generation
        seen = self.remembered.young.get(text)
        if seen is None or seen.keys_generation != keys:
            seen = self.remembered.get(text, keys) or self.seen(token, keys)
        if proofs is not None:
            if callable(proofs):
                proofs = proofs(request)
            if seen.proof not in proofs or self._runtime.clock.time() >= seen.proof_ends:
                # (Else it is the proof that was seen last: what unproven() asks first.)
                refusal = proving.unproven(seen, proofs)
                if refusal is not None:
                    return refusal
            if not seen.succeeded:
                proving.used(seen)
            if seen.copies is not None:
                # (Not before: a copy without its proof is one that nobody uses.)
                self._reuse.used(token, seen.copies, request)
        return token

    def judge_foreign(self, token: Token) -> Token | Refusal:
        """Whether *token*, made by somebody else and verified by the caller, still stands.

        For an adapter that accepts an identity provider's own tokens: the view is asked for its
        id and labels. Marks go by the feed's numbers, which such a token does not carry: with
        :data:`~flask_clustertoken.tokens.UNNUMBERED` as *since* it is covered by none.
        A refusal is not announced here: the adapter may refuse for reasons of its own before or
        after, and whoever asked it announces what came of it, once.
        """
        try:
            refusal = self._verdict.of(token)
            if refusal is not None and refusal.reason == "stale" and self._runtime.store.embedded:
                self._runtime.follower().step_now()
                refusal = self._verdict.of(token)
        except ClusterTokenError as error:
            refusal = Refusal("stale", str(error), token.id, token.subject, cause=error)
        return token if refusal is None else refusal

    def refused(self, refusal: Refusal) -> None:
        """Announce that what a request presented was not accepted, whoever judged it."""
        runtime = self._runtime
        if refusal.reason == "stale" and runtime.following is not None:
            runtime.following.note_state()
        if runtime.events.heard(TokenRefused):
            runtime.events.announce(TokenRefused(refusal))

    def judge_once(
        self, text: str, kind: TokenKind, strict: bool, request: Any = None
    ) -> Token | Refusal:
        """One judgement of *text*, as it is at the moment; :meth:`authenticate` may ask twice."""
        runtime = self._runtime
        follower = runtime.following or runtime.follower()
        clock, store = runtime.clock, runtime.store
        lease_end = follower.lease_end
        now, moment = clock.time(), clock.monotonic()
        # 1 seen before?
        keys = runtime.keys.generation
        cache = self.remembered
        seen = cache.young.get(text)
        if seen is None or seen.keys_generation != keys:
            seen = cache.get(text, keys)
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
        if strict:
            follower.reader.reach_head()
        if seen.recorded and (moment >= seen.known_until or seen.doubts != cache.doubts or strict):
            if (refusal := self._ask(seen, follower, strict, request)) is not None:
                return refusal
            if seen.token is not token:
                token = seen.token
                cache.put(text, seen)  # with its claims it is heavier
        # (an embedded store: nothing was appended that this node has not read)
        view = follower.view
        if store.embedded and (at := store.position()) != view.applied and not follower.reach(at):
            return Refusal("stale", NOT_READ, token.id)
        if runtime.keys.generation != keys:
            # This thread, or another one, has read meanwhile that a key was dropped, perhaps
            # the one of this text.
            return self.judge_once(text, kind, strict, request)
        # 4 revoked? (From here on it is what Verdict.of says, and a test holds them together.)
        generation = view.generation
        if seen.checked != generation:
            if token.epoch != runtime.epoch:
                return of_another_store(token)
            lock = view.lock_on(token, now, seen.keys)
            if lock is not None:
                return locked(token, lock)
            if view.covers(token, seen.keys):
                return Refusal("revoked", "a revocation covers it", token.id, token.subject)
            seen.checked = generation
        # 5 view fresh? (Also where another thread has read meanwhile that the store is sealed.)
        over = view.broken or clock.monotonic() >= lease_end
        if over and not self._verdict.goes_on(follower):
            return not_vouched_for(token, follower)
        return token

    def _first_sight(self, text: str, kind: TokenKind, follower: Follower) -> Verified | Refusal:
        runtime = self._runtime
        generation = runtime.keys.generation
        token = runtime.wire.read(text, kind)
        if isinstance(token, Refusal):
            return token
        if not runtime.epoch:
            return Refusal("stale", follower.trouble, token.id, token.subject)
        if token.epoch != runtime.epoch:
            return of_another_store(token)
        if token.since > follower.view.applied and not self._caught_up(token.since, follower):
            return Refusal("stale", "the token is ahead of this node", token.id, token.subject)
        seen = self.seen(token, generation)
        self.remembered.put(text, seen)
        return seen

    def _caught_up(self, seq: int, follower: Follower) -> bool:
        """A login on another node 5 ms ago is normal: wait for the feed a moment."""
        follower.met(seq)
        follower.wake.set()
        return follower.look(lambda: follower.reach(seq))

    def _ask(
        self, seen: Verified, follower: Follower, strict: bool, request: Any
    ) -> Refusal | None:
        """Look for the record of *seen* in the store; remember a yes, never a no."""
        runtime, token = self._runtime, seen.token
        copies = None if token.bound_key else seen.copies
        generation = follower.view.generation
        doubts = self.remembered.doubts
        asked_at = runtime.clock.monotonic()
        known = not strict and seen.doubts == doubts and asked_at < seen.record_known_until
        if copies is not None and known:
            # (What has come is not the time to ask again, but to note that the copy is used.)
            self._reuse.used(token, copies, request)
            seen.rest(seen.record_known_until)
            return None
        record = follower.look(lambda: runtime.store.get(token.record_key))
        if record is None:
            return Refusal("revoked", "the store has no record of it", token.id, token.subject)
        try:
            whole = with_record(token, from_record(record.value, token.expires_at))
        except NewerForm as error:
            return Refusal("stale", str(error), token.id, token.subject)
        except ValueError:
            whole = None
        if whole is None:
            return Refusal("invalid", "the record is another token's", token.id, token.subject)
        if whole != token:
            seen.token = whole
        seen.record_ends = record.expires_at
        if seen.spare is None:
            seen.spare = spare_of(record.value, self._lifetimes.spare)
        if generation == follower.view.generation:
            # (Else a revocation was learnt between the read and here.)
            seen.rest(asked_at + runtime.settings.record_cache)
            seen.doubts = doubts
        if copies is not None:
            self._reuse.used(token, copies, request)
            seen.rest(seen.record_known_until)
        if token.kind == "api":
            follower.soon(lambda: self._usage.note(token.id))
        return None
