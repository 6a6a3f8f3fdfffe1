"""Current: in which trace something happens just now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask import has_request_context, request

if TYPE_CHECKING:
    from opentelemetry.context import Context

#: The header in which a caller says of which trace its request is a part (W3C Trace Context).
HEADER = "traceparent"


class TraceIds(NamedTuple):
    """In lower-case hexadecimal digits, 32 and 16 of them; both empty outside a trace."""

    trace_id: str = ""
    span_id: str = ""


def context() -> Context:
    """The current context, if a span is in it; else with the span that the request's header names.

    (An app that nobody has instrumented still stands in its proxy's trace.)
    """
    from opentelemetry import trace
    from opentelemetry.context import get_current
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    current = get_current()
    if trace.get_current_span(current).get_span_context().is_valid or not has_request_context():
        return current
    header = request.headers.get(HEADER)
    if header is None:
        return current
    return TraceContextTextMapPropagator().extract({HEADER: header}, context=current)


def trace_ids() -> TraceIds:
    """Those of the :func:`context`."""
    from opentelemetry import trace

    span = trace.get_current_span(context()).get_span_context()
    if not span.is_valid:
        return TraceIds()
    return TraceIds(trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id))
