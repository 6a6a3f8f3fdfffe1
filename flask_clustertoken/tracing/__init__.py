"""Tracing: logins as OpenTelemetry's sessions, and the trace of a request in logs and audit lines.

Needs the extra ``otel``. Others use :class:`Tracing` in a Flask app, :func:`trace_authority` beside
any other, and :func:`session_id` for spans of their own.
"""

from __future__ import annotations

from .extension import Tracing as Tracing
from .extension import trace_authority as trace_authority
from .sessions import session_id as session_id
