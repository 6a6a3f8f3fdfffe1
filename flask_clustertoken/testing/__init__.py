"""Tests: ``TokenClient`` for those of an app, :mod:`.contract` for those of a store of your own.

Imports what it tests, when it is asked for. Nothing of the package imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..extension.testing import TokenClient as TokenClient


def __getattr__(name: str) -> Any:
    if name == "TokenClient":
        from ..extension.testing import TokenClient

        return TokenClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "TokenClient"])
