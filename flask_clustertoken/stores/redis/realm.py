"""A realm on a Redis server, as this process uses it: every step knows the server's history.

A *history* is the replication's id, another one after each start and each promotion, with the
store's epoch. Each script compares it with the one that this process knows, in the same step,
and does nothing where it is another one. Then what this process knows and that history lacks
is published again, before anything else is asked of it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from ...errors import Conflict, HeadMoved, StoreUnavailable
from .. import rules
from ..base import FORMAT, Entry, Root
from ..tail import Tail
from .codec import Kept, channel, deleted_keys, end, key_names
from .driver import Deadline
from .line import NotPrimary, PrimaryLine
from .place import SETTLE_AFTER_FAILOVER, SETTLE_AFTER_RESTART, Options, RedisPlace
from .scripts import script
from .topology import Topology

_log = logging.getLogger(__name__)

#: Seconds before the Sentinels are asked again who the primary is.
_PAUSE = 0.1

#: Entries that are looked for, or published again, in one step.
_AT_ONCE = 200

Argument = str | bytes | int


class Asking:
    """How the parts of a store ask: in the realm of this process, within a call's time."""

    def __init__(self, realm: Callable[[], RedisRealm], timeout: float) -> None:
        #: Opens it where it is not open yet.
        self.realm = realm
        self._timeout = timeout

    def deadline(self) -> Deadline:
        return Deadline(self._timeout)

    def run(self, name: str, *args: Argument, **how: Any) -> list[Any]:
        """:meth:`RedisRealm.run`, with a call's time for itself."""
        return self.realm().run(self.deadline(), name, *args, **how)


