"""Reuse: a login that has two holders is noticed by the copies that they come with.

The rule, and which copy is newer, is that of :mod:`flask_clustertoken.tokens.copies`. Here is who
writes and reads the note beside the record, and when: **behind the request, in the follower's
steps, for many logins at a time**. A seen token asks nobody, and a renewal asks nobody more.

What another node may do in between, and why it does no harm: a note is replaced only if it is
still the one that was read (``Unchanged``, ``Add``), in one step, so none moves back; whoever
loses reads it anew. Times are the store's, and what was found out after somebody came does not
count against whoever came: so it does not matter how late the note is written. What is lost
(the store is away, a process dies) is noted at a later use; nobody is accused for it.
"""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any
from weakref import WeakValueDictionary

from ..clock import SKEW
from ..cluster import NodeRuntime, this_host
from ..errors import Conflict, StoreError
from ..events import TokenReused
from ..stores.base import Add, Change, Put, Record, Unchanged
from ..tokens import CopiesNote, Token, Whereabouts, begun, copies_key, read_copies

logger = logging.getLogger("flask_clustertoken")

#: Sightings that wait at most (some are lost then), and that are settled in one step.
MOST_WAITING = 10_000
AT_ONCE = 100

#: Seconds after which a request looks whether it is known when a use is to be noted again.
LOOK_AGAIN = 2.0

#: Seconds after which the follower is asked again.
CALL_AGAIN = 5.0

#: Times that one step tries, each with two calls; and logins that it ends.
CLASHES = 3
ENDED_AT_ONCE = 10

#: Times that a note is read anew because another node was faster, or that a second holder is
#: looked for again after the store was in trouble.
TRIES = 5


#: As a request: the copy came a while ago, and was looked at then. It may be one that its
#: browser has lost meanwhile, so this look is no use of it.
AGAIN = object()


class Copies:
    """What this process does about the uses of one generation of a login's copies."""

    __slots__ = ("__weakref__", "generation", "next_at")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        #: By the monotonic clock: a use from then on is to be noted.
        self.next_at = -inf


@dataclass(slots=True)
class Sighting:
    """A copy was used; or somebody asked for its renewal, where no *copies* stand here."""

    token: Token
    place: Whereabouts
    copies: Copies | None = None
    tries: int = 0
    #: Its login was ended for it.
    ended: bool = False
    name: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What sightings of one login come to: how its note changes, and a second holder, if any."""

    key: str
    changes: Sequence[Change] = ()
    second: Sighting | None = None
    other: Whereabouts | None = None
    #: When (monotonic) a use of these copies is to be noted again, once this is written.
    noted: Sequence[tuple[Copies, float]] = ()


def no_agent(_: Any) -> str:
    """Where nobody knows what a request is."""
    return ""


def note_key(token: Token) -> str:
    """Where the store keeps the note of this login's copies."""
    return copies_key(token.record_key)


