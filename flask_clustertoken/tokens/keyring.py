"""Keys: which secrets this node holds, and which of them signs.

Files and settings hold the keys; the cluster store holds only their fingerprints with a
state. The one marked ``signing`` signs; without any mark the first one does. A text names
its key by the fingerprint, so that no key has to be tried in vain.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Literal

from ..clock import Clock
from ..errors import ConfigurationError, KeyMissing, StoreDamaged
from .keyfile import KeyFile, fingerprint, new_secret
from .refusals import Refusal
from .token import TokenKind

logger = logging.getLogger("flask_clustertoken")

#: Where the store keeps the states.
RING_KEY = "keys/ring"

#: Seconds between two looks at the file because of a key that we do not know.
LOOK_AGAIN = 1.0

#: A key with fewer characters is warned about.
ADVISED_LENGTH = 32

KeyState = Literal["staged", "signing", "verifying", "api", "dropped"]
STATES: tuple[KeyState, ...] = ("staged", "signing", "verifying", "api", "dropped")


class KeyRing:
    """The keys of one node and what the cluster says of them.

    :attr:`generation` moves whenever the set of keys or their states change: whatever was
    remembered of a verified text is worth nothing then. No generation comes again, however many
    threads change something at once: it would bring back what was verified before a key was
    dropped. So a change is one step, under a lock that nobody holds while a file or the store is
    read; the dictionaries are replaced and never changed in place, so that readers need none.
    """

    def __init__(
        self, secrets_: tuple[str, ...] = (), file: KeyFile | None = None, *, clock: Clock
    ) -> None:
        self.file = file
        self.generation = 0
        self._clock = clock
        self._lock = threading.Lock()
        #: How often states were taken over.
        self.loads = 0
        self._states: dict[str, KeyState] = {}
        self._stamp: tuple[int, ...] = ()
        self._looked = clock.monotonic() - LOOK_AGAIN
        self._keys: dict[str, bytes] = {}
        self._take(secrets_)
        self.reread()

    def _take(self, keys: tuple[str, ...], stamp: tuple[int, ...] = ()) -> None:
        """*keys* are those of the file that bore *stamp*: both become known in one step, else the
        slower of two threads would put an older content under the newer stamp."""
        found = {fingerprint(one): one.encode() for one in keys}
        with self._lock:
            self._stamp = stamp
            if list(found) == list(self._keys):
                return
            self._keys = found
            self.generation += 1
        for key_id, secret in found.items():
            if len(secret) < ADVISED_LENGTH:
                logger.warning(
                    "key %s has fewer than %d characters; replace it by one made with "
                    "'flask tokens keys stage'",
                    key_id,
                    ADVISED_LENGTH,
                )

    def reread(self) -> None:
        """Read the file again if it changed. What is unreadable leaves the keys as they are."""
        if self.file is None or (stamp := self.file.stamp()) == self._stamp:
            return
        try:
            found = self.file.read()
        except ConfigurationError as error:
            if not self._keys:
                raise
            logger.error("the keys stay as they were: %s", error)
            found = ()
        if found or not self._keys:
            self._take(found, stamp)
        else:
            self._stamp = stamp

    def create(self) -> None:
        """First start on an embedded store: write a key if there is none."""
        if not self._keys:
            if self.file is not None:
                # (The stamp of before: if it was changed meanwhile, it is read again.)
                self._take(self.file.create())
            else:
                self._take((new_secret(),))

    def load_states(self, ring: bytes | None, since: int | None = None) -> bool:
        """Take over the states that the store holds (``None``: it holds none).

        *since* is what :attr:`loads` was before they were read. ``False``, and nothing is done,
        where another thread has taken over some meanwhile: these may be older, and a key that
        was dropped would verify again. Whoever is told so reads once more.
        """
        states = ring_states(ring)
        with self._lock:
            if since is not None and since != self.loads:
                return False
            self.loads += 1
            if states != self._states:
                self._states = states
                self.generation += 1
        return True

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @property
    def states(self) -> Mapping[str, KeyState]:
        return self._states

    @property
    def held(self) -> list[str]:
        """The fingerprints of the keys on this node."""
        return list(self._keys)

    def signing(self) -> tuple[str, bytes]:
        """Id and secret of the signing key; :class:`KeyMissing` where it is not here."""
        states, keys = self._states, self._keys
        marked = [key_id for key_id, state in states.items() if state == "signing"]
        usable = marked or [one for one in keys if one not in states] or [""]
        key_id = usable[0]
        if key_id not in keys:
            self.reread()
            keys = self._keys
        if key_id not in keys:
            raise KeyMissing(
                f"the signing key {key_id} is not on this node; copy the key file from a host "
                "that has it"
                if key_id
                else "this node has no key; set SECRET or SECRET_FILE"
            )
        return key_id, keys[key_id]

    def verifying(self, key_id: str, kind: TokenKind) -> bytes | Refusal:
        """The secret to check a text with, or why such texts are refused.

        An unknown key makes this node read its file again, at most once a second; a key that
        stays unknown is ``stale``, since it may be one that has not been copied here yet. (What
        nobody knows is found out by :mod:`~flask_clustertoken.cluster.strangers`.)
        """
        secret = self._keys.get(key_id)
        if secret is None and self._may_look():
            self.reread()
            secret = self._keys.get(key_id)
        state = self._states.get(key_id)
        if state == "dropped":
            return Refusal("invalid", f"key {key_id} was dropped")
        if secret is None:
            why = f"key {key_id} is not on this node"
            return Refusal("stale", why, unknown_key=key_id)
        if state == "api" and kind != "api":
            return Refusal("invalid", f"key {key_id} verifies API tokens only")
        return secret

    def _may_look(self) -> bool:
        now = self._clock.monotonic()
        if self.file is None or now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        return True


def ring_states(ring: bytes | None) -> dict[str, KeyState]:
    """The states in a stored ring, in their order."""
    if ring is None:
        return {}
    try:
        data = json.loads(ring)
        states = dict(data["states"])
        if data.get("format", 1) > 1 or not set(STATES).issuperset(states.values()):
            raise ValueError("written by a newer version")
    except (ValueError, TypeError, KeyError) as error:
        # Not "no states": a key that was dropped would sign and verify again.
        raise StoreDamaged("the states of the keys in the store cannot be read") from error
    return states


def ring_since(ring: bytes | None) -> dict[str, float]:
    """Since when (wall clock, seconds) each key has had its state, as far as it is known."""
    return {} if ring is None else dict(json.loads(ring).get("since", {}))


def ring_change(ring: bytes | None) -> int:
    """How often the ring was changed: what a conditional change goes by."""
    return 0 if ring is None else int(json.loads(ring).get("change", 0))


def ring_bytes(
    states: Mapping[str, KeyState], since: Mapping[str, float] | None = None, change: int = 0
) -> bytes:
    """What the store keeps: the states, since when each holds, and the number of this change."""
    body = {"format": 1, "states": dict(states), "since": dict(since or {}), "change": change}
    return json.dumps(body).encode()
