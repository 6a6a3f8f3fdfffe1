"""Strangers: texts of a key, or of a form, that this node does not know. Does anybody?

Where another node has the key it is a good login that is met in the wrong place, or too early:
``stale``, to be tried again. A key that nobody has verifies nothing anywhere, however often it
is tried: a replaced secret, a key that each worker makes for itself, the cookie of another app
on the same host name (ports share cookies), a text written by hand. That is ``invalid``: the
visitor signs in again. The cookie is kept either way.

Nothing of a text is remembered here, only what the cluster knows, so that a flood of made-up
keys takes no memory. One look at the store answers for all of them; what comes faster than
looks may be made goes by the last one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..clock import Clock
from ..revocations import Follower
from ..stores.base import ClusterStore
from ..tokens import RING_KEY, Refusal, ring_states
from .nodes import Node, this_host
from .sightings import seen_lately

logger = logging.getLogger("flask_clustertoken")

#: Seconds between two looks, and how many more for each listed node: each of them may be asked
#: by its visitors to read the entries of all others.
LOOK_AGAIN = 1.0
FOR_EACH_NODE = 0.1

#: Seconds between two lines of the log on the same subject.
SAY_AGAIN = 60.0

ADVICE = (
    "If SECRET was replaced, keep the old key behind the new one until its logins are over; if "
    "another app answers under this host name, on whichever port, give each its own COOKIE_NAME; "
    "if the key is made anew by each worker, make it once"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the cluster knew at one look: keys with who knows them, and the highest form."""

    keys: Mapping[str, str]
    form: int
    nodes: int


class Strangers:
    """Tells ``stale`` from ``invalid``, for one process."""

    def __init__(self, store: ClusterStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: The last look's answer, ``None`` where it failed.
        self.known: Known | None = None
        self._next = float("-inf")
        #: Held by whoever looks; nobody waits for it.
        self._looking = threading.Lock()
        self._said: dict[str, float] = {}

    def judge(self, refusal: Refusal, follower: Follower) -> Refusal:
        """*refusal* as it is where somebody knows the key or form, or where that is not known.

        Raises :class:`~flask_clustertoken.errors.StoreError` where the look fails.
        """
        known = self._look(follower)
        if known is None or not follower.fresh:
            return refusal
        if refusal.unknown_form:
            what = f"form {refusal.unknown_form}"
            who = "a node that runs a newer version" if refusal.unknown_form <= known.form else ""
            remedy = "Install the newer version here too"
        else:
            what = f"key {refusal.unknown_key}"
            who = known.keys.get(refusal.unknown_key, "")
            remedy = "All nodes need the same keys: copy the key file, or set SECRET alike"
            if who.startswith(f"{this_host()}:"):
                remedy = "Workers of one host differ: is it made anew by each worker? Make it once"
        if who:
            what += f" came, which {who} knows and this node does not"
            self._say("stale", f"a token of {what}", remedy)
            return refusal
        self._say("invalid", f"a token of {what} came, which nobody in this cluster knows", ADVICE)
        return replace(refusal, reason="invalid", detail=f"nobody knows {what}")

    def _look(self, follower: Follower) -> Known | None:
        """What the cluster knows; the read began after the text came, unless that is too soon."""
        if self._too_soon() or not self._looking.acquire(blocking=False):
            return self.known
        try:
            if self._too_soon():  # (another thread has just looked)
                return self.known
            return self._look_now(follower)
        finally:
            self._looking.release()

    def _too_soon(self) -> bool:
        return self._clock.monotonic() < self._next

    def _look_now(self, follower: Follower) -> Known:
        found = None
        try:
            if self._store.embedded:
                follower.step_now()
            found = self._read()
            return found
        finally:
            # (Trouble is no answer, and an old one would go on saying that nobody knows.)
            self.known = found
            nodes = 0 if found is None else found.nodes
            self._next = self._clock.monotonic() + LOOK_AGAIN + FOR_EACH_NODE * nodes

    def _read(self) -> Known:
        # The list first: whoever is not in it any more has left its note before (see sightings).
        nodes = [Node.decode(one) for one in self._store.nodes()]
        ring = self._store.get(RING_KEY)
        known = dict.fromkeys(seen_lately(self._store), "a node that left a few minutes ago")
        for key_id, state in ring_states(ring.value if ring is not None else None).items():
            if state == "dropped":
                known.pop(key_id, None)
            else:
                known[key_id] = "the store"
        for node in nodes:
            known |= dict.fromkeys(node.keys, node.name)
        return Known(known, max((node.reads_tokens for node in nodes), default=0), len(nodes))

    def _say(self, subject: str, what: str, remedy: str) -> None:
        now = self._clock.monotonic()
        if now < self._said.get(subject, now):
            return
        self._said[subject] = now + SAY_AGAIN
        logger.warning("%s. %s.", what, remedy)