class RedisRealm:
    """Made in the process that uses it, after any fork."""

    def __init__(self, place: RedisPlace, options: Options, realm: str) -> None:
        self.topology = Topology(place, options)
        self.line = PrimaryLine(self.topology)
        self.keys = key_names(options.prefix, realm)
        self.channel = channel(options.prefix, realm)
        self.tail = Tail()
        self._options = options
        self._history = ""
        #: The history that was met last, and whether what was learnt of another one came late.
        self._met = ""
        self._late = False
        self._mended = ""
        self._entering = threading.Lock()

    @property
    def settle(self) -> float:
        """Seconds for which a new history is not vouched for."""
        if self._options.settle is not None:
            return float(self._options.settle)
        many = self.topology.moves or self.topology.acknowledging
        return SETTLE_AFTER_FAILOVER if many else SETTLE_AFTER_RESTART

    def run(
        self,
        deadline: Deadline,
        name: str,
        *args: Argument,
        acknowledged: bool = False,
        again: bool = True,
        make: bool = True,
        learn: Callable[[list[Any]], Iterable[Kept]] | None = None,
    ) -> list[Any]:
        """What the script *name* answers, on the primary and in a history that is known.

        *acknowledged*: only once enough replicas have what it wrote. *again*: the step may be
        done twice and answers the same. (Not one that tells whether it was the first to do it:
        where that answer is lost it is trouble, and the caller asks what is so.) *make*: an
        empty server gets a store. *learn*: what the answer tells of the feed, for whoever has
        to publish it again.
        """
        while True:
            try:
                self.topology.learn(deadline)
                history = self._history or self._enter(deadline, make)
                status, *answer = self.line.run(
                    deadline,
                    script(name),
                    self.keys,
                    [self._known(history), *args],
                    acknowledged=acknowledged,
                    again=again,
                )
            except NotPrimary:
                status, answer = b"replica", []
            except TimeoutError as error:
                raise StoreUnavailable("the Redis server did not answer in time") from error
            if status == b"ok":
                if learn is not None:
                    self._keep(learn(answer), history)
                return answer
            if status == b"history":
                self._history = ""
            elif status == b"replica":
                self._wait_for_primary(deadline)
            elif status == b"lonely":
                raise self._lonely(int(answer[0]))
            else:
                _refuse(status.decode(), answer)

    def _keep(self, entries: Iterable[Kept], history: str) -> None:
        """Remember what was told in *history*, also where another one was met meanwhile."""
        kept = self.tail.add(entries, history.partition("/")[2])
        # (In this order, and the other way round where a history is met: either it finds them
        # among what is kept, or it is seen here that it did not.)
        if self._met != history:
            self._late = self._late or kept
            self._history = ""

    def _known(self, history: str) -> str:
        """The first argument of every script."""
        return f"{history} {self.topology.acknowledging}"

    def _lonely(self, there: int) -> StoreUnavailable:
        # Perhaps it is an old primary that was left alone: the next call asks the Sentinels.
        self._history = ""
        self.line.drop()
        return StoreUnavailable(
            f"the Redis server is in touch with {there} replicas, and "
            f"{self.topology.acknowledging} have to acknowledge each write"
        )

    def _wait_for_primary(self, deadline: Deadline) -> None:
        self._history = ""
        self.line.drop()
        if not self.topology.moves or deadline.over:
            raise NotPrimary("the Redis server is a replica: STORE has to name the primary")
        time.sleep(_PAUSE)

    def _enter(self, deadline: Deadline, make: bool) -> str:
        """Take notice of the server's history; one thread does, the others wait for it."""
        if not self._entering.acquire(timeout=deadline.left()):
            raise TimeoutError
        try:
            if self._history:
                return self._history
            history, epoch = self._step(
                deadline, "enter", "", [secrets.token_hex(8) if make else "", FORMAT]
            )
            self.tail.of(epoch.decode())
            late, self._met = self._late, history.decode()
            if late or self._mended not in ("", self._met):
                self._late, self._mended = False, "?"  # (mended by nobody if this fails)
                self._mend(deadline, self._met)
            self._mended = self._met
            if epoch:
                self._history = self._mended
            return self._mended
        finally:
            self._entering.release()

    # publishing again

    def _mend(self, deadline: Deadline, history: str) -> None:
        kept = self.tail.entries()
        lacking = self._lacking(deadline, history, kept)
        if not lacking:
            return
        if not self.tail.bridges(lacking):
            _log.error(
                "the Redis server lost more of the feed than this node can put back; "
                "nodes that knew it refuse until 'flask tokens restored' was run"
            )
            return
        again = [one for one in kept if one.entry.id in lacking]
        for start in range(0, len(again), _AT_ONCE):
            args: list[Argument] = [self.channel]
            for one in again[start : start + _AT_ONCE]:
                args += _as_arguments(one)
            self._step(deadline, "republish", history, args, acknowledged=True)
        _log.warning(
            "the Redis server had lost the feed's end (a fail-over, or a restart): "
            "%d entries that this node knew were published again",
            len(again),
        )

    def _lacking(self, deadline: Deadline, history: str, kept: Sequence[Kept]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(kept), _AT_ONCE):
            page = [one.entry for one in kept[start : start + _AT_ONCE]]
            trimmed, *lacks = self._step(deadline, "lacking", history, [e.id for e in page])
            found |= {
                entry.id
                for entry, lack in zip(page, lacks, strict=True)
                if lack and entry.seq > int(trimmed)
            }
        return found

    def _step(
        self,
        deadline: Deadline,
        name: str,
        history: str,
        args: Sequence[Argument],
        *,
        acknowledged: bool = False,
    ) -> list[Any]:
        """A step on the way in. Another history in its midst: the caller begins anew."""
        known = self._known(history)
        answer = self.line.run(
            deadline,
            script(name),
            self.keys,
            [known, *args],
            acknowledged=acknowledged,
            again=True,
        )
        if answer[0] == b"lonely":
            raise self._lonely(int(answer[1]))
        if answer[0] != b"ok":
            raise NotPrimary("the Redis server is a replica, or was replaced meanwhile")
        return answer[1:]


def _as_arguments(kept: Kept) -> list[Argument]:
    one: Entry = kept.entry
    return [
        one.seq,
        one.prev,
        one.id,
        end(one.keep_until),
        deleted_keys(kept.deleted),
        one.body,
        len(kept.deleted),
        *kept.deleted,
    ]


def _refuse(status: str, answer: Sequence[Any]) -> NoReturn:
    """Raise what a script's answer means that is none of the ones above."""
    said = answer[0].decode(errors="replace") if answer else ""
    if status == "conflict":
        raise Conflict(said)
    if status == "moved":
        raise HeadMoved(int(said))
    if status == "sealed":
        rules.require_open(Root("", "sealed", said))
    if status == "not preparing":
        rules.require_preparing(Root(""))
    if status == "absent":
        raise rules.not_announced()
    if status == "settling":
        raise StoreUnavailable(
            "the Redis server was restarted or another one took its place: for "
            f"{int(said) / 1e6:.1f} s more the nodes publish what it may have lost"
        )
    raise StoreUnavailable(f"the Redis server answered {status!r}")
