"""Processes of the tests, forked from one that has imported already what all of them need.

An interpreter that starts and imports the package and a store's client needs half a second of a
processor, which is more than most of these processes need for what they do. Each is a process of
its own all the same, which can be frozen and killed, and nothing of the package has been used
before the fork.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent

#: What every process imports, and what it does for a kind of store.
USUAL = ["tests.forked", "tests.ensemble.worker", "tests.shared.worker"]
CLIENTS = {"redis": ["redis"], "postgresql": ["psycopg"], "zookeeper": ["kazoo.client"]}


@cache
def _forks(store: str) -> ForkServerContext:
    """One for this run, made for the kind of store that is asked for first: a process on another
    kind imports its client itself."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*USUAL, *CLIENTS.get(store, [])])
    return context


class _Files:
    """Descriptors of ours, which become the child's as this is sent there."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __reduce__(self) -> tuple[Callable[[list[Any]], list[int]], tuple[list[Any]]]:
        return _received, ([DupFd(number) for number in self._numbers],)


def _received(files: list[Any]) -> list[int]:
    return [one.detach() for one in files]


def _run(module: str, arguments: list[str], environment: dict[str, str], files: list[int]) -> None:
    """In the child: become ``python -m MODULE ARGUMENTS``."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    import_module(module).main()


class Forked:
    """``python -m MODULE ARGUMENTS`` with pipes: as much of ``subprocess.Popen`` as is used here.

    *store*: the URL of the store that it will open. *stderr*: where it complains, if not where we
    do.
    """

    def __init__(
        self, module: str, *arguments: str, store: str = "", stderr: IO[Any] | None = None
    ) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        try:
            errors = 2 if stderr is None else stderr.fileno()
            files = _Files(theirs_in, theirs_out, errors)
            self._process = _forks(store.partition(":")[0].partition("+")[0]).Process(
                target=_run,
                args=(module, list(arguments), dict(os.environ), files),
                daemon=True,
            )
            self._process.start()
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.stdin = os.fdopen(ours_out, "w", encoding="utf-8")
        self.stdout = os.fdopen(ours_in, encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended, if it did."""
        return self._process.exitcode

    def wait(self, timeout: float) -> None:
        if not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        self._process.join()

    def send_signal(self, number: signal.Signals) -> None:
        # (The one that forked it takes note of its end, so that it may be gone for good by now.)
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of our ends of its pipes."""
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):
                pipe.close()
