"""Rotation: a new key for the whole realm in stages, without a restart and without a log-out.

``stage`` a new key and copy the file to the other hosts; ``sign`` with it once every live node
has it; ``retire`` the old one once no login that it signed can be alive. What is left are API
tokens: ``drop`` ends them too. Each stage refuses, and says why, while it would hurt somebody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..authority import TokenAuthority, TokenFilter
from ..cluster import Node, present
from ..errors import ConfigurationError, Conflict
from ..events import KeyChanged
from ..revocations import BEYOND, FeedEntry
from ..settings import PREFIX
from ..stores import Lease
from ..stores.base import Add, ClusterStore, Put
from ..tokens import (
    RING_KEY,
    KeyFile,
    KeyState,
    fingerprint,
    new_secret,
    ring_bytes,
    ring_change,
    ring_since,
    ring_states,
)
from .stages import (
    KeyStatus,
    Retired,
    Ring,
    RotationRefused,
    Staged,
    not_to_drop,
    not_to_retire,
    not_to_sign,
)

#: Held by whoever is changing keys, for at most so many seconds.
LEASE = "lease/keys"
LEASE_FOR = 60.0

#: Seconds for which the number of a change cannot be used again.
CHANGE_KEPT = 86_400.0

#: API tokens that end in one step.
AT_ONCE = 100


def first_key(store: ClusterStore, file: KeyFile) -> Staged:
    """Make the key file of a realm that has no key yet; the store is asked, and not begun.

    Raises :class:`RotationRefused` where the realm signs with a key already: a file with
    another one, copied to the other hosts, would log everybody out.
    """
    if store.begun():
        record = store.get(RING_KEY)
        marked = ring_states(record.value if record is not None else None)
        there = [one.node for one in present(store)]
        used = [*marked, *(key_id for node in there for key_id in node.keys)]
        if used:
            who = f"{there[0].name} has" if there else "the store names"
            raise RotationRefused(
                f"this is not the realm's first key: {who} {used[0]} already; copy the key file "
                f"from a host that has it to {file.path}"
            )
    keys = file.create()
    if not keys:  # the file was there, and empty
        file.append(new_secret())
        keys = file.read()
    return Staged(fingerprint(keys[0]), str(file.path), (), first=True)


class Rotation:
    """The stages, over a (passive) *authority* that was given this host's keys."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority
        self._clock = authority.clock
        self._store = authority.store
        self._keys = authority.keys
        self._lease = Lease(self._store, LEASE, clock=self._clock)

    # -- looking -----------------------------------------------------------------------

    def statuses(self, *, count: bool = True) -> list[KeyStatus]:
        """Every key that this host, a live node, the store or an API token names.

        *count* ``False``: API tokens are not counted, for which every record is read.
        """
        ring = self._read()
        nodes = self.live_nodes()
        counts = self._api_counts() if count else Counter()
        now = self._clock.time()
        holds = ring
        if not ring.signing and self._keys.held:
            holds = self._implied(self._read(), self._keys.signing()[0])
        known = [*ring.states, *self._keys.held, *(key for node in nodes for key in node.keys)]
        found = []
        for key_id in dict.fromkeys([*known, *counts]):
            state = ring.states.get(key_id, "unmarked")
            over = self._logins_over(holds, key_id)
            found.append(
                KeyStatus(
                    id=key_id,
                    state=state,
                    since=ring.since.get(key_id),
                    here=key_id in self._keys.held,
                    on=tuple(node.name for node in nodes if key_id in node.keys),
                    lacking=tuple(node.name for node in nodes if key_id not in node.keys),
                    api_tokens=counts[key_id] if count else None,
                    logins_over=over if state == "verifying" else None,
                    not_sign=not_to_sign(holds, nodes, self._keys.held, key_id),
                    not_retire=not_to_retire(holds, nodes, key_id, over, now),
                    not_drop=not_to_drop(holds, nodes, key_id),
                )
            )
        return found

    def find(self, text: str) -> str:
        """The one known fingerprint that begins with *text*."""
        known = {*self._read().states, *self._keys.held}
        known |= {key for node in self.live_nodes() for key in node.keys}
        found = [one for one in sorted(known) if text and one.startswith(text.lower())]
        if len(found) != 1:
            raise RotationRefused(
                "several keys begin with this; write more of the fingerprint"
                if found
                else "no key has this fingerprint; see: flask tokens keys list"
            )
        return found[0]

    def live_nodes(self) -> list[Node]:
        return [one.node for one in self._authority.nodes() if not one.silent]

    def api_tokens(self, key_id: str) -> list[str]:
        """The ids of the live API tokens whose records name this key."""
        wanted = TokenFilter(kinds=("api",), key_id=key_id)
        return [one.id for one in self._authority.selecting.every(wanted)]

    def _api_counts(self) -> Counter[str]:
        programs = self._authority.selecting.every(TokenFilter(kinds=("api",)))
        return Counter(one.key_id for one in programs)

    def _read(self) -> Ring:
        self._authority.follower()
        record = self._store.get(RING_KEY)
        raw = record.value if record is not None else None
        return Ring(ring_states(raw), ring_since(raw), ring_change(raw))

    def _logins_over(self, ring: Ring, key_id: str) -> float:
        """No login that *key_id* signed is alive after this.

        A node may have gone on signing with it for as long as a node may be stale at all.
        """
        stopped = ring.since.get(key_id, self._clock.time())
        view = self._authority.follower().view
        longest = max(view.longest(self._clock.time()), float(self._authority.settings.lifetime))
        return stopped + longest + BEYOND

    # -- the stages --------------------------------------------------------------------

    def stage(self) -> Staged:
        """Make a key, append it to this host's file, and mark it ``staged``.

        Raises :class:`ConfigurationError` with the way to do it by hand where the keys are in
        the settings, not in a file.
        """
        file = self._keys.file
        if file is None:
            raise ConfigurationError(
                PREFIX + "SECRET",
                "the keys stand in the settings, so that a new one cannot be written here.",
                "By hand: make one with python -c 'import secrets; print(secrets.token_hex(32))', "
                "append it as the last key of SECRET on every host, restart the nodes one by one, "
                "and run 'keys sign' with its fingerprint, which 'keys list' shows.",
            )
        with self._alone():
            ring = self._begun()
            secret = new_secret()
            key_id = fingerprint(secret)
            # The file first: a staged key that nobody has would only be in the way.
            file.append(secret)
            self._keys.reread()
            ring.mark(key_id, "staged", self._clock.time())
            self._write(ring)
            self._tell(key_id, "staged")
        hosts = sorted({node.host for node in self.live_nodes()})
        return Staged(key_id, str(file.path), tuple(hosts))

    def sign(self, text: str) -> str:
        """Let every node sign with this key from now on; returns the one that signed before.

        Raises :class:`RotationRefused` unless each live node has it.
        """
        key_id = self.find(text)
        with self._alone():
            ring = self._begun()
            _require(not_to_sign(ring, self.live_nodes(), self._keys.held, key_id))
            now = self._clock.time()
            before = ring.signing
            if before:
                ring.mark(before, "verifying", now)
            ring.mark(key_id, "signing", now)
            self._write(ring)
            if before:
                self._tell(before, "verifying")
            self._tell(key_id, "signing")
        return before

    def retire(self, text: str, *, api_only: bool = False, force_logout: bool = False) -> Retired:
        """Let a key verify no logins any more: API tokens only, or nothing if there are none.

        Raises :class:`RotationRefused` while it signs, and while a login that it signed may be
        alive unless *force_logout* says that those may end.
        """
        key_id = self.find(text)
        with self._alone():
            ring = self._begun()
            over, now = self._logins_over(ring, key_id), self._clock.time()
            _require(not_to_retire(ring, self.live_nodes(), key_id, over, now, force=force_logout))
            count = len(self.api_tokens(key_id))
            new: KeyState = "api" if count or api_only else "dropped"
            ring.mark(key_id, new, now)
            self._write(ring)
            self._tell(key_id, new)
            removed = new == "dropped" and self._remove(key_id)
        return Retired(key_id, new, count, removed)

    def drop(self, text: str) -> Retired:
        """End everything that a key signed, API tokens by name; again is fine.

        First no node accepts the key any more, then the records go: an interrupted drop is
        finished by the next one.
        """
        key_id = self.find(text)
        with self._alone():
            ring = self._begun()
            _require(not_to_drop(ring, self.live_nodes(), key_id))
            doomed = self.api_tokens(key_id)
            if ring.states.get(key_id) != "dropped":
                ring.mark(key_id, "dropped", self._clock.time())
                self._write(ring)
                self._tell(key_id, "dropped")
            removed = self._remove(key_id)
        for start in range(0, len(doomed), AT_ONCE):
            self._authority.revoke_ids(doomed[start : start + AT_ONCE])
        return Retired(key_id, "dropped", len(doomed), removed)

    # -- parts -------------------------------------------------------------------------

    def _begun(self) -> Ring:
        """The ring, begun where there is none: the key that signs now is the signing one."""
        ring = self._read()
        if ring.signing:
            return ring
        mine = self._keys.signing()[0]
        other = [node for node in self.live_nodes() if node.signing not in ("", mine)]
        if other:
            raise RotationRefused(
                f"this host would sign with key {mine}, but {other[0].name} signs with "
                f"{other[0].signing}; make the keys agree first"
            )
        return self._implied(ring, mine)

    def _implied(self, ring: Ring, signing: str) -> Ring:
        """What holds where the store says nothing yet: *signing* signs, and others verify."""
        now = self._clock.time()
        for key_id in self._keys.held:
            if key_id not in ring.states:
                # When an older one stopped signing nobody knows: count from now.
                ring.mark(key_id, "verifying", now)
        ring.mark(signing, "signing", now)
        return ring

    def _write(self, ring: Ring) -> None:
        now = self._clock.time()
        ring.change += 1
        # Of two who read the same ring, only one can take the next number.
        once = Add(f"lease/keys-{ring.change}", b"", now + CHANGE_KEPT)
        put = Put(RING_KEY, ring_bytes(ring.states, ring.since, ring.change), None)
        try:
            feed_entry, conditions = FeedEntry("keys", now), [*self._lease.needed(), once]
            self._authority.publisher.append(feed_entry, [*conditions, put])
        except Conflict as error:
            raise RotationRefused(
                "somebody else changed the keys at this moment; look at 'keys list' and repeat"
            ) from error

    def _tell(self, key_id: str, state: KeyState) -> None:
        self._authority.events.announce(KeyChanged(key_id, state))

    def _remove(self, key_id: str) -> bool:
        return self._keys.file is not None and self._keys.file.remove(key_id)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._authority.follower()
        if not self._lease.take(LEASE_FOR):
            raise RotationRefused(
                "somebody else is changing the keys at this moment; repeat it in a minute or two"
            )
        try:
            yield
        finally:
            self._lease.give()


def _require(hindrance: str) -> None:
    if hindrance:
        raise RotationRefused(hindrance)
