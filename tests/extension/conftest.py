"""The fixtures that these tests share."""

from __future__ import annotations

from tests.extension.parts import clock, make_app, site

__all__ = ["clock", "make_app", "site"]
