"""The fixtures that these tests share."""

from __future__ import annotations

from tests.console.parts import make_site
from tests.extension.parts import clock

__all__ = ["clock", "make_site"]
