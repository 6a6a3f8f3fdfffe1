"""Verdict: whether a token stands, by what this node knows.

Three things are asked: is the feed read to its end (where that costs nothing), is the token
covered, is the view vouched for. The lease's end is taken before the view is asked and compared
with the clock after it: so no answer is older than the lease allows, however long it took.

Every place that needs to know asks here. One writes the same out by hand, since it does so for
each request: :meth:`.Authentication.judge_once`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..cluster import NodeRuntime
from ..errors import StoreNotOpen
from ..revocations import Follower, Lock, Place
from ..tokens import Refusal, Token

#: What is said where this node could not read on.
NOT_READ = "the feed has not been read to its end"


class Verdict:
    """Judges tokens that are known to be genuine, for one process."""

    def __init__(self, runtime: NodeRuntime) -> None:
        self._runtime = runtime

    def of(self, token: Token) -> Refusal | None:
        """Why *token* is refused at the moment; ``None``: it stands.

        Raises :class:`~flask_clustertoken.errors.StoreError` where an embedded store is in
        trouble. No other store is asked.
        """
        runtime = self._runtime
        store, follower = runtime.store, runtime.follower()
        lease_end = follower.lease_end
        if (
            store.embedded
            and store.position() != follower.view.applied
            and not follower.reach(store.position())
        ):
            return Refusal("stale", NOT_READ, token.id)
        ended = self.ended(token)
        if ended is not None:
            return ended
        over = follower.view.broken or runtime.clock.monotonic() >= lease_end
        if over and not self.goes_on(follower):
            return not_vouched_for(token, follower)
        return None

    def ended(self, token: Token, keys: Iterable[int] | None = None) -> Refusal | None:
        """Why *token* is over, by the view as it stands; ``None``: it is not known to be.

        Whoever needs more than what is known looks first: :meth:`catch_up`. *keys* are its
        :func:`~flask_clustertoken.tokens.view_keys`, if at hand. (A token of another issuer has no
        epoch; only its id and its labels can be revoked.)
        """
        runtime = self._runtime
        lock = runtime.follower().view.lock_on(token, runtime.clock.time(), keys)
        return self.covered(token, keys) if lock is None else locked(token, lock)

    def covered(self, token: Token, keys: Iterable[int] | None = None) -> Refusal | None:
        """As :meth:`ended`, but a lock that may be taken away again is none of its reasons."""
        runtime = self._runtime
        if token.epoch not in ("", runtime.epoch):
            return of_another_store(token)
        if runtime.follower().view.covers(token, keys):
            return Refusal("revoked", "a revocation covers it", token.id, token.subject)
        return None

    def goes_on(self, follower: Follower) -> bool:
        """Whether a stale view is gone by: where that was set, and it is one that can be."""
        runtime = self._runtime
        return runtime.settings.when_stale == "accept" and follower.may_go_on and not runtime.closed

    # -- where the view stands ---------------------------------------------------------

    def position(self, since: int = 0) -> Place:
        """Where the view stands; read on where that is before *since*. Asks no server to write."""
        follower = self._runtime.follower()
        if follower.view.applied < since:
            follower.follow()
        if follower.view.broken:
            raise StoreNotOpen(follower.view.broken)
        return follower.reader.place()

    def catch_up(self, since: int = 0) -> Place:
        """The head, up to which the view was read; :class:`StoreUnavailable` where it cannot be.

        :class:`ValueError` where *since* is a number that this store never gave.
        """
        reader = self._runtime.follower().reader
        if since > reader.reach_head():
            raise ValueError("since is not what login_begins() of this store returned")
        return reader.place()


def locked(token: Token, lock: Lock) -> Refusal:
    """*lock* refuses *token* until its end."""
    return Refusal(
        "locked",
        f"lock {lock.seq}",
        token.id,
        token.subject,
        message=lock.message,
        locked_until=lock.ends_at,
    )


def of_another_store(token: Token) -> Refusal:
    """*token* was made before the store was replaced."""
    return Refusal("revoked", "issued before the store was replaced", token.id, token.subject)


def not_vouched_for(token: Token, follower: Follower) -> Refusal:
    """Nobody can say of *token* at the moment."""
    why = follower.trouble or "the view is not vouched for"
    return Refusal("stale", why, token.id, token.subject)
