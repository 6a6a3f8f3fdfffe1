"""Step: what a place with ordered keys has to be able to do in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Step(Protocol):
    """One transaction. Each call sees what those before it did."""

    def get(self, key: str) -> bytes | None:
        """What is under *key*."""

    def set(self, key: str, value: bytes) -> None:
        """*key* holds *value* afterwards, whether it was there or not."""

    def delete(self, key: str) -> None:
        """*key* is gone afterwards; deleting nothing is fine."""

    def range(self, start: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """The first *limit* keys that are *start* or come after it, in order, with their values.

        By their bytes in UTF-8, so that keys with a common beginning lie together.
        """
