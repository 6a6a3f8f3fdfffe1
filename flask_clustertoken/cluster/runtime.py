"""Membership: one process's part in the cluster.

What belongs to a process and not to a realm: its keys, its handle on the store, its follower,
and what it remembers. All of it begins at the first use, after any fork and monkey-patching;
a fork's child begins with nothing.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from .. import forks
from ..clock import Clock, SystemClock
from ..errors import ClusterTokenError, ConfigurationError
from ..events import Events, NodeLeaving
from ..revocations import Follower, FollowerThread, Hooks, Notice, View, entry
from ..settings import PREFIX, Settings
from ..stores import open_store
from ..stores.base import Change, ClusterStore, Entry
from ..tokens import RING_KEY, VERSION, KeyFile, KeyRing, Token, Wire
from . import nodes as _nodes
from .forms import require_readers
from .sightings import Sightings
from .strangers import Strangers
from .sweeper import Housekeeping

logger = logging.getLogger("flask_clustertoken")

#: Nodes with which one that starts compares its settings.
COMPARED = 16

_members: weakref.WeakSet[Membership] = weakref.WeakSet()


def members() -> list[Membership]:
    """Every membership of this process that was not closed."""
    return [one for one in _members if not one.closed]


def _forget_all() -> None:
    _locks.clear()
    for member in list(_members):
        member.forget()


forks.in_child("process", _forget_all)

_locks: dict[str, threading.Lock] = {}


def _building() -> threading.Lock:
    # Made at first use, so that a monkey-patched process gets a lock that its greenlets know;
    # in one step, so that two threads which come first at once get the same one.
    return _locks.get("building") or _locks.setdefault("building", threading.Lock())


@dataclass(frozen=True, slots=True)
class Joining:
    """A first round that is under way: who does it, and when it is over."""

    follower: Follower
    thread: int
    over: threading.Event


@dataclass(frozen=True, slots=True)
class Readiness:
    """What ``/readyz`` says: whether this process may vouch for tokens at the moment."""

    fresh: bool
    store: str
    staleness: float | None
    applied: int
    trouble: str


class Memory(Protocol):
    """What remembers answers of the store, and must hear when they are worth nothing."""

    def doubt(self) -> None:
        """Each answer is to be asked for again."""
        ...

    def clear(self) -> None:
        """It was another store that answered."""
        ...


class KeyFileMissing(ConfigurationError):
    """The key file that counts is not there. Carries what a command line needs to make it."""

    def __init__(
        self, settings: Settings, path: str, *, instance_path: str, embedded: bool
    ) -> None:
        self.settings = settings
        self.instance_path = instance_path
        self.path = path
        problem = f"{path} holds no key." if os.path.exists(path) else f"{path} does not exist."
        remedy = (
            "Copy it there from a host that has it; if there is none yet, make it with: "
            "flask tokens keys stage"
        )
        if embedded and settings.secret_file:
            remedy += " (or leave the setting out: then the first start makes a key)"
        super().__init__(PREFIX + "SECRET_FILE", f"there is no key: {problem}", remedy)


class Membership:
    """This process in one realm. Opens nothing before its first use.

    *active* ``False`` is for command lines: it follows the feed but is no node.
    Raises :class:`ConfigurationError` where a setting is wrong.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        instance_path: str = "",
        clock: Clock | None = None,
        store: ClusterStore | None = None,
        active: bool = True,
        threaded: bool | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.events = Events()
        self.active = active
        try:
            self.store = store or open_store(
                settings.store,
                realm=settings.realm,
                instance_path=instance_path,
                options=settings.store_options,
                clock=self.clock,
            )
            self.keys = self._key_ring(instance_path)
        except ConfigurationError as error:
            raise error.with_prefix(PREFIX) from error.__cause__
        self.wire = Wire(
            self.keys,
            realm=settings.realm,
            token_store=settings.token_store,
            api_prefix=settings.api_prefix,
        )
        self._threaded = self.store.shared and active if threaded is None else threaded
        self._started_at = self.clock.time()
        self._epoch = ""
        #: The follower's view, once there is one.
        self.view: View | None = None
        #: This process's follower, once its first round is over.
        #: This process's follower, once its first round is over.
        self.following: Follower | None = None
        self._joining: Joining | None = None
        self._thread: FollowerThread | None = None
        self.sweeper: Housekeeping | None = None
        self._compared = False
        self.remembered: Memory
        self._begin_to_remember()
        self.closed = False
        _members.add(self)

    def _new_memory(self) -> Memory:
        """Empty; whoever judges says what. A follower's answers are never mixed with another's."""
        raise NotImplementedError

    def _key_ring(self, instance_path: str) -> KeyRing:
        settings = self.settings
        if settings.secret:
            return KeyRing(settings.secret, clock=self.clock)
        path = settings.key_path(instance_path)
        if not path and self.store.shared:
            raise ConfigurationError(
                PREFIX + "SECRET", "there is no key.", "Set SECRET, or SECRET_FILE."
            )
        file = KeyFile(Path(path)) if path and self.store.shared else None
        ring = KeyRing(file=file, clock=self.clock)
        # Made is only what nobody named, by a node, and where no other host needs the same one.
        made = self.active and self.store.embedded and not settings.secret_file
        if file is not None and not ring.held and not made:
            raise KeyFileMissing(
                settings, path, instance_path=instance_path, embedded=self.store.embedded
            )
        return ring

    # -- this process's part -----------------------------------------------------------

    def follower(self) -> Follower:
        """This process's follower; the first call opens the store and does the first round."""
        follower = self.following
        return follower if follower is not None else self._join()

    def _join(self) -> Follower:
        while True:
            if self.closed:
                raise ClusterTokenError("this authority was closed")
            with _building():
                if self.following is not None:
                    return self.following
                joining, first = self._joining, self._joining is None
                if joining is None:
                    # Made here, not at construction: after any fork and any monkey-patching.
                    joining = self._joining = self._begin_joining()
            if first:
                return self._first_round(joining)
            if joining.thread == threading.get_ident():
                # What listens to the first round asks something itself.
                return joining.follower
            if not joining.over.wait(self.store.timeout + 1):
                return joining.follower

    def _begin_joining(self) -> Joining:
        follower = Follower(
            self.store,
            clock=self.clock,
            events=self.events,
            describe=self._describe,
            hooks=Hooks(
                forget=self._forget_answers,
                keys=self._load_keys,
            ),
            maintenance=self._do_chores,
            max_staleness=self.settings.max_staleness,
            lifetime=self.settings.lifetime,
        )
        self._begin_to_remember()
        self.sweeper = Housekeeping(self.store, follower, self.clock)
        self._started_at = self.clock.time()
        return Joining(follower, threading.get_ident(), threading.Event())

    def _begin_to_remember(self) -> None:
        self.remembered = self._new_memory()
        self._strangers = Strangers(self.store, self.clock)
        self._sightings = Sightings(self.store, self.clock)

    def _first_round(self, joining: Joining) -> Follower:
        """No lock is held meanwhile: the store may be slow, and listeners may ask for us."""
        follower = joining.follower
        try:
            if self.active:
                follower.step()
                if self._threaded:
                    self._thread = FollowerThread(follower)
                    self._thread.start()
                atexit.register(self.close)
            else:
                follower.meet(self.store.root().epoch)
                follower.follow()
            self.following, self.view = follower, follower.view
        finally:
            self._joining = None
            joining.over.set()
        return follower

    def _describe(self, follower: Follower) -> bytes:
        return self._node(follower).encode()

    def _node(self, follower: Follower) -> _nodes.Node:
        self.keys.reread()
        settings = self.settings
        try:
            signing = self.keys.signing()[0]
        except ClusterTokenError:
            signing = ""
        held = self.keys.held
        self._sightings.note(held)
        return _nodes.Node(
            id=follower.node_id,
            host=_nodes.this_host(),
            pid=_nodes.this_process(),
            version=_nodes.library_version(),
            started_at=self._started_at,
            applied=follower.view.applied,
            seen=follower.seen,
            max_staleness=settings.max_staleness,
            accepts_when_stale=settings.when_stale == "accept",
            deployment=settings.deployment,
            keys=tuple(held),
            signing=signing,
            realm_settings=settings.to_agree_in_realm(),
            settings=settings.to_agree_in_deployment(),
            reads=entry.FORMAT,
            reads_tokens=VERSION,
        )

    def _do_chores(self) -> None:
        self.keys.reread()
        if not self._compared and self.active and self.sweeper is not None:
            self._name_drift(self.sweeper.follower)
            self._compared = True
        if self.sweeper is not None:
            self.sweeper.run()

    def _name_drift(self, follower: Follower) -> None:
        """Once, at the start: say loudly where this node and the others differ.

        Compared with a few of them, so that a start costs the same in a large cluster; the
        list of nodes and ``doctor`` compare all.
        """
        others = _nodes.listed(self.store.peek_nodes(COMPARED), follower.store_time())
        nodes = [one.node for one in others if not one.silent and one.node.id != follower.node_id]
        for one in _nodes.drift([self._node(follower), *nodes]):
            logger.warning("nodes of one realm must agree, but %s. %s", one, one.remedy)

    def _forget_answers(self, epoch: str) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self.remembered.clear()
        self.remembered.doubt()

    def _load_keys(self) -> None:
        self.keys.reread()
        if self.store.embedded and self.active:
            # Only now that the store is open: who may not open it leaves no key file either.
            self.keys.create()
        while True:
            loads = self.keys.loads
            # (Behind the read that told of it, or a write of ours.)
            record = self.store.peek(RING_KEY)
            if self.keys.load_states(record.value if record else None, loads):
                return

    def forget(self) -> None:
        """In a fork's child: the parent's lease and answers are not ours."""
        if self.following is not None:
            self.following.disown()
        self.keys.forget_locks()
        self.following = self._joining = self._thread = self.sweeper = self.view = None
        self._epoch = ""
        self._compared = False
        self._begin_to_remember()

    def close(self) -> None:
        """Give the lease up, leave the list of nodes, close the store. Twice is fine."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        if self.following is not None:
            self.events.announce(NodeLeaving())
        if self._thread is not None:
            self._thread.stop()
        if self.following is not None:
            try:
                self.following.withdraw()
            except Exception as error:
                # The lease is given up; what stays in the list is swept.
                logger.info("this node could not leave the list of nodes: %s", error)
        self.store.close()

    def readiness(self) -> Readiness:
        """Whether this process is fresh, starting it if need be; never raises."""
        try:
            follower = self.follower()
            if self.store.embedded:
                follower.step_now()
        except Exception as error:
            if not isinstance(error, ClusterTokenError):
                logger.exception("this process cannot say whether it is ready")
            return Readiness(False, self.store.url, None, 0, str(error) or type(error).__name__)
        return Readiness(
            follower.fresh,
            self.store.url,
            follower.staleness,
            follower.view.applied,
            follower.trouble,
        )

    def glimpse(self) -> int | None:
        """The number at which this node stands, without asking a server; ``None``: not started.

        Exact on an embedded store. Elsewhere it may lag: a login that goes by it may be covered
        by a revocation of a moment *before* it, never miss one of after.
        """
        follower = self.following
        if follower is None:
            return None
        try:
            return self.store.position() if self.store.embedded else follower.view.applied
        except ClusterTokenError:
            # (In trouble, or closed: whoever logs in asks the store itself and is told.)
            return None

    def keeps_record(self, token: Token) -> bool:
        """Whether *token*, if it stands, has a record in the store: not one that others made."""
        kept = token.kind == "api" or self.settings.token_store == "session"
        return kept and token.epoch != ""

    def _append(
        self,
        notice: Notice,
        changes: Sequence[Change] = (),
        entry_id: str | None = None,
        *,
        above: int = 0,
    ) -> int:
        follower = self.follower()
        require_readers(self.store, notice)
        notice = replace(notice, at=max(notice.at, follower.store_time()))
        # What this node's own tokens may live counts even before its announcement is read.
        longest = max(follower.view.longest(notice.at), float(self.settings.lifetime))
        new = notice.entry(longest, entry_id)
        seq = self.store.append([new], changes, above=above)[0]
        follower.learn_own(Entry(seq, 0, new.id, new.body, new.keep_until), notice)
        return seq

    def announce_notice(self, notice: Notice, changes: Sequence[Change] = ()) -> int:
        """Append what is no revocation (a barrier, new states of the keys) and make *changes*."""
        return self._append(notice, changes)

    def append(self, notice: Notice, changes: Sequence[Change] = ()) -> int:
        """Append *notice* and make *changes* in one step; its number."""
        return self._append(notice, changes)
