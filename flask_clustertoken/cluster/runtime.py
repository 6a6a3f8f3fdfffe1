"""Runtime: one process's part in the cluster.

What belongs to a process and not to a realm: its keys, its handle on the store, its follower.
All of it begins at the first use, after any fork and monkey-patching; a fork's child begins with
nothing.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .. import forks
from ..clock import Clock, SystemClock
from ..errors import ClusterTokenError, ConfigurationError
from ..events import Events, NodeLeaving, Swept
from ..revocations import Follower, Hooks, Runner, View
from ..settings import PREFIX, Settings
from ..stores import open_store
from ..stores.base import ClusterStore
from ..tokens import Wire
from .description import Description
from .joining import Joining, forget_locks
from .keys import key_ring, load_keys
from .sweeper import Chore, Sweeper

logger = logging.getLogger("flask_clustertoken")

_runtimes: weakref.WeakSet[NodeRuntime] = weakref.WeakSet()


def runtimes() -> list[NodeRuntime]:
    """Every runtime of this process that was not closed."""
    return [one for one in _runtimes if not one.closed]


def _forget_all() -> None:
    forget_locks()
    for runtime in list(_runtimes):
        runtime.forget()


forks.in_child("process", _forget_all)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What ``/readyz`` says: whether this process may vouch for tokens at the moment."""

    fresh: bool
    store: str
    staleness: float | None
    applied: int
    trouble: str
    #: What is heard no more of those that tell of ended logins from outside: that is no reason to
    #: take a process out of service, and must not look like peace.
    silent: tuple[str, ...] = ()


class Memory(Protocol):
    """What remembers answers of the store, and must hear when they are worth nothing.

    None of these calls may raise, ask the store, or wait for a lock that is held meanwhile.
    """

    def begin(self) -> None:
        """Begin with nothing, with locks of this process: another follower's answers begin."""
        ...

    def doubt(self) -> None:
        """Each answer is to be asked for again."""
        ...

    def clear(self) -> None:
        """It was another store that answered."""
        ...


