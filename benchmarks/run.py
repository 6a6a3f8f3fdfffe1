"""One run: what every part of it shares."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .servers import Servers

#: What a part measured: plain values, so that it can be written as JSON.
Result = dict[str, Any]

#: The cluster stores that are measured.
STORES = ("directory", "zookeeper")

#: So many that are written in bulk are told of.
TELL_EVERY = 100_000

Item = TypeVar("Item")


class Part(Protocol):
    """A module of this package: what it measures, and how it shows that."""

    TITLE: str

    def measure(self, run: Run) -> Result: ...

    def table(self, result: Result) -> str:
        """Markdown."""
        ...

    def plots(self, result: Result) -> dict[str, str]:
        """SVG by file name, without the ending."""
        ...


@dataclass
class Run:
    """The servers, how thorough to be, and whom to tell how far it is."""

    servers: Servers
    quick: bool = False
    #: Whether the part ``rows`` goes on to a million.
    million: bool = False
    #: Writes down what a part has measured so far: a long one may be interrupted.
    keep: Callable[[str, Result], None] = lambda part, result: None
    _started: float = field(default_factory=time.monotonic)
    _part: str = ""

    def rounds(self, many: int, few: int) -> int:
        return few if self.quick else many

    def begin(self, part: str) -> None:
        self._part = part
        self.say("begins")

    def so_far(self, result: Result) -> None:
        self.keep(self._part, result)

    def say(self, what: str) -> None:
        """One progress line, written over the one before where a person looks on."""
        line = f"[{time.monotonic() - self._started:5.0f} s] {self._part}: {what}"
        if sys.stderr.isatty():
            print(f"\r\033[K{line[:110]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def counting(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """*items*, and now and then how many there were: a million takes minutes."""
        for number, one in enumerate(items, 1):
            yield one
            if number % TELL_EVERY == 0:
                self.say(f"{number:,} {what}")

    def publish_servers(self) -> None:
        """Say in the environment where the servers are, for :mod:`.apps`."""
        os.environ["BENCHMARK_REDIS"] = str(self.servers.redis_port)
        os.environ["BENCHMARK_ZOOKEEPER"] = self.servers.ensemble.addresses
        os.environ["BENCHMARK_ZOOKEEPER_STORE"] = self.servers.store("zookeeper")
        os.environ["BENCHMARK_DIRECTORY_STORE"] = self.servers.store("directory")


def markdown_table(head: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown; all columns but the first are aligned right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(one) for one in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
