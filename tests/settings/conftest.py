"""The fixtures that these tests share."""

from __future__ import annotations

from tests.fixtures import clock, cluster, host

__all__ = ["clock", "cluster", "host"]
