"""What happened: frozen records, and whoever listens to them.

The core announces; the Flask layer turns each into a blinker signal. A listener that raises
is logged and changes nothing: an exception in a hook authenticates nobody and loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from .tokens import Refusal, Token, Whereabouts

logger = logging.getLogger("flask_clustertoken")


class RevocationEntry(Protocol):
    """What a revocation says, as far as a listener may rely on it.

    *kind* is one of ``ids labels subject realm not_before restored``. Ids, labels and subjects are
    named by their *digests* (64 bits) only; *kinds* are those of the tokens that a subject's, a
    realm's or a time's mark ends; *at* is the writer's wall clock.
    """

    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def digests(self) -> tuple[int, ...]: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class TokenIssued:
    """A login or API token was handed out by this process; a login *instead_of* the one that its
    browser had, where it had one."""

    token: Token
    instead_of: Token | None = None


@dataclass(frozen=True, slots=True)
class TokenBound:
    """A login goes on as *token*, which is bound to a device; the one with the id *instead_of*
    ends with its first use. It is no new login, and no :class:`TokenIssued`."""

    token: Token
    instead_of: str


@dataclass(frozen=True, slots=True)
class TokenRenewed:
    """A login token got a later expiry; everything else of it is unchanged."""

    token: Token


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """This process asked for a revocation, and the store has acknowledged it as *seq*.

    *named* are the ids, labels or subjects that it names, as whoever asked wrote them: the entry
    itself has only their digests. *logins* are those of the ids that stood for a login until now,
    as far as that is known.
    """

    seq: int
    notice: RevocationEntry
    named: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unlocked:
    """This process took a lock away, and the store has acknowledged it as *seq*."""

    seq: int
    notice: RevocationEntry
    named: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """This process changed the state of a key: ``staged signing verifying api dropped``."""

    key_id: str
    state: str


@dataclass(frozen=True, slots=True)
class RevocationApplied:
    """This node has learnt the revocation *seq* and refuses what it covers from here on.

    *covers* says of a :class:`~flask_clustertoken.tokens.Token` whether it is covered: what a
    WebSocket server needs to close the right connections.
    """

    seq: int
    notice: RevocationEntry
    covers: Callable[[Token], bool]


@dataclass(frozen=True, slots=True)
class RevocationConfirmed:
    """Whoever asked whether the revocation *seq* is in force everywhere was told after *elapsed*
    seconds, by the clock of this process: the barrier's way to all nodes and back.
    """

    seq: int
    elapsed: float
    in_force: bool


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """A text that was presented was not accepted."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class TokenReused:
    """A login has two holders: its cookie was copied, or a backup of a browser was put back.

    *token* is the copy with which somebody *asked* for a renewal, although a newer copy had been
    in use for longer than ``REUSE_GRACE``, last at *other*. Which of the two is the thief nobody
    can say. *ended*: the login was ended everywhere (``WHEN_REUSED``). Told once for each newer
    copy, by one node.
    """

    token: Token
    asked: Whereabouts
    other: Whereabouts
    ended: bool


@dataclass(frozen=True, slots=True)
class NodeStale:
    """This node's view is not vouched for any more; *reason* says why, as far as known."""

    reason: str


@dataclass(frozen=True, slots=True)
class NodeFresh:
    """This node's view is vouched for (again)."""

    applied: int


@dataclass(frozen=True, slots=True)
class LoginEnding:
    """A login is being ended by its own user, before the store is told."""

    token: Token


@dataclass(frozen=True, slots=True)
class Swept:
    """House-keeping took *count* of *what* (``records entries locks nodes``) out of the store."""

    what: str
    count: int


@dataclass(frozen=True, slots=True)
class NodeLeaving:
    """This process leaves the cluster; its store is still open, for the last time."""


E = TypeVar("E")


class Events:
    """The listeners of one authority."""

    def __init__(self) -> None:
        self._listeners: dict[type[Any], list[Callable[[Any], None]]] = {}

    def listen(self, event_type: type[E], listener: Callable[[E], None]) -> None:
        self._listeners.setdefault(event_type, []).append(listener)

    def heard(self, event_type: type[Any]) -> bool:
        """Whether anyone listens: building an event for nobody can be left out."""
        return event_type in self._listeners

    def announce(self, event: object) -> None:
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener to %s failed", type(event).__name__)
