"""How often: a few rounds by default, and in the full run as many as are promised."""

from __future__ import annotations

import os

#: Set by ``scripts/run-tests --soak``.
FULL = os.environ.get("CLUSTERTOKEN_TEST_FULL") == "1"


def rounds(default: int, full: int) -> int:
    """How many rounds a test makes in this run."""
    return full if FULL else default
