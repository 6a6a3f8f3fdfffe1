"""Metrics: what an operator alarms on, for Prometheus. Needs the extra ``metrics``.

Counted by what happens, never by the rows of a store; read when it is asked for. Others use
:class:`Metrics` in a Flask app, and :func:`metrics_app` beside any other.
"""

from __future__ import annotations

from .extension import Metrics as Metrics
from .extension import metrics_app as metrics_app
