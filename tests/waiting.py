"""Waiting for somebody else, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], deadline: float = 30.0) -> None:
    """Return once *predicate* holds; fail after *deadline* seconds."""
    end = time.monotonic() + deadline
    while not predicate():
        assert time.monotonic() < end, f"it did not come true within {deadline:g} s"
        time.sleep(0.02)
