"""Rotation: a new key for the whole realm in stages, without a restart and without a log-out.

``stage`` a new key and copy the file to the other hosts; ``sign`` with it once every live node
has it; ``retire`` the old one once no login that it signed can be alive. What is left are API
tokens: ``drop`` ends them too. Each stage refuses, and says why, while it would hurt somebody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..authority import TokenAuthority
from ..clock import SKEW
from ..cluster import Node, present
from ..errors import ClusterTokenError, ConfigurationError, Conflict
from ..events import KeyChanged
from ..revocations import FeedEntry
from ..settings import PREFIX, STALENESS_LIMIT
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

#: Held by whoever is changing keys, for at most so many seconds.
LEASE = "lease/keys"
LEASE_FOR = 60.0

#: Seconds for which the number of a change cannot be used again.
CHANGE_KEPT = 86_400.0

#: API tokens that end in one step.
AT_ONCE = 100


class RotationRefused(ClusterTokenError):
    """The stage would log somebody out, or leave a node without the key; nothing was changed."""


@dataclass(slots=True)
class Ring:
    """What the store says of the keys, and what is to be said next."""

    states: dict[str, KeyState] = field(default_factory=dict)
    #: Since when (wall clock) a key has had its state.
    since: dict[str, float] = field(default_factory=dict)
    change: int = 0

    def mark(self, key_id: str, state: KeyState, now: float) -> None:
        self.states[key_id] = state
        self.since[key_id] = now

    @property
    def signing(self) -> str:
        return next((one for one, state in self.states.items() if state == "signing"), "")


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key as ``keys list`` shows it. *state* is ``unmarked`` where the store says nothing."""

    id: str
    state: str
    since: float | None
    #: This host has it.
    here: bool
    #: Names of the live nodes that have it, and of those that do not.
    on: tuple[str, ...]
    lacking: tuple[str, ...]
    #: Live API tokens whose records name it.
    api_tokens: int
    #: When the last login that it signed is over (wall clock); ``None``: it signs, or never did.
    logins_over: float | None


@dataclass(frozen=True, slots=True)
class Staged:
    """A new key stands in *path*, to be copied to *hosts*. *first*: it signs from the start."""

    key_id: str
    path: str
    hosts: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of a key: ``api`` or ``dropped``, and how many API tokens name it."""

    key_id: str
    state: KeyState
    api_tokens: int
    removed_here: bool


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

    def statuses(self) -> list[KeyStatus]:
        """Every key that this host, a live node, the store or an API token names."""
        ring = self._read()
        nodes = self.live_nodes()
        counts = self._api_counts()
        known = [*ring.states, *self._keys.held, *(key for node in nodes for key in node.keys)]
        found = []
        for key_id in dict.fromkeys([*known, *counts]):
            state = ring.states.get(key_id, "unmarked")
            found.append(
                KeyStatus(
                    id=key_id,
                    state=state,
                    since=ring.since.get(key_id),
                    here=key_id in self._keys.held,
                    on=tuple(node.name for node in nodes if key_id in node.keys),
                    lacking=tuple(node.name for node in nodes if key_id not in node.keys),
                    api_tokens=counts[key_id],
                    logins_over=self._logins_over(ring, key_id) if state == "verifying" else None,
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
        return [
            one.id for one in self._authority.tokens() if one.kind == "api" and one.key_id == key_id
        ]

    def _api_counts(self) -> Counter[str]:
        return Counter(one.key_id for one in self._authority.tokens() if one.kind == "api")

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
        return stopped + longest + STALENESS_LIMIT + SKEW

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
            state = ring.states.get(key_id)
            if state == "signing":
                raise RotationRefused(f"key {key_id} is signing already")
            if state in ("api", "dropped"):
                raise RotationRefused(f"key {key_id} is retired ({state}); stage a new one")
            nodes = self.live_nodes()
            lacking = [node.name for node in nodes if key_id not in node.keys]
            if lacking or (not nodes and key_id not in self._keys.held):
                where = _named(lacking) or "this host, and no node is running"
                raise RotationRefused(
                    f"key {key_id} is not on {where}; copy the key file there first "
                    "(nodes look at it every few seconds)"
                )
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
            self._not_signing(ring, key_id)
            state = ring.states.get(key_id)
            if state == "dropped":
                raise RotationRefused(f"key {key_id} was dropped already")
            over = self._logins_over(ring, key_id)
            now = self._clock.time()
            may_live = state in (None, "verifying") and now < over
            if may_live and not force_logout:
                raise RotationRefused(
                    f"logins signed with key {key_id} may be alive for another "
                    f"{(over - now) / 3600:.1f} hours; wait, or end them with --force-logout"
                )
            self._no_node_signs(key_id)
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
            self._not_signing(ring, key_id)
            self._no_node_signs(key_id)
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

    def _not_signing(self, ring: Ring, key_id: str) -> None:
        if ring.signing == key_id:
            raise RotationRefused(
                f"key {key_id} is signing; first let another one sign: flask tokens keys sign"
            )

    def _no_node_signs(self, key_id: str) -> None:
        still = [node.name for node in self.live_nodes() if node.signing == key_id]
        if still:
            raise RotationRefused(
                f"{_named(still)} still signs with key {key_id}; wait until it has seen the change"
            )

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
        now = self._clock.time()
        for key_id in self._keys.held:
            if key_id not in ring.states:
                # When an older one stopped signing nobody knows: count from now.
                ring.mark(key_id, "verifying", now)
        ring.mark(mine, "signing", now)
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


def _named(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
