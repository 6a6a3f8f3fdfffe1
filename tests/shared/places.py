"""Where the processes of a test meet, and the processes."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import Clock
from flask_clustertoken.settings import Settings
from flask_clustertoken.shared.fileinfo import PIECE
from tests.ensemble.proxy import Proxy
from tests.forked import Forked


class Place(NamedTuple):
    """Where the processes of one test meet."""

    url: str
    realm: str = "default"


class Lines(NamedTuple):
    """The same place, reached by lines that can be slow, cut, or lose what comes back."""

    place: Place
    proxies: Sequence[Proxy]

    @classmethod
    @contextlib.contextmanager
    def to(cls, ports: Sequence[int], place: Callable[[Sequence[int]], Place]) -> Iterator[Lines]:
        """*place* says what is reached by other ports than *ports*."""
        with contextlib.ExitStack() as stack:
            proxies = [Proxy(("127.0.0.1", port)) for port in ports]
            for one in proxies:
                stack.callback(one.close)
            yield cls(place([one.port for one in proxies]), proxies)

    def all(self, what: str, *more: float) -> None:
        """Do this with each of them."""
        for one in self.proxies:
            getattr(one, what)(*more)


def settings(place: Place, **more: Any) -> Settings:
    return Settings(store=place.url, realm=place.realm, secret=("k" * 40,), **more)


@contextlib.contextmanager
def worker(place: Place, *arguments: object, ahead: float = 0) -> Iterator[Forked]:
    """A process; killed at the end if it is still there. Its clock is *ahead*."""
    said = (*place, str(ahead), *map(str, arguments))
    process = Forked("tests.shared.worker", *said, store=place.url)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)
        process.close()


def line(process: Forked) -> str:
    return process.stdout.readline().strip()


def tell_it(process: Forked) -> None:
    """Send it an empty line."""
    process.stdin.write("\n")
    process.stdin.flush()


def asked(process: Forked) -> str:
    """What it says to an empty line."""
    tell_it(process)
    return line(process)


def fence(process: Forked) -> int:
    """Under which it holds the lease, once it does."""
    return int(line(process).removeprefix("fence "))


@contextlib.contextmanager
def looking(place: Place, clock: Clock | None = None, **more: Any) -> Iterator[TokenAuthority]:
    """A look at the store from this process; it is there when a worker begins."""
    made = TokenAuthority(settings(place, **more), active=False, clock=clock)
    made.store.root()
    yield made
    made.close()


@contextlib.contextmanager
def drained(process: Forked) -> Iterator[None]:
    """Take what *process* says, so that it never waits for us; stop it at the end."""
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    reader.start()
    yield
    process.kill()
    reader.join(60)


class Endless(io.RawIOBase):
    """A stream of *pieces* that nobody holds in memory; calls *at_end* before it is over."""

    def __init__(self, pieces: int, at_end: Callable[[], object] = lambda: None) -> None:
        self._left = pieces * PIECE
        self._block = bytes(range(256)) * 32
        self._at_end = at_end

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._at_end()
        some = self._block[: min(size, self._left)]
        self._left -= len(some)
        return some
