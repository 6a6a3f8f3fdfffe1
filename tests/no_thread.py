"""A system that has no thread to give, as where a container's pids.max is reached."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_thread(name: str, meanwhile: Callable[[], object] | None = None) -> Iterator[list[str]]:
    """No thread of that *name* can be started; gives the names of those that were asked for.

    *meanwhile* happens in the first try.
    """
    refused: list[str] = []
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name != name:
            return start(self)
        refused.append(self.name)
        if meanwhile is not None and len(refused) == 1:
            meanwhile()
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        yield refused
