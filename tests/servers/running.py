"""What all servers of the tests have in common: they run whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

AServer = TypeVar("AServer", bound="Running")
Anything = TypeVar("Anything")


class CannotRun(Exception):
    """Something that the servers need is not installed; the message says what."""


class Running:
    """A server that runs within a ``with`` block, and leaves nothing behind if it cannot start."""

    def start(self) -> object:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self: AServer) -> AServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def started(make: Callable[[], AbstractContextManager[Anything]]) -> Iterator[Anything]:
    """For a fixture: what *make* gives, while it runs.

    Where it cannot run the test is skipped, unless this run requires servers.
    """
    import pytest  # benchmarks start servers too, and may run without it

    try:
        with make() as server:
            yield server
    except CannotRun as reason:
        if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
            raise
        pytest.skip(str(reason))
