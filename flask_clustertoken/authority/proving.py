"""Proving: a login that is bound to a key is good only where its browser has that key.

What it proves it with is the text of a second, short cookie: a note that names the token's id,
the key, and its end. Whoever signs a challenge with the key is given the next one (the room
``binding``, for browsers that speak DBSC); here it is judged, whether that room is loaded or not.
A pair of texts that was seen before costs no signature and no store.

The unbound login, of which a copy may have been taken, ends with the first use of the bound one:
a registration whose answer was lost throws nobody out. Requests that were under way at that
moment still carry the old cookie, so the end comes :data:`OLD_LOGIN_GRACE` seconds later, by the
process that saw the use. If that one dies first, the next use anywhere is a first one, too; and
of a login that is older than any registration nobody waits for a request.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..clock import SKEW
from ..cluster import NodeRuntime
from ..errors import ClusterTokenError, Conflict
from ..events import NodeLeaving
from ..stores.base import Delete, Require
from ..tokens import Notes, Refusal, Token, record_key
from .lifetimes import Lifetimes
from .revoking import Revoking
from .verified_cache import Verified

logger = logging.getLogger("flask_clustertoken")

#: Seconds for which a challenge is good.
CHALLENGE_LIFE = 60

#: Seconds from the first use of a bound login to the end of the unbound one.
OLD_LOGIN_GRACE = 5.0

#: Seconds for which a new login may be unbound where it has to be bound: until its browser has
#: made a key (a TPM takes its time) and registered it.
UNBOUND_GRACE = 10.0

#: Seconds before its own end at which a bound cookie is over for the browser, at most: what it
#: still sends arrives in time.
EARLY = 10

#: Seconds that a step may spend on ending logins.
PATIENCE = 1.0

_PURPOSE = "bound"


class Proving:
    """Judges whether bound logins are proven, and writes the texts that prove it."""

    def __init__(self, runtime: NodeRuntime, revoking: Revoking, lifetimes: Lifetimes) -> None:
        self._runtime = runtime
        self._revoking = revoking
        self._lifetimes = lifetimes
        self.notes = Notes(runtime.keys, realm=runtime.settings.realm)
        #: Every login has to be bound.
        self.required = runtime.settings.device_bound == "require"
        #: Unbound logins that end soon, by id: the bound ones, and when (monotonic).
        self._ending: dict[str, tuple[Verified, float]] = {}
        runtime.after_step.append(self.end_due)
        runtime.events.listen(NodeLeaving, lambda _: self.end_due(leaving=True))
        runtime.memories.append(self)

    # -- what is remembered (see cluster.runtime.Memory) -------------------------------

    def begin(self) -> None:
        """In a fork's child: the parent ends them."""
        self._ending = {}

    def doubt(self) -> None:
        """Nothing here is an answer of the store."""

    def clear(self) -> None:
        self._ending = {}

    # -- proofs ------------------------------------------------------------------------

    @property
    def tolerance(self) -> float:
        """Seconds by which the clocks of two nodes may differ; one host has one clock."""
        return 0.0 if self._runtime.store.embedded else SKEW

    def proof(self, token: Token) -> tuple[str, int]:
        """The text that proves the bound *token* from now on, and the seconds it is to be kept.

        For whoever has just seen the proof itself.
        """
        life = self._runtime.settings.bound_lifetime
        ends_at = int(self._runtime.clock.time()) + life
        text = self.notes.write(_PURPOSE, (token.id, token.bound_key), ends_at)
        return text, life - min(EARLY, life // 4)

    def unproven(self, seen: Verified, proofs: Sequence[str]) -> Refusal | None:
        """Why none of *proofs* is good for the bound login *seen*; ``None``: one is."""
        now = self._runtime.clock.time()
        if seen.proof in proofs and now < seen.proof_ends:
            return None
        token, refusal = seen.token, None
        for text in proofs:
            note = self.notes.read(_PURPOSE, text)
            if isinstance(note, Refusal):
                if note.reason == "stale":
                    refusal = note
                continue
            if note.said != (token.id, token.bound_key):
                continue
            if now < note.ends_at + self.tolerance:
                seen.proof, seen.proof_ends = text, note.ends_at + self.tolerance
                return None
        if refusal is not None:
            return refusal
        why = "the bound cookie is over, or another login's" if proofs else "no bound cookie"
        return Refusal("unproven", why, token.id, token.subject)

    def proven_until(self, token: Token, proofs: Sequence[str]) -> float:
        """Until when (seconds since 1970) one of *proofs* is good for the bound *token*, by the
        clock of whoever wrote it; 0: none is."""
        notes = (self.notes.read(_PURPOSE, text) for text in proofs)
        return max(
            (
                note.ends_at
                for note in notes
                if not isinstance(note, Refusal) and note.said == (token.id, token.bound_key)
            ),
            default=0,
        )

    def unbound(self, token: Token) -> Refusal | None:
        """Why *token* is refused where logins have to be bound; ``None``: it is, or it is new.

        Only logins of ours are concerned, neither API tokens nor another issuer's.
        """
        if self._runtime.clock.time() < self.unbound_until(token):
            return None
        return Refusal("unbound", "the login is not bound to a device", token.id, token.subject)

    def unbound_until(self, token: Token) -> float:
        """Until when (seconds since 1970) :meth:`unbound` lets *token* pass as it is."""
        if token.bound_key or token.kind != "login" or token.epoch == "":
            return float("inf")
        return token.issued_at + UNBOUND_GRACE + self.tolerance

    # -- the end of the unbound login --------------------------------------------------

    def used(self, seen: Verified) -> None:
        """The bound login *seen* is used: the one that it took the place of ends. Never raises."""
        if seen.succeeded:
            return
        token, runtime = seen.token, self._runtime
        if runtime.follower().view.covers_id(token.succeeds, token.since):
            seen.succeeded = True
        elif runtime.clock.time() < token.issued_at + CHALLENGE_LIFE + self.tolerance:
            due = runtime.clock.monotonic() + OLD_LOGIN_GRACE
            self._ending.setdefault(token.succeeds, (seen, due))
        else:
            # (A registration that long ago: no request of then is still under way.)
            self._ending.setdefault(token.succeeds, (seen, float("-inf")))
            self.end_due()

    def end_due(self, leaving: bool = False) -> None:
        """End those unbound logins whose time has come; before *leaving*, all."""
        if not self._ending:
            return
        now = self._runtime.clock.monotonic()
        for token_id, (seen, due) in list(self._ending.items()):
            if due > now and not leaving:
                continue
            if self._runtime.clock.monotonic() - now > PATIENCE:
                break  # (The rest with the next step: a slow store must not cost the lease too.)
            try:
                self._end(token_id, seen.token.since)
            except ClusterTokenError as error:
                logger.warning("an unbound login could not be ended yet: %s", error)
                self._ending[token_id] = (seen, now + OLD_LOGIN_GRACE)
            else:
                seen.succeeded = True
                self._ending.pop(token_id, None)

    def _end(self, token_id: str, since: int) -> None:
        """One step, with its record where it has one; that it is gone already is as good."""
        if self._runtime.follower().view.covers_id(token_id, since):
            return
        recorded = self._lifetimes.records_logins
        named = [token_id]
        entry = self._revoking.entry_of_ids(named, recorded=recorded)
        if not recorded:
            self._revoking.revoke(entry, named=named, logins=named)
            return
        key = record_key(token_id)
        if self._runtime.store.get(key) is None:
            return
        try:
            self._revoking.revoke(entry, [Require(key), Delete(key)], named=named, logins=named)
        except Conflict:
            logger.debug("another node has ended it meanwhile")
