"""Parts that the tests of tracing are built from: a site, and what OpenTelemetry's SDK was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from flask_clustertoken import ClusterToken, current_token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.tracing import Tracing, session_id

try:
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
except ImportError:  # (its name before 1.39)
    from opentelemetry.sdk._logs.export import (
        InMemoryLogExporter as InMemoryLogRecordExporter,  # type: ignore[no-redef]
    )

SECRET = "the secret of these tests, long enough"

#: What a proxy in front sends along: trace and span.
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


class Told:
    """What was told to a logger provider of OpenTelemetry's own SDK."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    @property
    def records(self) -> list[Any]:
        return [one.log_record for one in self._exporter.get_finished_logs()]

    @property
    def events(self) -> list[tuple[str | None, Mapping[str, Any]]]:
        return [(one.event_name, dict(one.attributes or {})) for one in self.records]


class TracedSite:
    """An app whose logins OpenTelemetry hears of."""

    def __init__(self, *, sessions: bool = True, **settings: object) -> None:
        self.told = Told()
        self.tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
        self.clock = ManualClock()
        self.app = app = Flask(__name__)
        app.config.update(
            CLUSTERTOKEN_STORE="memory:",
            CLUSTERTOKEN_SECRET=SECRET,
            CLUSTERTOKEN_COOKIE_SECURE=False,
        )
        app.config.update({f"CLUSTERTOKEN_{name}": value for name, value in settings.items()})
        self.tokens = tokens = ClusterToken(clock=self.clock)
        tokens.init_app(app)
        Tracing(app, sessions=sessions, provider=self.told.provider)
        self.authority = state_of(app).authority

        @app.post("/login/<subject>")
        def login(subject: str) -> str:
            tokens.login(subject)
            return session_id(current_token)

        @app.post("/logout")
        def logout() -> str:
            tokens.logout()
            return "out"

        @app.post("/logout-everywhere")
        def logout_everywhere() -> str:
            tokens.logout_everywhere()
            return "out"

        @app.post("/end-the-others")
        def end_the_others() -> str:
            tokens.logout_everywhere(keep_current=True)
            return session_id(current_token)
