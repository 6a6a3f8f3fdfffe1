"""Stages: what a key goes through in a rotation, and what is in the way of each step.

Every step asks here before it does anything, and so does whoever offers one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..cluster import Node
from ..errors import ClusterTokenError
from ..tokens import KeyState


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
    #: Live API tokens whose records name it; ``None``: they were not counted.
    api_tokens: int | None
    #: When the last login that it signed is over (wall clock); ``None``: it signs, or never did.
    logins_over: float | None
    #: What is in the way of signing with it, of retiring it and of dropping it; ``""``: nothing.
    not_sign: str = ""
    not_retire: str = ""
    not_drop: str = ""


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


# -- what is in the way ----------------------------------------------------------------


def not_to_sign(ring: Ring, nodes: Sequence[Node], held: Sequence[str], key_id: str) -> str:
    """Why nobody may sign with *key_id* yet; *held* are the keys of this host."""
    state = ring.states.get(key_id)
    if state == "signing":
        return f"key {key_id} is signing already"
    if state in ("api", "dropped"):
        return f"key {key_id} is retired ({state}); stage a new one"
    lacking = [node.name for node in nodes if key_id not in node.keys]
    if lacking or (not nodes and key_id not in held):
        where = named(lacking) or "this host, and no node is running"
        return (
            f"key {key_id} is not on {where}; copy the key file there first "
            "(nodes look at it every few seconds)"
        )
    return ""


def not_to_retire(
    ring: Ring, nodes: Sequence[Node], key_id: str, over: float, now: float, *, force: bool = False
) -> str:
    """Why *key_id* has to go on verifying logins; the last that it signed is over at *over*."""
    if signing := _still_signing(ring, key_id):
        return signing
    state = ring.states.get(key_id)
    if state == "dropped":
        return f"key {key_id} was dropped already"
    if state in (None, "verifying") and now < over and not force:
        return (
            f"logins signed with key {key_id} may be alive for another "
            f"{(over - now) / 3600:.1f} hours; wait, or end them with --force-logout"
        )
    return _node_signing(nodes, key_id)


def not_to_drop(ring: Ring, nodes: Sequence[Node], key_id: str) -> str:
    """Why *key_id* cannot go."""
    return _still_signing(ring, key_id) or _node_signing(nodes, key_id)


def _still_signing(ring: Ring, key_id: str) -> str:
    if ring.signing != key_id:
        return ""
    return f"key {key_id} is signing; first let another one sign: flask tokens keys sign"


def _node_signing(nodes: Sequence[Node], key_id: str) -> str:
    still = [node.name for node in nodes if node.signing == key_id]
    if not still:
        return ""
    return f"{named(still)} still signs with key {key_id}; wait until it has seen the change"


def named(names: Sequence[str], most: int = 5) -> str:
    """The first of *names*, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
