"""How often: a few rounds by default, many where the run asks for them."""

from __future__ import annotations

import os

#: ``CLUSTERTOKEN_TEST_ROUNDS`` multiplies the rounds of each test.
MULTIPLIED = int(os.environ.get("CLUSTERTOKEN_TEST_ROUNDS", "1"))


def rounds(default: int) -> int:
    return default * MULTIPLIED
