"""Migration: everything from one cluster store into another one, and nobody is logged out.

1. The target, empty, takes over the source's epoch and is ``preparing``: no node uses it.
2. Everything is copied while the source is in use.
3. The source is *sealed* in one step: it takes no more writes and every node of it is stale.
4. What changed meanwhile is copied, what was deleted is deleted, until a walk through the source
   finds no difference. (What the target has is remembered, so the target is not walked again.)
5. Nobody who follows the source can accept a token any more: :mod:`.drain`.
6. The target is opened.

It may be interrupted anywhere, and is repeated with the same words: each step looks first at
what is there. Between 3 and the restart of the nodes with the new setting requests get a 503
and keep their cookies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..clock import SKEW, Clock
from ..cluster import Node
from ..errors import ClusterTokenError
from ..revocations import FeedEntry
from ..settings import plain_url
from ..stores import Lease
from ..stores.base import FORMAT, ClusterStore, Root
from .copying import LEFT_BEHIND, TOO_LONG, Copy, MigrationIncomplete, Progress
from .drain import Drain, never_certain

#: Held in the target by the one migration that fills it, each time for so many seconds.
LEASE = "lease/migration"
HOLD_FOR = 60.0
HOLD_EVERY = 10.0
#: Seconds for which one that was cut off holds up the next one.
LEASE_FOR = HOLD_FOR + SKEW

#: Walks after the seal; the second one finds nothing unless somebody still deletes.
COMPARISONS = 10

#: Walks before it at most, each for what changed during the last one: the seal finds little.
WARM_UPS = 3


class MigrationRefused(ClusterTokenError):
    """These two stores cannot be source and target; neither was sealed or opened by this."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What came along. *repeated*: it had been finished before."""

    source: str
    target: str
    #: Records by area: ``login``, ``api``, ``data``, ``keys``, …
    records: Mapping[str, int] = field(default_factory=dict)
    entries: int = 0
    head: int = 0
    repeated: bool = False


def migrate(
    source: ClusterStore,
    target: ClusterStore,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
    whatever_accepts: bool = False,
    wait: Callable[[float], object] | None = None,
) -> Migration:
    """Move everything of *source* to *target*, seal the one and open the other.

    *whatever_accepts*: also where nodes of the source accept tokens while stale, and so go on
    accepting what the target revokes, until they are stopped. *wait* sleeps.

    Raises :class:`MigrationRefused` where *target* holds something else, *source* was moved
    elsewhere or such nodes are there, :class:`MigrationIncomplete` where it is to be repeated, and
    :class:`~flask_clustertoken.errors.StoreError` where a store is in trouble.
    """
    move = _Move(source, target, progress or (lambda *_: None), clock or source.clock)
    return move.run(whatever_accepts, wait)


