"""Records: what this library logs says in which trace it was logged.

By the names that OpenTelemetry gives those fields in logs that are not its own: ``trace_id`` and
``span_id``. Of other loggers' records nothing is changed: OpenTelemetry's own
instrumentation of ``logging`` is there for those.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .current import trace_ids

#: Ours are the loggers of this name and below.
OURS = "flask_clustertoken"


class TracedRecords:
    """Makes log records as *make* does, and puts the trace into ours."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(name, *args, **kwargs)
        # (``makeLogRecord`` names no logger.)
        if name and (name == OURS or name.startswith(OURS + ".")):
            record.trace_id, record.span_id = trace_ids()
        return record


def trace_records() -> None:
    """From here on; for the whole process, whose loggers are its apps' together."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, TracedRecords):
        logging.setLogRecordFactory(TracedRecords(make))
