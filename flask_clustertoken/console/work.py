"""Work: what an act of the console does and what came of it, kept where every worker finds it.

Whoever asked for it watches a page that any worker may answer, so it is told by the cluster store.
A thread of the process that was asked does it, in steps; where that process dies, the page says
so, and whoever watches has it gone on with where it stood. A step that is done twice ends nothing
twice.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from ..audit import Actor, AuditTrail, done_by
from ..authority import TokenAuthority, TokenFilter
from ..cluster import Confirmation, Revocation
from ..errors import ClusterTokenError, NoThread
from ..shared import SharedData

#: What the console keeps lies under this name of the deployment's shared data.
SHARED = "flask_clustertoken.console"

#: Seconds for which what came of it can be looked at.
KEPT = 3600.0

#: Seconds between two notes of how far it is, and after which nobody works on it any more.
NOTED = 0.3
GIVEN_UP = 15.0

#: Seconds that are waited for nodes, and that whoever asked is held up by at most.
CONFIRM = 60.0
AT_ONCE = 1.0

#: Nodes that are named at most, and people.
NAMED = 300
WHOM = 20

State = Literal["doing", "ending", "confirming", "done", "stopped"]

#: What a step does besides, once: what it has to add to what is said, and what it revoked.
Doing = Callable[[], tuple[Mapping[str, Any], Revocation | None]]


@dataclass(frozen=True, slots=True)
class Work:
    """One act. *said* is what it is about, for the sentence that names it."""

    id: str
    act: str
    by: str
    said: Mapping[str, Any] = field(default_factory=dict)
    state: State = "confirming"
    #: When it was last noted (wall clock).
    at: float = 0.0
    #: What is ended one by one, as far as it is: where that goes on, and how many were.
    wanted: Mapping[str, Any] | None = None
    after: str = ""
    share: float = 1.0
    count: int = 0
    #: Whose they were, as many as one line of the audit trail names.
    whom: list[str] = field(default_factory=list)
    #: The last revocation's number; 0: nothing was revoked.
    seq: int = 0
    embedded: bool = False
    elapsed: float = 0.0
    #: Names of the nodes that have applied it, that are gone, and that have not answered, these
    #: with the seconds after which they accept nothing any more.
    answered: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    silent: list[tuple[str, float | None]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    reservation: str = ""
    trouble: str = ""

    def stands_still(self, now: float) -> bool:
        """Whether whoever did it is gone, so that somebody else has to go on."""
        if self.state == "stopped":
            return True
        return not self.over and now - self.at > GIVEN_UP

    @property
    def may_go_on(self) -> bool:
        """Whether it can be gone on with where it stood. (What is done once is looked at anew.)"""
        return self.wanted is not None or self.seq != 0

    @property
    def over(self) -> bool:
        return self.state in ("done", "stopped")

    @property
    def in_force(self) -> bool:
        return self.state == "done" and not self.silent


class Works:
    """The acts of one deployment's console, as they are kept and done."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority

    @property
    def _shared(self) -> SharedData:
        return self._authority.shared(SHARED)

    def find(self, work_id: str) -> Work | None:
        """The act with this id; ``None`` where it was never begun, or is forgotten."""
        if not (0 < len(work_id) <= 64):
            return None
        kept = self._shared.get(work_id)
        if kept is None:
            return None
        # (What another version wrote besides is left out.)
        known = {one.name for one in fields(Work)}
        return Work(**{name: value for name, value in kept.items() if name in known})

    def begin(
        self,
        act: str,
        actor: Actor,
        *,
        said: Mapping[str, Any] | None = None,
        wanted: TokenFilter | None = None,
        revocation: Revocation | None = None,
        do: Doing | None = None,
    ) -> Work:
        """Begin what ends *wanted* one by one, or does what *do* does, or waits for the nodes to
        apply *revocation*.
        """
        state: State = "ending" if wanted is not None else "confirming" if do is None else "doing"
        work = Work(
            secrets.token_urlsafe(12),
            act,
            actor.subject,
            said or {},
            state,
            wanted=None if wanted is None else asdict(wanted),
            share=1.0 if wanted is None else 0.0,
            seq=0 if revocation is None else revocation.seq,
            embedded=self._authority.store.embedded,
        )
        return self._start(work, actor, do)

    def go_on(self, work: Work, actor: Actor, *, spared: str = "") -> Work:
        """Go on with what stands still. *spared* is the id of a login that stays from now on."""
        if work.wanted is not None and spared:
            wanted = filter_of(work.wanted)
            kept = tuple(dict.fromkeys([*wanted.spared, spared]))
            work = replace(work, wanted=asdict(replace(wanted, spared=kept)))
        state: State = "ending" if work.wanted is not None and work.share < 1 else "confirming"
        return self._start(replace(work, state=state, trouble=""), actor, None)

    def _start(self, work: Work, actor: Actor, do: Doing | None) -> Work:
        self._note(work)
        thread = threading.Thread(
            target=self._do, args=(work, actor, do), name="clustertoken-console", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            why = NoThread("an act of the console")
            return self._note(replace(work, state="stopped", trouble=str(why)))
        # (Mostly it is over by then, and the first page that is shown says so.)
        thread.join(AT_ONCE)
        return work

    def _do(self, work: Work, actor: Actor, do: Doing | None) -> None:
        with done_by(lambda: actor):
            try:
                if do is not None:
                    work = self._do_once(work, do)
                for stand in self.steps(work):
                    work = stand  # where it stood, should the next step fail
            except ClusterTokenError as error:
                work = self._note(replace(work, state="stopped", trouble=str(error)))
            if work.wanted is not None:
                self._tell(work)

    def _tell(self, work: Work) -> None:
        """One line of the audit trail for all of it. (Each step's has ids and nothing else.)"""
        assert work.wanted is not None
        said = {name: one for name, one in work.wanted.items() if one and name != "ids"}
        AuditTrail.of(self._authority).note(
            "tokens_ended",
            outcome=work.state,
            subjects=work.whom,
            kinds=work.wanted["kinds"],
            seq=work.seq,
            detail=f"{work.count} by {json.dumps(said)}",
        )

    def _do_once(self, work: Work, do: Doing) -> Work:
        said, revocation = do()
        seq = 0 if revocation is None else revocation.seq
        return self._note(replace(work, state="confirming", said={**work.said, **said}, seq=seq))

    def steps(self, work: Work) -> Iterator[Work]:
        """End and confirm, step by step; gives how far it is after each."""
        clock = self._authority.clock
        noted = clock.monotonic()
        while work.state == "ending":
            work = self._end_some(work)
            if work.state != "ending" or clock.monotonic() - noted >= NOTED:
                self._note(work)
                noted = clock.monotonic()
            yield work
        yield self._confirm(work)

    def _end_some(self, work: Work) -> Work:
        assert work.wanted is not None
        wanted = filter_of(work.wanted)
        done = self._authority.selecting.end(wanted, work.after)
        return replace(
            work,
            after=done.after,
            share=done.share,
            count=work.count + done.count,
            whom=list(dict.fromkeys([*work.whom, *done.subjects]))[:WHOM],
            seq=work.seq if done.revocation is None else done.revocation.seq,
            state="ending" if done.after else "confirming",
        )

    def _confirm(self, work: Work) -> Work:
        if not work.seq:
            return self._note(replace(work, state="done"))
        clock = self._authority.clock
        noted = clock.monotonic()

        def tell(state: Confirmation) -> None:
            nonlocal noted
            if clock.monotonic() - noted >= NOTED:
                self._note(_told(work, state))
                noted = clock.monotonic()

        revocation = Revocation(work.seq, self._authority.publisher)
        told = _told(work, revocation.confirm(CONFIRM, tell))
        if work.embedded:
            # (There it was in force before anybody could ask.)
            live = [one.node.name for one in self._authority.nodes() if not one.silent]
            told = replace(told, answered=live[:NAMED])
        return self._note(replace(told, state="done"))

    def _note(self, work: Work) -> Work:
        work = replace(work, at=self._authority.clock.time())
        self._shared.set(work.id, asdict(work), KEPT)
        return work


def filter_of(said: Mapping[str, Any]) -> TokenFilter:
    """The filter that was written as *said*."""
    ids, spared = said["ids"], said["spared"]
    if isinstance(spared, str):  # (of a version that spared one login only)
        spared = [spared] if spared else []
    more = {
        "kinds": tuple(said["kinds"]),
        "ids": None if ids is None else tuple(ids),
        "spared": tuple(spared),
    }
    return TokenFilter(**{**said, **more})


def _told(work: Work, state: Confirmation) -> Work:
    return replace(
        work,
        elapsed=state.elapsed,
        answered=[one.node.name for one in state.answered if not one.by_silence][:NAMED],
        gone=[one.node.name for one in state.answered if one.by_silence][:NAMED],
        silent=[(one.node.name, one.certain_in) for one in state.silent][:NAMED],
        missing=list(state.missing)[:NAMED],
        reservation=state.reservation,
    )
