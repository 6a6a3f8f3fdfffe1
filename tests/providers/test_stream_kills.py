"""A hundred kills, outages and restarts: each event is acted on once, and none is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.wrappers import Response

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.providers import SecurityEvent, security_event, stream_parts
from flask_clustertoken.providers.acting import TOLD_WITHIN
from flask_clustertoken.providers.stream import LEASE
from tests.conftest import Tell
from tests.providers.listener import Listener
from tests.providers.transmitter import RISC, TransmitterDouble
from tests.rounds import rounds

Listen = Callable[..., Listener]

KILLS = rounds(25, 100)


class Killed(BaseException):
    """As if the process had ended there: nothing of ours catches it."""


class Fate:
    """Kills at the call number *at* that leaves the process, before or after it took effect.

    (Of the calls of the step: a thread of the node's that looks at the feed meanwhile would end
    without the node.)
    """

    def __init__(self, at: int, after: bool) -> None:
        self._left, self._after = at, after
        self._thread = threading.get_ident()
        self.struck = False

    def over(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:
                return call(*given, **named)
            self._left -= 1
            mine = self._left == 0
            if mine and not self._after:
                self._strike()
            answer = call(*given, **named)
            if mine:
                self._strike()
            return answer

        return made

    def _strike(self) -> None:
        self.struck = True
        raise Killed


@contextmanager
def mortal(node: Listener, fate: Fate, patch: pytest.MonkeyPatch) -> Any:
    """*node* dies by *fate* in whatever call of its to the store or the transmitter."""
    store = node.authority.store
    calls = stream_parts(node.app).transmitter._calls
    with patch.context() as patched:
        for name in ("append", "put", "get", "get_many"):
            patched.setattr(store, name, fate.over(getattr(store, name)))
        patched.setattr(calls, "call", fate.over(calls.call))
        yield


@pytest.mark.parametrize("seed", range(rounds(1, 5)))
def test_kills(
    listen: Listen,
    transmitter: TransmitterDouble,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    tell: Tell,
    seed: int,
) -> None:
    """Wherever the node that polls is killed, the next one goes on from there."""
    chance = random.Random(seed)
    told: list[str] = []
    ids: list[str] = []
    entries = struck = 0

    def hear(_: Any, event: SecurityEvent, **__: Any) -> None:
        told.append(event.id)

    def down(_: Any) -> Response | None:
        return Response("down", 503) if chance.random() < 0.2 else None

    with security_event.connected_to(hear):
        while struck < KILLS:
            node = listen(find_subject=lambda subject: subject["sub"])
            for _ in range(chance.randint(0, 3)):
                session = chance.random() < 0.5
                claims = (
                    transmitter.revoked(f"sid-{len(ids)}")
                    if session
                    else transmitter.claims(
                        f"{RISC}sessions-revoked", transmitter.person(f"person-{len(ids)}")
                    )
                )
                ids.append(transmitter.put(claims))
                # (A person ends by a label and as the app's subject: in two steps.)
                entries += 1 if session else 2
            transmitter.instead = down if chance.random() < 0.3 else lambda _: None
            fate = Fate(chance.randint(1, 40), chance.random() < 0.5)
            try:
                with mortal(node, fate, monkeypatch):
                    for _ in range(6):
                        clock.advance(node.step())
            except Killed:
                struck += 1
            # (Nothing is given back: the lease ends by itself.)
            stream_parts(node.app).listening._pid = 0
            node.close()
            clock.advance(LEASE + 1 if chance.random() < 0.8 else 5)
        transmitter.instead = lambda _: None
        clock.advance(TOLD_WITHIN + LEASE)
        last = listen(find_subject=lambda subject: subject["sub"])
        for _ in range(8):
            clock.advance(last.step() or 1)

    assert set(ids) <= set(transmitter.acknowledged)
    assert transmitter.refused == {}
    assert last.entries() == entries
    assert set(told) == set(ids)
    # (Told again is only what was just being told when the process was killed.)
    assert len(told) - len(ids) <= struck
    tell(
        f"nodes that poll, killed in some call of theirs, {seed}",
        kills=struck, events=len(ids), entries=last.entries(), told_again=len(told) - len(ids),
    )  # fmt: skip
