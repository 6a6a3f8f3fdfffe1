"""A realm on a PostgreSQL server, as this process uses it: every step knows the history.

A *history* is the start of the server's process with the realm's epoch and the making of our
tables: another one after each start, on each other server, and where a dump was put back. Each step
compares it with the one that this process knows, in the step itself, and does nothing where it is
another one. Then this process looks which *lineage* the server has (its cluster's identifier, its
timeline, another one after each promotion, and again the making of our tables), and what it knows
and the server lacks is published again, before anything else is asked of it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from ...errors import ConfigurationError, Conflict, HeadMoved, StoreUnavailable
from .. import rules
from ..base import FORMAT, Root
from ..deadline import Deadline
from ..tail import Kept, Tail
from . import schema
from .connections import Connections, ReadOnlyServer
from .driver import Ask, Row, StatementRefused, Value
from .place import PostgreSQLOptions, PostgreSQLPlace
from .statements import array, statement

_log = logging.getLogger(__name__)

#: Seconds before the servers are asked again which of them is the primary.
_PAUSE = 0.1

#: Entries that are looked for, or published again, in one step.
_AT_ONCE = 200

#: The oldest server that is understood.
_OLDEST = 130000

_BEGIN: Ask = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", ())
_COMMIT: Ask = ("COMMIT", ())

#: What a step takes before it looks: a statement's name and what it is told besides the realm.
Lock = tuple[str, tuple[Value, ...]]
HEAD: Lock = ("lock_head", ())


class PostgreSQLRealm:
    """Made in the process that uses it, after any fork."""

    def __init__(self, place: PostgreSQLPlace, options: PostgreSQLOptions, realm: str) -> None:
        self.connections = Connections(place, options)
        self.options = options
        self.name = realm
        self.tail = Tail()
        self._history = ""
        #: The history that was met last, and whether what was learnt of another one came late.
        self.met = ""
        self._late = False
        self._mended = ""
        #: The server's feed ended before the highest number that is known here.
        self._lost_end = False
        self._given_up = 0
        self._entering = threading.Lock()

    @property
    def channel(self) -> str:
        """On which is said that the feed moved."""
        return f"{self.options.schema}/{self.name}"[:63]

    def text(self, name: str) -> str:
        return statement(name, self.options.schema)

    def run(
        self,
        deadline: Deadline,
        name: str,
        *values: Value,
        locks: Sequence[Lock] = (),
        again: bool = True,
        waits: bool = False,
        make: bool = True,
        learn: Callable[[list[Row]], Iterable[Kept]] | None = None,
    ) -> list[Row]:
        """The rows that the step *name* answers, each without its status, on the primary and in
        a history that is known.

        *locks*: what is taken first, so that what the step judges stands still. *again*: the
        step may be done twice. *waits*: it takes locks by itself. *make*: an empty server gets a
        realm. *learn*: what the answer tells of the feed, for whoever has to publish it again.
        """
        while True:
            try:
                history = self._history or self._enter(deadline, make)
                if not history:
                    return []
                rows = self._step(deadline, history, [(name, values)], locks, again, waits)[0]
            except ReadOnlyServer:
                self._wait_for_primary(deadline)
                continue
            except TimeoutError as error:
                raise StoreUnavailable("the PostgreSQL server did not answer in time") from error
            except StatementRefused as refusal:
                # (Somebody has dropped our tables: they are made again, with another epoch.)
                if refusal.state not in ("42P01", "3F000") or not self._history:
                    raise
                self._history = ""
                continue
            status = rows[0][0] if rows else "history"
            told = [row[1:] for row in rows]
            if status in ("ok", "known"):
                if learn is not None:
                    self._keep(learn(told), history)
                return told
            if status != "history":
                _refuse(status, told[0])
            self._history = ""

    def _step(
        self,
        deadline: Deadline,
        history: str,
        steps: Sequence[tuple[str, tuple[Value, ...]]],
        locks: Sequence[Lock] = (),
        again: bool = True,
        waits: bool = False,
    ) -> list[list[Row]]:
        """*steps* as one transaction, sent at once; behind *locks*, each sees what those left."""
        patience = _patience(deadline)
        asked = [
            (self.text(name), (self.name, history, patience, *values)) for name, values in steps
        ]
        if not locks:
            return self.connections.ask(deadline, *asked, again=again, waits=waits)
        before: list[Ask] = [_BEGIN, (self.text("prelude"), (patience,))]
        before += [(self.text(name), (self.name, *values)) for name, values in locks]
        answers = self.connections.ask(deadline, *before, *asked, _COMMIT, again=again, waits=True)
        return answers[len(before) : -1]

    def _keep(self, entries: Iterable[Kept], history: str) -> None:
        """Remember what was told in *history*, also where another one was met meanwhile."""
        kept = self.tail.add(entries, history.split("/")[1])
        # (In this order, and the other way round where a history is met: either it finds them
        # among what is kept, or it is seen here that it did not.)
        if self.met != history:
            self._late = self._late or kept
            self._history = ""

    @property
    def end(self) -> tuple[str, int]:
        """What is known of the feed's end, for :meth:`seen`: taken before that is asked for."""
        return self.tail.epoch, self.tail.last

    def seen(self, head: int, before: tuple[str, int]) -> bool:
        """Whether the feed's end, here *head*, is not before what had been known *before*.

        Where it is, the next step publishes again what this process can. (What another thread
        has appended since the server answered is no loss.)
        """
        epoch, last = before
        if head >= last or last <= self._given_up or epoch != self.tail.epoch:
            return True
        self._lost_end, self._history = True, ""
        return False

    def _wait_for_primary(self, deadline: Deadline) -> None:
        self._history = ""
        self.connections.drop()
        if not self.connections.moves or deadline.over:
            raise ReadOnlyServer(
                "the PostgreSQL server is a standby: STORE has to name the primary"
            )
        time.sleep(_PAUSE)

    # on the way in

    def _enter(self, deadline: Deadline, make: bool) -> str:
        """Take notice of the server's history; one thread does, the others wait for it."""
        if not self._entering.acquire(timeout=deadline.left()):
            raise TimeoutError
        try:
            if self._history:
                return self._history
            if not self._there(deadline, make):
                return ""
            lost = self._lost_end
            found = self._meet(deadline, make, lost)
            if found is None:
                return ""
            history, epoch = found
            self.tail.of(epoch)
            late, self.met = self._late, history
            if late or lost or self._mended not in ("", history):
                self._late, self._mended = False, "?"  # (mended by nobody if this fails)
                self._mend(deadline, history)
            self._mended, self._history = history, history
            if lost:
                self._lost_end, self._given_up = False, self.tail.last
            return history
        finally:
            self._entering.release()

    def _there(self, deadline: Deadline, make: bool) -> bool:
        """Whether our tables are there, made where they may be; and whether the server is fit."""
        (((_, standby, encoding, version, made, _),),) = self.connections.ask(
            deadline, (self.text("server"), ()), again=True
        )
        if standby:
            raise ReadOnlyServer("the PostgreSQL server is a standby")
        if version < _OLDEST:
            raise ConfigurationError(
                "STORE",
                f"PostgreSQL {version // 10000} is too old.",
                f"{_OLDEST // 10000} and later are understood.",
            )
        if encoding != "UTF8":
            raise ConfigurationError(
                "STORE",
                f"the database has the encoding {encoding}.",
                "Create it with: ENCODING 'UTF8'",
            )
        if made:
            (rows,) = self.connections.ask(deadline, (self.text("steps"), ()), again=True)
            found = schema.refuse_newer([(row[0], row[1]) for row in rows])
            if found >= schema.VERSION:
                return True
        if make:
            schema.make(self.connections, deadline, self.options.schema)
        return make

    def _meet(self, deadline: Deadline, make: bool, lost: bool) -> tuple[str, str] | None:
        lineage = self._lineage(deadline)
        patience = _patience(deadline)
        asked: list[Ask] = [_BEGIN, (self.text("prelude"), (patience,))]
        if make:
            epoch = secrets.token_hex(8)
            asked.append((self.text("make_realm"), (self.name, epoch, str(FORMAT), lineage)))
            asked.append((self.text("make_head"), (self.name,)))
        asked.append((self.text("enter"), (self.name, lineage, "lost" if lost else "")))
        asked.append((self.text("history"), (self.name,)))
        *_, rows, _ = self.connections.ask(deadline, *asked, _COMMIT, again=True)
        if not rows:
            return None
        history, epoch, form, _ = rows[0]
        rules.require_known_format(form)
        if self._lineage(deadline) != lineage:
            raise ReadOnlyServer("the PostgreSQL server was replaced meanwhile")
        return history, epoch

    def _lineage(self, deadline: Deadline) -> str:
        """Which history of writes the server has; where it does not say, its last start."""
        ask = self.connections.ask
        try:
            (((lineage,),),) = ask(deadline, (self.text("lineage"), ()), again=True)
        except StoreUnavailable as trouble:
            cause = trouble.__cause__
            if not isinstance(cause, StatementRefused) or cause.state != "42501":
                raise
            (((start, *_, making),),) = ask(deadline, (self.text("server"), ()), again=True)
            return f"start/{start}{making}"
        return str(lineage)

    # publishing again

    def _mend(self, deadline: Deadline, history: str) -> None:
        kept = self.tail.entries()
        lacking = self._lacking(deadline, history, kept)
        if not lacking:
            return
        if not self.tail.bridges(lacking):
            _log.error(
                "the PostgreSQL server lost more of the feed than this node can put back; "
                "nodes that knew it refuse until 'flask tokens restored' was run"
            )
            return
        again = [one for one in kept if one.entry.id in lacking]
        for start in range(0, len(again), _AT_ONCE):
            page = again[start : start + _AT_ONCE]
            steps = [("republish", (*_as_values(one), self.channel)) for one in page]
            self._on_the_way(deadline, history, steps, (HEAD,))
        _log.warning(
            "the PostgreSQL server had lost the feed's end (a fail-over, or a backup put back): "
            "%d entries that this node knew were published again",
            len(again),
        )

    def _lacking(self, deadline: Deadline, history: str, kept: Sequence[Kept]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(kept), _AT_ONCE):
            page = {one.entry.id: one.entry.seq for one in kept[start : start + _AT_ONCE]}
            (rows,) = self._on_the_way(deadline, history, [("lacking", (array([*page]),))])
            trimmed = rows[0][1]
            found |= {row[2] for row in rows if row[2] and page[row[2]] > trimmed}
        return found

    def _on_the_way(
        self,
        deadline: Deadline,
        history: str,
        steps: Sequence[tuple[str, tuple[Value, ...]]],
        locks: Sequence[Lock] = (),
    ) -> list[list[Row]]:
        """Another history in its midst: the caller begins anew."""
        answers = self._step(deadline, history, steps, locks)
        if any(not rows or rows[0][0] != "ok" for rows in answers):
            raise ReadOnlyServer("the PostgreSQL server was replaced meanwhile")
        return answers


def _patience(deadline: Deadline) -> str:
    """Milliseconds for which the server waits for a lock, so that it can still say so."""
    return str(max(1, int(deadline.left() * 900)))


def _as_values(kept: Kept) -> tuple[Value, ...]:
    one = kept.entry
    end = array([None if one.keep_until is None else repr(float(one.keep_until))])
    return (str(one.seq), str(one.prev), one.id, end, one.body, array(kept.deleted))


def _refuse(status: str, told: Any) -> NoReturn:
    """Raise what a step's answer means that is none of the ones above."""
    said = str(told[0]) if told and told[0] is not None else ""
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
            "another PostgreSQL server took over, or its data was put back: for "
            f"{told[2]:.1f} s more the nodes publish what it may have lost"
        )
    raise StoreUnavailable(f"the PostgreSQL server answered {status!r}")