class NodeRuntime:
    """This process in one realm. Opens nothing before its first use.

    *active* ``False`` is for command lines: it follows the feed but is no node. *threaded* says
    whether a thread of its own takes the follower's steps; left out, where the store is shared
    by processes and this is a node.
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
            self.keys = key_ring(
                settings, self.store, self.clock, instance_path=instance_path, active=active
            )
        except ConfigurationError as error:
            raise error.with_prefix(PREFIX) from error.__cause__
        self.wire = Wire(
            self.keys,
            realm=settings.realm,
            token_store=settings.token_store,
            api_prefix=settings.api_prefix,
        )
        #: What house-keeping does besides; whoever has a chore adds it.
        self.chores: list[Chore] = []
        #: Called after each step of the follower, in its thread; none may raise, or wait a second.
        self.after_step: list[Callable[[], None]] = []
        #: Asked by :meth:`readiness`: the source that fell silent, or ``""``; asks no store.
        self.listening: list[Callable[[], str]] = []
        #: The same store for what is large, once it was asked for.
        self._bulk: dict[str, ClusterStore] = {}
        self._used = False
        self._threaded = self.store.shared and active if threaded is None else threaded
        #: The store's epoch, as last met; ``""`` before the first contact.
        self.epoch = ""
        #: The follower's view, once there is one.
        self.view: View | None = None
        #: This process's follower, once its first round is over.
        self.following: Follower | None = None
        #: What begins anew with each follower; whoever remembers answers adds itself.
        self.memories: list[Memory] = []
        self.description: Description | None = None
        self.sweeper: Sweeper | None = None
        self.runner: Runner | None = None  # takes the steps of the follower, where a thread does
        self._joining = Joining(
            self._joined, self._begin, self._first_round, self._patience, self.clock
        )
        self.closed = False
        _runtimes.add(self)

    def used(self) -> ClusterStore:
        """The store, for what servers share besides tokens; closed at the end of the process."""
        if not self._used:
            self._used = True
            atexit.register(self.close)
        return self.store

    def bulk(self) -> ClusterStore:
        """The same by connections of its own: no file on its way holds up a vouch."""
        if self.closed:
            raise ClusterTokenError("this authority was closed")
        if not self._bulk:
            # (Of two threads at once both use the first one's; the other one opened nothing.)
            self._bulk.setdefault("files", self.used().another())
        return self._bulk["files"]

    # -- the follower ------------------------------------------------------------------

    def follower(self) -> Follower:
        """This process's follower; the first call opens the store and does the first round.

        Raises :class:`~flask_clustertoken.errors.NoThread` where the system has none for it.
        """
        follower = self.following
        return follower if follower is not None else self._joining.follower()

    def _joined(self) -> Follower | None:
        if self.closed:
            raise ClusterTokenError("this authority was closed")
        return self.following

    def _patience(self) -> float:
        return self.store.timeout + 1

    def _begin(self) -> Follower:
        self.description = Description(self.settings, self.keys, self.store, self.clock)
        follower = Follower(
            self.store,
            clock=self.clock,
            events=self.events,
            describe=self.description,
            hooks=Hooks(
                forget=self._forget_answers,
                keys=self.load_keys,
            ),
            maintenance=self._do_chores,
            max_staleness=self.settings.max_staleness,
            lifetime=self.settings.lifetime,
        )
        self._begin_to_remember()
        self.sweeper = Sweeper(
            self.store,
            follower,
            self.clock,
            self.chores,
            lambda what, count: self.events.announce(Swept(what, count)),
        )
        return follower

    def _begin_to_remember(self) -> None:
        for memory in self.memories:
            memory.begin()

    def _first_round(self, follower: Follower) -> None:
        if self.active:
            runner = Runner(follower) if self._threaded else None
            try:
                if runner is not None:
                    # Before the first step: a node that takes no more of them is not announced.
                    runner.prepare()
                follower.step()
            except BaseException:
                # (A request's own time-out, for one.) Nobody else knows of this node.
                if runner is not None:
                    runner.stop()
                self._leave(follower)
                raise
            if runner is not None:
                self.runner = runner
                runner.start()
            atexit.register(self.close)
        else:
            follower.meet(self.store.root().epoch)
            follower.follow()
        self.following, self.view = follower, follower.view

    # -- what the follower tells -------------------------------------------------------

    def _do_chores(self) -> None:
        for one in self.after_step:
            one()
        self.keys.reread()
        if self.sweeper is not None:
            if self.active and self.description is not None:
                self.description.name_drift(self.sweeper.follower)
            self.sweeper.run()

    def _forget_answers(self, epoch: str) -> None:
        replaced, self.epoch = epoch != self.epoch, epoch
        for memory in self.memories:
            if replaced:
                memory.clear()
            memory.doubt()

    def load_keys(self) -> None:
        """Read the key file anew, and what the store says of each key."""
        load_keys(self.keys, self.store, active=self.active)

    # -- the end -----------------------------------------------------------------------

    def forget(self) -> None:
        """In a fork's child: the parent's lease and answers are not ours."""
        if self.following is not None:
            self.following.disown()
        self.keys.forget_locks()
        self.following = self.view = self.runner = self.sweeper = self.description = None
        self._joining.forget()
        self.epoch = ""
        self._begin_to_remember()

    def close(self) -> None:
        """Give the lease up, leave the list of nodes, close the store. Twice is fine."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        if self.following is not None:
            self.events.announce(NodeLeaving())
        if self.runner is not None:
            self.runner.stop()
        if self.following is not None:
            self._leave(self.following)
        for handle in self._bulk.values():
            handle.close()
        self.store.close()

    def _leave(self, follower: Follower) -> None:
        try:
            follower.withdraw()
        except Exception as error:
            # The lease is given up; what stays in the list is swept.
            logger.info("this node could not leave the list of nodes: %s", error)

    # -- what others ask ---------------------------------------------------------------

    def readiness(self) -> Readiness:
        """Whether this process is fresh, starting it if need be; never raises."""
        try:
            follower = self.follower()
            if self.store.embedded:
                follower.step_now()
        except Exception as error:
            if not isinstance(error, ClusterTokenError):
                logger.exception("this process cannot say whether it is ready")
            trouble = str(error) or type(error).__name__
            return Readiness(False, self.store.url, None, 0, trouble, self._silent())
        return Readiness(
            follower.fresh,
            self.store.url,
            follower.staleness,
            follower.view.applied,
            follower.trouble,
            self._silent(),
        )

    def _silent(self) -> tuple[str, ...]:
        return tuple(filter(None, (ask() for ask in self.listening)))

    def known_position(self) -> int | None:
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