class Reuse:
    """Notes the use of copies, and tells of second holders.

    *end* ends the login of an id everywhere.
    """

    def __init__(self, runtime: NodeRuntime, end: Callable[[str], object]) -> None:
        self._runtime = runtime
        self._end = end
        self._grace = runtime.settings.reuse_grace
        #: What the client of a request calls itself; whoever knows requests sets it.
        self.agent_of: Callable[[Any], str] = no_agent
        self.begin()
        runtime.memories.append(self)

    # -- what is remembered (see cluster.runtime.Memory) -------------------------------

    def begin(self) -> None:
        self._waiting: deque[Sighting] = deque(maxlen=MOST_WAITING)
        #: When the follower was asked to settle it, by the monotonic clock.
        self._called_at = -inf
        #: Held by what is remembered of the copies themselves.
        self._copies: WeakValueDictionary[tuple[str, int], Copies] = WeakValueDictionary()

    def doubt(self) -> None:
        """Nothing here is an answer."""

    def clear(self) -> None:
        self.begin()

    def copies_of(self, token: Token) -> Copies | None:
        """For all copies of *token*'s generation; ``None`` where no use of them says anything."""
        if not token.generation:
            return None  # (Older than a login's first copy is none.)
        key = (token.id, token.generation)
        found = self._copies.get(key)
        if found is None:
            found = self._copies[key] = Copies(token.generation)
        return found

    # -- told by requests --------------------------------------------------------------

    def used(self, token: Token, copies: Copies, request: Any) -> None:
        """A copy is used now, and it was not known whether that says anything new."""
        moment = self._runtime.clock.monotonic()
        if moment < copies.next_at or request is AGAIN:
            return
        # (What comes of it says when to note a use again. If it is lost, the next use tells it.)
        copies.next_at = moment + LOOK_AGAIN
        self._await(Sighting(token, self._place(request, moment), copies))

    def asked(self, token: Token, came_at: float | None, request: Any) -> None:
        """A later copy than *token* was just made, for whoever came at *came_at* (monotonic)."""
        if token.generation is not None:
            self._await(Sighting(token, self._place(request, came_at)))

    def _store_time(self) -> float:
        return self._runtime.follower().clocks.store_time()

    def _place(self, request: Any, moment: float | None) -> Whereabouts:
        at = self._store_time()
        if moment is not None:
            at -= self._runtime.clock.monotonic() - moment
        agent = "" if request is None else self.agent_of(request)
        return Whereabouts(at, agent, this_host())

    def _await(self, sighting: Sighting) -> None:
        self._waiting.append(sighting)
        runtime = self._runtime
        if runtime.runner is None and not runtime.store.shared:
            # In the memory of this process, and no thread takes steps.
            try:
                self.settle()
            except StoreError:
                logger.debug("the use of a copy was not noted", exc_info=True)
        else:
            self._call()

    def _call(self) -> None:
        """Have it settled in the next step. (Work that waits for one may be lost.)"""
        moment = self._runtime.clock.monotonic()
        if moment - self._called_at > CALL_AGAIN:
            self._called_at = moment
            self._runtime.follower().soon(self.settle)

    # -- behind the request ------------------------------------------------------------

    def settle(self) -> None:
        """Read, judge and write what waits: two calls to the store, for up to a hundred logins."""
        self._called_at = -inf
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), AT_ONCE))]
        if not batch:
            return
        if waiting:
            self._call()
        logins: dict[str, list[Sighting]] = defaultdict(list)
        for one in sorted(batch, key=lambda one: one.place.at):
            logins[note_key(one.token)].append(one)
        try:
            self._settle(logins)
        except StoreError:
            self._look_again(one for sightings in logins.values() for one in sightings)
            raise

    def _settle(self, logins: dict[str, list[Sighting]]) -> None:
        """Settle *logins*, all at once; where another node was faster with one, read all anew.

        Behind some such clashes they wait for another step: one step makes no more calls the more
        nodes note the same logins at once, as they do where a page asks several of them.
        """
        for _ in range(CLASHES):
            clashed = self._clash(logins)
            if clashed is None:
                return
            key = clashed if clashed in logins else next(iter(logins))
            logins[key][0].tries += 1
            if logins[key][0].tries >= TRIES:
                del logins[key]
            if not logins:
                return
        while logins:
            self._wait_for_another_step(logins.popitem()[1])

    def _wait_for_another_step(self, sightings: Sequence[Sighting]) -> None:
        # (Before what came meanwhile, which may be of the same login.)
        self._waiting.extendleft(reversed(sightings))
        self._call()

    def _clash(self, logins: dict[str, list[Sighting]]) -> str | None:
        """Settle *logins* at once; or nothing of them, and the note that another node has changed
        since it was read."""
        found = self._read(logins)
        outcomes = [self._judge(key, logins[key], found.get(key)) for key in logins]
        if self._runtime.settings.when_reused == "end":
            # (Each is ended by itself, which takes some calls.)
            doomed = [one for one in outcomes if one.second is not None and not one.second.ended]
            for outcome in doomed[ENDED_AT_ONCE:]:
                outcomes.remove(outcome)
                self._wait_for_another_step(logins.pop(outcome.key))
        changes = [one for outcome in outcomes for one in outcome.changes]
        for outcome in outcomes:
            self._end_login(outcome.second)
        try:
            if changes:
                self._runtime.store.append([], changes)
        except Conflict as error:
            return error.key
        for outcome in outcomes:
            for copies, next_at in outcome.noted:
                copies.next_at = next_at
            self._tell(outcome)
        return None

    def _read(self, keys: Iterable[str]) -> Mapping[str, Record]:
        return self._runtime.store.get_many(list(keys))

    def _judge(self, key: str, sightings: Iterable[Sighting], record: Record | None) -> Outcome:
        before = None if record is None else read_copies(record.value)
        if record is not None and before is None:
            for one in sightings:  # a newer version's: left to nodes of that
                if one.copies is not None:
                    one.copies.next_at = inf
            return Outcome(key)
        note, ends_at, second = before, 0.0, None
        noted: list[tuple[Copies, float]] = []
        for one in sightings:
            generation = one.token.generation or 0
            if one.copies is None:
                if note is not None and note.is_spent(generation, one.place.at):
                    second = one
                continue
            if note is None:
                note = begun(generation, one.place)
            else:
                note = note.used(generation, one.place, self._grace)
            ends_at = max(ends_at, (one.token.expires_at or 0) + SKEW)
            late = self._store_time() - one.place.at
            wait = note.wait(generation, one.place.at, self._grace) - late
            noted.append((one.copies, self._runtime.clock.monotonic() + wait))
        if note is None or (second is not None and note.is_told(second.name)):
            second = None
        other = None
        if note is not None and second is not None:
            other = note.last_place
            note = note.as_told(second.name)
            ends_at = max(ends_at, (second.token.expires_at or 0) + SKEW)
        if note is None or note == before:
            return Outcome(key, (), second, other, noted)
        return Outcome(key, self._changes(key, record, note, ends_at), second, other, noted)

    def _changes(
        self, key: str, record: Record | None, note: CopiesNote, ends_at: float
    ) -> list[Change]:
        """The note lives as long as a copy that is older than what it says."""
        if record is None:
            return [Add(key, note.encode(), ends_at)]
        ends_at = max(ends_at, record.expires_at or 0.0)
        return [Unchanged(key, record.value), Put(key, note.encode(), ends_at)]

    def _end_login(self, second: Sighting | None) -> None:
        """Before it is noted that it was told: what fails here is tried again, and told at last."""
        if second is None or second.ended or self._runtime.settings.when_reused != "end":
            return
        try:
            self._end(second.token.id)
            second.ended = True
        except StoreError:
            if second.tries + 1 < TRIES:
                raise
            logger.exception("a login with two holders could not be ended")

    def _tell(self, outcome: Outcome) -> None:
        second, other = outcome.second, outcome.other
        if second is None or other is None:
            return
        logger.warning(
            "a login has two holders (%s): an old copy came to %s (%r), a newer one to %s (%r)%s",
            second.token.record_key,
            second.place.host,
            second.place.agent,
            other.host,
            other.agent,
            "; it was ended" if second.ended else "",
        )
        self._runtime.events.announce(TokenReused(second.token, second.place, other, second.ended))

    def _look_again(self, batch: Iterable[Sighting]) -> None:
        """Uses are told again by later uses. Whoever asked may not ask again."""
        for one in batch:
            one.tries += 1
            if one.copies is None and one.tries < TRIES:
                self._waiting.append(one)
        if self._waiting:
            self._call()
