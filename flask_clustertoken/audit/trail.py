"""Trail: hears what happens in one process, and writes a line for each act."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from .. import forks
from ..authority import TokenAuthority
from ..cluster import this_host, this_process
from ..events import (
    KeyChanged,
    LoginEnding,
    NodeLeaving,
    TokenIssued,
    TokenReused,
    TokenRevoked,
    Unlocked,
)
from ..tokens import Token
from .actor import NOBODY, Actor, current_actor
from .keeping import Collected, KeptAudit
from .line import LONGEST, MOST_NAMED, AuditLine, shortened, spelled_time

#: Each act is one line of JSON, at INFO. (Set its level and its handlers as any logger's.)
audit_log = logging.getLogger("flask_clustertoken.audit")

#: What a revocation is called, by its kind; ``revoked`` with the kind behind it else.
_REVOKED = {
    "lock": "locked",
    "restored": "restored",
    "not_before": "revoked_not_before",
    "realm": "revoked_everybody",
    "subject": "revoked_subject",
    "labels": "revoked_label",
    "labels_before": "revoked_label",
    "ids": "revoked_token",
}


#: The login that its own user is just ending in this context.
_ending: ContextVar[Token | None] = ContextVar("clustertoken_ending", default=None)

_trails: weakref.WeakSet[AuditTrail] = weakref.WeakSet()


def _forget_all() -> None:
    for trail in list(_trails):
        trail.forget()


forks.in_child("adapters", _forget_all)


class AuditTrail:
    """The audit trail of one authority, made by :meth:`of`.

    With ``AUDIT="store"`` the lines are in the cluster store, too, a few seconds later; with a
    kill in between they are in the log alone.
    """

    @classmethod
    def of(cls, authority: TokenAuthority) -> AuditTrail:
        """The trail of *authority*, begun where there is none: two would write each act twice."""
        found: AuditTrail | None = authority.companions.get(cls)
        if found is None:
            found = authority.companions[cls] = cls(authority)
        return found

    def __init__(self, authority: TokenAuthority) -> None:
        # (Not the authority itself: whoever lets go of it is no node any more.)
        self._settings, self._clock = authority.settings, authority.clock
        self._runtime = authority.runtime
        #: Who acts, where no context says so: a web framework's current request.
        self.ask: Callable[[], Actor | None] = lambda: None
        #: In which trace we are, and in which span of it; whoever traces sets it.
        self.trace_ids: Callable[[], tuple[str, str]] = lambda: ("", "")
        self._kept = self._settings.audit == "store"
        self._collected = Collected(self._clock)
        _trails.add(self)
        events = authority.events
        events.listen(TokenIssued, self._issued)
        events.listen(LoginEnding, self._ends)
        events.listen(TokenRevoked, self._revoked)
        events.listen(TokenReused, self._reused)
        events.listen(Unlocked, self._unlocked)
        events.listen(KeyChanged, self._key_changed)
        if self._kept:
            events.listen(NodeLeaving, lambda _: self._write())
            authority.runtime.after_step.append(self._keep)
            authority.runtime.chores.append(self._trim)

    def note(
        self,
        event: str,
        *,
        outcome: str = "done",
        subjects: Sequence[str] = (),
        token_ids: Sequence[str] = (),
        labels: Sequence[str] = (),
        kinds: Sequence[str] = (),
        seq: int = 0,
        detail: str = "",
    ) -> None:
        """Write a line of one's own beside ours: an act of the app's, or of an adapter's.

        *event* is a word of yours. Hand no token and no secret in: what is handed in is written.
        """
        if not self._kept and not audit_log.isEnabledFor(logging.INFO):
            return
        settings = self._settings
        actor = current_actor() or self.ask() or NOBODY
        named = max(len(subjects), len(token_ids), len(labels), len(kinds))
        trace_id, span_id = self.trace_ids()
        line = AuditLine(
            time=spelled_time(self._clock.time()),
            event=shortened(event),
            outcome=shortened(outcome),
            realm=settings.realm,
            deployment=settings.deployment,
            node=shortened(f"{this_host()}:{this_process()}"),
            by=shortened(actor.by),
            actor=shortened(actor.subject),
            actor_token=shortened(actor.token_id),
            operator=shortened(actor.operator),
            network=shortened(actor.network) if settings.keep_address else "",
            subjects=_some(subjects),
            token_ids=_some(token_ids),
            labels=_some(labels),
            count=named if named > MOST_NAMED else 0,
            kinds=_some(kinds),
            seq=seq,
            detail=shortened(detail),
            trace_id=shortened(trace_id),
            span_id=shortened(span_id),
        )
        text = line.as_json()
        audit_log.info("%s", text)
        if self._kept:
            self._collected.add(text)

    def settle(self) -> None:
        """What the store is to keep it has from here on, as far as it can be reached: for whoever
        takes no steps. Never raises for a store."""
        self._write()

    def forget(self) -> None:
        """In a fork's child: what the parent did it writes down itself."""
        self._collected.forget()

    # -- what happens ------------------------------------------------------------------

    def _issued(self, event: TokenIssued) -> None:
        token = event.token
        made = "login" if token.kind == "login" else "api_token_made"
        self.note(
            made,
            subjects=[token.subject],
            token_ids=[token.id],
            labels=token.labels,
            detail=token.name if token.kind == "api" else "",
        )

    def _revoked(self, event: TokenRevoked) -> None:
        kind, named = event.notice.kind, event.named
        ending = _ending.get()
        if ending is not None and named == (ending.id,):
            _ending.set(None)
            self.note("logout", subjects=[ending.subject], token_ids=named, seq=event.seq)
            return
        self.note(
            _REVOKED.get(kind, "revoked"),
            subjects=named if kind == "subject" else (),
            token_ids=named if kind == "ids" else (),
            labels=named if kind in ("labels", "labels_before") else (),
            kinds=event.notice.kinds,
            seq=event.seq,
            detail=" ".join(named) if kind == "lock" else "",
        )

    def _reused(self, event: TokenReused) -> None:
        # (Half of the line for what each browser calls itself, which can say what it likes.)
        places = [f"{one.host} {one.agent[: LONGEST // 3]!r}" for one in (event.asked, event.other)]
        self.note(
            "two_holders",
            outcome="ended" if event.ended else "reported",
            subjects=[event.token.subject],
            token_ids=[event.token.id],
            detail=" and ".join(places),
        )

    def _ends(self, event: LoginEnding) -> None:
        _ending.set(event.token)

    def _unlocked(self, event: Unlocked) -> None:
        self.note("unlocked", seq=event.seq, detail=" ".join(event.named))

    def _key_changed(self, event: KeyChanged) -> None:
        self.note(f"key_{event.state}", detail=event.key_id)

    # -- keeping -----------------------------------------------------------------------

    def _keep(self) -> None:
        following = self._runtime.following
        if self._collected.due and following is not None:
            following.soon(self._write)

    def _write(self) -> None:
        self._collected.write(self._runtime.store)

    def _trim(self, late: Callable[[], bool]) -> None:
        KeptAudit(self._runtime.store, self._clock).trim(late)


def _some(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(shortened, names[:MOST_NAMED]))
