"""The fixtures that these tests share."""

from __future__ import annotations

from tests.cli.parts import cluster, line, make_line

__all__ = ["cluster", "line", "make_line"]
