"""A node that listens to a transmitter, whose steps a test takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import SecurityEvent, SharedSignals, security_event, stream_parts
from flask_clustertoken.providers.stream import Stream
from tests.providers.app import Login, bare_app
from tests.providers.transmitter import TransmitterDouble


class Listener:
    """An app with :class:`SharedSignals`; what is not said is as for a managed poll."""

    def __init__(
        self,
        store: str,
        token_store: str,
        transmitter: TransmitterDouble,
        clock: ManualClock | None,
        **more: Any,
    ) -> None:
        self.app = bare_app(store, token_store, clock=clock)
        given = {"transmitter": transmitter.issuer, "credentials": transmitter.access, **more}
        self.signals = SharedSignals(
            **{name: value for name, value in given.items() if value is not ...}
        )
        self.signals.init_app(self.app)
        self.authority = state_of(self.app).authority
        self.authority.follower()

    @property
    def stream(self) -> Stream:
        return stream_parts(self.app, self.signals.name).listening.part()

    def step(self) -> float:
        return self.stream.step()

    def settle(self, most: int = 20) -> None:
        """Take steps until nothing is to be done at once."""
        for _ in range(most):
            if self.step() > 0:
                return
        raise AssertionError(f"it goes on at once after {most} steps")

    def login(self, claims: Mapping[str, Any] | None = None) -> Login:
        return Login(self.app, self.signals, claims)

    def push(self, text: str, **headers: str) -> Any:
        return self.app.test_client().post(
            "/signals/events", data=text, content_type="application/secevent+jwt", headers=headers
        )

    def entries(self) -> int:
        """Revocations in the feed."""
        kinds = ("ids", "labels", "labels_before", "subject")
        found = [json.loads(one.body) for one in self.authority.store.read(0).entries]
        return len([one for one in found if one["kind"] in kinds])

    def close(self) -> None:
        self.authority.close()


@contextmanager
def told(listener: Listener) -> Iterator[list[SecurityEvent]]:
    """What the app is told of meanwhile."""
    heard: list[SecurityEvent] = []

    def hear(_: Flask, event: SecurityEvent, **__: Any) -> None:
        heard.append(event)

    with security_event.connected_to(hear, sender=listener.app):
        yield heard
