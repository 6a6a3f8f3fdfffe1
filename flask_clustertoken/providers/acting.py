"""Acting: what an event ends is ended, and the app is told of it; each event once.

What may happen in between, and what closes it:

- Two nodes have the same token (a transmitter that asks twice; two that poll, one of which was
  frozen past its lease): its id is recorded in the step of its last revocation, and the second
  step fails.
- The process is killed before that step: nothing is recorded, nothing is acknowledged, and the
  transmitter sends it again. Revocations before the last have ids of their own: made again, they
  are not made twice.
- A token that was acted on, or another one of its id, comes once the store has forgotten those
  ids (with its entries, days later): where there is more than one revocation, the token's id is
  looked for before the first.
- It is killed behind the step, before the app was told: that it was begun stands in the same step,
  and when. Whoever gets the token again tells the app, once nobody can be at it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from flask import Flask

from ..authority import TokenAuthority
from ..errors import Conflict
from ..oidc import Once, Peer
from ..stores.base import Add, Change
from ..tokens import TokenKind
from .events import SecurityEvent
from .labels import digest
from .sets import SecurityEventToken
from .signals import security_event, tell
from .subjects import Finder, Targets, subject_in

#: Seconds within which receivers of an event have to be done, before it is told once more.
TOLD_WITHIN = 60.0

_DONE = b"done"


class Acting:
    """Does what the tokens of one transmitter ask for. *remember*: seconds that ids are kept."""

    def __init__(
        self,
        app: Flask,
        authority: TokenAuthority,
        peer: Peer,
        finder: Finder,
        *,
        root: str,
        ends: Collection[str],
        remember: float,
    ) -> None:
        self._app = app
        self._authority = authority
        self._peer = peer
        self._finder = finder
        self._root = root
        self._ends = frozenset(ends)
        self._remember = remember

    def act(self, token: SecurityEventToken) -> None:
        """Return once it is done, now or before.

        Raises a :class:`~flask_clustertoken.errors.StoreError` where the store did not
        acknowledge it, :class:`~flask_clustertoken.oidc.NotGenuine` for another token of the same
        id, :class:`~flask_clustertoken.oidc.ProviderUnavailable` where another node is at it.
        """
        events, targets = self._judged(token)
        key = f"{self._root}/message/{digest(token.id)}"
        told = f"{self._root}/told/{digest(token.id)}"
        now = self._authority.clock.time()
        once = Once(key, token.canonical, now + self._remember, source="ssf")
        last: list[Change] = [once.record]
        heard = bool(events) and bool(security_event.receivers)
        if heard:
            last.append(Add(told, repr(now).encode(), once.record.expires_at))
        try:
            self._end(targets, once, last)
        except Conflict:
            once.check_replay(self._authority.store)
            if not self._is_left(told, now):
                return
        if heard:
            for event in events:
                tell(security_event, self._app, event=event)
            self._authority.store.put(told, _DONE, once.record.expires_at)

    def _judged(self, token: SecurityEventToken) -> tuple[list[SecurityEvent], Targets]:
        events, targets = [], Targets()
        for kind, payload in token.events.items():
            event = SecurityEvent(
                token.id,
                kind,
                str(token.claims["iss"]),
                token.issued_at,
                subject_in(token.claims, payload),
                payload,
            )
            mine = self._finder.targets(event) if kind in self._ends else Targets()
            targets |= mine
            events.append(replace(event, ended=bool(mine)))
        return events, targets

    def _end(self, targets: Targets, once: Once, last: list[Change]) -> None:
        """Each entry by itself, the token's id with the last.

        Raises :class:`~flask_clustertoken.errors.Conflict` where that is recorded already.
        """
        authority = self._authority
        kinds: tuple[TokenKind, ...] = ("login", "api") if targets.all_kinds else ("login",)
        steps: list[Callable[[list[Change], str | None], object]] = []
        if targets.sessions:
            steps.append(
                lambda changes, name: authority.revoke_labels(
                    sorted(targets.sessions), changes=changes, entry_id=name
                )
            )
        if targets.people:
            steps.append(
                lambda changes, name: authority.revoke_labels(
                    sorted(targets.people), before=True, changes=changes, entry_id=name
                )
            )
        for subject in sorted(targets.subjects):
            steps.append(
                lambda changes, name, subject=subject: authority.revoke_subject(  # type: ignore[misc]
                    subject, kinds, changes=changes, entry_id=name
                )
            )
        if len(steps) > 1 and authority.store.get(once.record.key) is not None:
            raise Conflict("this token was acted on before")
        for number, step in enumerate(steps):
            # (The last has no id of its own: a known one would say nothing of who was first.)
            if number < len(steps) - 1:
                step([], once.entry_id(number))
            else:
                step(last, None)
        if not steps:
            authority.store.append([], last)

    def _is_left(self, told: str, now: float) -> bool:
        """Whether the app was not told of what was recorded before, and nobody is at it."""
        found = self._authority.store.get(told)
        if found is None or found.value == _DONE:
            return False
        if 0 <= now - float(found.value) < TOLD_WITHIN:
            raise self._peer.trouble("another node is just telling the app of this event")
        return True
