"""Authority: the whole life of a token, offered in one place.

What it does is done by its parts, each of which is given what it needs and can be read, made and
tested alone: :mod:`.authentication`, :mod:`.proving`, :mod:`.issuing`, :mod:`.renewal`,
:mod:`.revoking`, :mod:`.listing`, :mod:`.selecting`, :mod:`.usage`. It knows no HTTP: texts come
in, texts go out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ..clock import Clock
from ..cluster import ListedNode, NodeRuntime, Publisher, Revocation, present
from ..revocations import Follower, View
from ..settings import Settings
from ..shared import SharedData, SharedFiles, sweep_files
from ..stores.base import ClusterStore
from .authentication import Authentication
from .history import History
from .issuing import Issuing
from .lifetimes import Lifetimes
from .listing import Listing
from .locking import Locking
from .proving import Proving
from .renewal import Renewal
from .reuse import Reuse
from .revoking import Revoking
from .selecting import Selecting
from .usage import Usage
from .verdict import Verdict
from .verified_cache import VerifiedTokens
from .watching import Watching
from .writing import Writing

#: Those that somebody holds: whoever made one to look at the settings, and let it go, is no node.
_held: weakref.WeakSet[TokenAuthority] = weakref.WeakSet()

P = ParamSpec("P")
R = TypeVar("R")


class Offered(Generic[P, R]):
    """A method of a part, offered by the whole under a name of its own.

    The first look puts the part's bound method where the next one finds it: a call costs what
    a call of the part costs, and no frame more. What it does, and what it takes, stands with the
    part alone; asked of the class, it is the part's function.
    """

    def __init__(self, part: str, method: Callable[Concatenate[Any, P], R]) -> None:
        self._part = part
        self._method = method

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, whole: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, whole: object, owner: type) -> Callable[P, R]: ...
    def __get__(self, whole: object | None, owner: type) -> Callable[..., R]:
        if whole is None:
            return self._method
        bound: Callable[P, R] = getattr(getattr(whole, self._part), self._method.__name__)
        vars(whole)[self._name] = bound
        return bound


class TokenAuthority:
    """Judges and makes the tokens of one realm for one process. Opens nothing before its first use.

    *active* ``False`` is for command lines: it follows the feed but is no node. *threaded* says
    whether a thread of its own takes the follower's steps; left out, where the store is shared
    by processes and this is a node. *store* and *clock* are those that the settings name, unless
    given.
    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where a setting is wrong.
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
        _held.add(self)
        # This process's part in the cluster.
        self.runtime = runtime = NodeRuntime(
            settings,
            instance_path=instance_path,
            clock=clock,
            store=store,
            active=active,
            threaded=threaded,
        )
        # What it is set to; its clock, its listeners, its keys, and what reads and writes texts.
        self.settings, self.clock, self.events = settings, runtime.clock, runtime.events
        self.keys, self.wire = runtime.keys, runtime.wire
        self.active = active
        #: What stands beside it, one of each kind: kept by whoever makes it.
        self.companions: dict[type[Any], Any] = {}
        # (Nothing that this process goes on with holds the whole: who lets it go is no node.)
        clock = runtime.clock
        runtime.chores.append(lambda late: sweep_files(runtime.bulk(), clock, late=late))
        # The parts, by what they do.
        self.publisher = publisher = Publisher(runtime)
        self.verdict = verdict = Verdict(runtime)
        self.lifetimes = lifetimes = Lifetimes(settings, runtime.clock)
        self.usage = Usage(runtime)
        self.listing = Listing(runtime, verdict, lifetimes)
        self.revoking = revoking = Revoking(publisher, verdict, lifetimes)
        self.history = History(runtime)
        self.selecting = Selecting(runtime, self.listing, revoking)
        self.locking = Locking(runtime, publisher, lambda seq: Revocation(seq, publisher))
        self.proving = proving = Proving(runtime, revoking, lifetimes)
        self.reuse = reuse = Reuse(runtime, lambda token_id: revoking.revoke_ids([token_id]))
        self.authentication = Authentication(
            runtime, verdict, lifetimes, self.usage, proving, reuse
        )
        self.renewal = Renewal(runtime, self.authentication, lifetimes, reuse)
        writing = Writing(runtime, revoking, verdict, lifetimes)
        self.issuing = Issuing(
            runtime, writing, self.authentication, revoking, self.listing, lifetimes
        )

    authenticate = Offered("authentication", Authentication.authenticate)
    judge_foreign = Offered("authentication", Authentication.judge_foreign)
    refused = Offered("authentication", Authentication.refused)

    begin = Offered("issuing", Issuing.begin)
    issue_login = Offered("issuing", Issuing.issue_login)
    issue_api_token = Offered("issuing", Issuing.issue_api_token)
    bind = Offered("issuing", Issuing.bind)

    renewal_due = Offered("renewal", Renewal.renewal_due)
    renew = Offered("renewal", Renewal.renew)

    revoke_ids = Offered("revoking", Revoking.revoke_ids)
    end = Offered("revoking", Revoking.end)
    revoke_labels = Offered("revoking", Revoking.revoke_labels)
    revoke_subject = Offered("revoking", Revoking.revoke_subject)
    revoke_all = Offered("revoking", Revoking.revoke_all)
    not_before = Offered("revoking", Revoking.not_before)
    restored = Offered("revoking", Revoking.restored)

    tokens_of = Offered("listing", Listing.tokens_of)
    tokens = Offered("listing", Listing.tokens)
    token = Offered("listing", Listing.token)
    last_uses = Offered("usage", Usage.last_uses)
    last_used = Offered("usage", Usage.last_used)

    follower = Offered("runtime", NodeRuntime.follower)
    readiness = Offered("runtime", NodeRuntime.readiness)
    glimpse = Offered("runtime", NodeRuntime.known_position)
    close = Offered("runtime", NodeRuntime.close)

    @property
    def store(self) -> ClusterStore:
        """This process's handle on the cluster store."""
        return self.runtime.store

    @property
    def following(self) -> Follower | None:
        """This process's follower, once its first round is over."""
        return self.runtime.following

    @property
    def view(self) -> View | None:
        """The follower's view, once there is one."""
        return self.runtime.view

    @property
    def closed(self) -> bool:
        """Whether it was closed: then it is of no use any more."""
        return self.runtime.closed

    @property
    def remembered(self) -> VerifiedTokens:
        """The texts that this process has verified."""
        return self.authentication.remembered

    @property
    def records_logins(self) -> bool:
        """Whether lists show login tokens at all."""
        return self.lifetimes.records_logins

    # -- what servers share besides tokens ---------------------------------------------

    def shared(self, name: str) -> SharedData:
        """The deployment's shared data called *name*."""
        return SharedData(self.runtime.used(), self.clock, self.settings.deployment, name)

    def files(self, name: str) -> SharedFiles:
        """The deployment's shared files called *name*."""
        return SharedFiles(
            self.runtime.bulk,
            self.clock,
            self.settings.deployment,
            name,
            limit=self.settings.file_limit,
            total=self.settings.files_total,
        )

    # -- streams and sockets -----------------------------------------------------------

    @cached_property
    def watching(self) -> Watching:
        """The connections of this process that end with their tokens."""
        lifetimes = self.lifetimes
        return Watching(
            self.runtime,
            judge=self.authentication.judge_foreign,
            ends_at=lifetimes.ends_at,
            keeps_record=lifetimes.keeps_record,
            spare=lifetimes.spare,
        )

    def nodes(self) -> list[ListedNode]:
        """Who is in the cluster, also those that went quiet."""
        self.follower()
        return present(self.store)


def authorities() -> list[TokenAuthority]:
    """Every authority of this process that somebody holds and nobody has closed."""
    return [one for one in _held if not one.closed]
