"""The fixtures that these tests share."""

from __future__ import annotations

from tests.extension.parts import clock, make_app
from tests.fixtures import cluster

__all__ = ["clock", "cluster", "make_app"]