class _Move:
    def __init__(
        self, source: ClusterStore, target: ClusterStore, progress: Progress, clock: Clock
    ) -> None:
        self.source = source
        self.target = target
        self.progress = progress
        self.clock = clock
        self.lease = Lease(target, LEASE, clock=clock)
        self.lease_looked = 0.0

    def run(
        self, whatever_accepts: bool, wait: Callable[[float], object] | None = None
    ) -> Migration:
        if self._finished_before():
            return Migration(self.source.url, self.target.url, repeated=True)
        if not whatever_accepts:
            self._check_certainty()
        with self._alone():
            self.copy = Copy(
                self.source, self.target, self.progress, self._keep, self.lease.as_held
            )
            prepared = self._prepare()
            self.copy.count()
            if self.source.root().state == "open":
                for _ in range(WARM_UPS):
                    if not self.copy.walk("copying"):
                        break
                self._seal()
            self._check_moved_here(self.source.root())
            # (Asked for behind the seal, also where another process had sealed it.)
            head = self.source.head()
            drain = Drain(self.source, self.clock, head)
            self._copy_the_rest()
            drain.wait(self._say_who, wait)
            if not self.target.change_root(prepared, replace(prepared, state="open")):
                raise MigrationIncomplete(
                    "the target was changed by somebody else; look at both stores with doctor"
                )
        return Migration(
            self.source.url, self.target.url, dict(self.copy.records), self.copy.entries, head
        )

    def _say_who(self, nodes: list[Node], left: float, longest: float) -> None:
        names = ", ".join(sorted(node.name for node in nodes)[:3]) + ", …" * (len(nodes) > 3)
        what = f"waiting until {names} can accept nothing any more: seconds"
        self.progress(what, int(longest - left), int(longest + 0.5))

    # what is there

    def _finished_before(self) -> bool:
        source, target = self.source.root(), self.target.root()
        for root, which in ((source, "source"), (target, "target")):
            if root.format > FORMAT:
                raise MigrationRefused(
                    f"the {which} has form {root.format}; a newer version of this library is needed"
                )
        if source.state == "preparing":
            raise MigrationRefused("the source is itself still being filled by a migration")
        ours = source.epoch == target.epoch
        if source.state == "sealed":
            if not ours:
                raise _moved_elsewhere(source)
            if target.state == "sealed":
                raise MigrationRefused(f"the target itself was moved on to {target.moved_to}")
            if target.state == "open":
                return True  # also where it came there by way of others
            self._check_moved_here(source)
            return False
        if ours and target.state != "preparing":
            raise MigrationRefused("source and target are the same store, or one is a copy")
        return False

    def _check_moved_here(self, source: Root) -> None:
        """Of two targets that were begun to be filled, the one that the seal names is opened.

        The other one would be a second store of the epoch, without what was revoked in the first.
        """
        if plain_url(source.moved_to) != plain_url(self.target.url):
            raise _moved_elsewhere(source)

    def _prepare(self) -> Root:
        """The target, ``preparing`` under the source's epoch; or why it cannot be."""
        epoch = self.source.root().epoch
        root = self.target.root()
        prepared = Root(epoch=epoch, state="preparing")
        if root == prepared:
            return root
        if root.state != "open":
            raise MigrationRefused(
                f"the target is {root.state}, by another migration; choose an empty one"
            )
        self._check_empty()
        if not self.target.change_root(root, prepared):
            raise MigrationIncomplete("the target was changed at this moment; repeat it")
        return prepared

    def _check_empty(self) -> None:
        nodes = [Node.decode(one).name for one in self.target.nodes()]
        if nodes:
            raise MigrationRefused(
                f"{len(nodes)} nodes use the target ({nodes[0]}, …); stop them first"
            )
        kept = [key for key, _ in self.target.scan("") if not key.startswith(LEFT_BEHIND)]
        if kept or self.target.read(0).entries:
            raise MigrationRefused("the target is not empty; choose another place")

    def _check_certainty(self) -> None:
        names = [node.name for node in never_certain(self.source)]
        if names:
            raise MigrationRefused(
                f"{', '.join(names)} accept tokens while stale (WHEN_STALE), so the seal does not "
                "stop them: until they are stopped they accept what is revoked in the target"
            )

    # the last steps

    def _seal(self) -> None:
        open_root = self.source.root()
        sealed = replace(open_root, state="sealed", moved_to=self.target.url)
        seal = FeedEntry("sealed", self.clock.time(), extra={"moved_to": self.target.url})
        self.progress("sealing the source", 0, None)
        if open_root.state == "open" and not self.source.change_root(
            open_root, sealed, seal.entry(0.0)
        ):
            raise MigrationIncomplete("the source was changed at this moment; repeat it")

    def _copy_the_rest(self) -> None:
        for _ in range(COMPARISONS):
            if not self.copy.walk("comparing"):
                return
        raise MigrationIncomplete(
            "something still deletes from the source; stop its nodes and repeat this"
        )

    # being the only one

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self.lease.take(HOLD_FOR):
            raise MigrationIncomplete(
                "another migration into this target is running, or was cut off less than "
                f"{LEASE_FOR:.0f} s ago; repeat this in two minutes"
            )
        self.lease_looked = self.clock.monotonic()
        try:
            yield
        finally:
            self.lease.give()

    def _keep(self) -> None:
        """Hold the lease on; whoever lost it must not write into what may be in use by now."""
        now = self.clock.monotonic()
        if now - self.lease_looked < HOLD_EVERY:
            return
        if not self.lease.hold(HOLD_FOR):
            raise MigrationIncomplete(TOO_LONG)
        self.lease_looked = now


def _moved_elsewhere(source: Root) -> MigrationRefused:
    return MigrationRefused(
        f"the source was moved to {source.moved_to} already; name that one as target "
        "to finish, or as source to move on"
    )
