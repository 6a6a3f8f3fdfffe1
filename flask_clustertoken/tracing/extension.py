"""Tracing of a Flask app, or of any authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from ..audit import AuditTrail
from ..authority import TokenAuthority
from ..errors import ConfigurationError, MissingDriver
from ..extension import state_of
from .current import trace_ids
from .records import trace_records
from .sessions import Sessions

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider


def trace_authority(
    authority: TokenAuthority, *, sessions: bool = False, provider: LoggerProvider | None = None
) -> None:
    """As :class:`Tracing`, for an app that is not Flask's: of its requests the current span
    counts, and no header. Opens no store."""
    try:
        from opentelemetry import _logs, trace  # noqa: F401
    except ImportError as error:
        raise MissingDriver("Tracing", "opentelemetry-api", "otel") from error
    if _Traced in authority.companions:
        raise ConfigurationError(
            "Tracing", "it was made for this app already.", "Make it once: else all is told twice."
        )
    authority.companions[_Traced] = _Traced()
    AuditTrail.of(authority).trace_ids = trace_ids
    trace_records()
    if sessions:
        Sessions(authority, provider)


class _Traced:
    """Stands beside an authority that is traced."""


class Tracing:
    """Puts the trace of a request into this library's log records and audit lines.

    ``Tracing(app)`` or ``init_app(app)``, behind ``ClusterToken(app)``. *sessions*: also tells of
    logins as OpenTelemetry's ``session.start`` and ``session.end``, to *provider*, or to the
    process's own logger provider. It exports nothing itself, and without OpenTelemetry's SDK
    nothing comes of it. Raises :class:`~flask_clustertoken.errors.ConfigurationError` where
    OpenTelemetry's API is not installed, or where the app has one already.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        sessions: bool = False,
        provider: LoggerProvider | None = None,
    ) -> None:
        self._sessions = sessions
        self._provider = provider
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Begin with it."""
        authority = state_of(app).authority
        trace_authority(authority, sessions=self._sessions, provider=self._provider)
