"""The fixtures that these tests share."""

from __future__ import annotations

from tests.binding.parts import make_site
from tests.extension.parts import clock, make_app

__all__ = ["clock", "make_app", "make_site"]
