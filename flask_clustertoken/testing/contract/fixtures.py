"""What each test of the contract is given, and what several of them do."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from ...clock import ManualClock
from ...stores.base import ClusterStore, Entry, NewEntry, Record

MakeStore = Callable[[], ClusterStore]
Result = TypeVar("Result")

#: Seconds that a test waits for a thread, a call-back or a child before it fails.
PATIENCE = 30.0

#: Texts that a store may not confuse, cut or refuse.
KEYS = (
    "plain",
    "Plain",
    "login/alice",
    "login/alice/2",
    "a.b/c.d",
    ".",
    "..",
    "../up",
    "double//slash",
    "trailing/",
    "space and\ttab",
    "percent%2Fquery?x=1#y",
    "wild_%*[a]",
    "quote'\"\\",
    "Zürich/日本語/🙂",
    "n/" + "x" * 198,
)


def at_once(*calls: Callable[[], Result]) -> list[Result | Exception]:
    """Make *calls* at the same moment, each in a thread; their answers or errors in order."""
    start = threading.Barrier(len(calls))
    answers: list[Result | Exception] = [TimeoutError("no answer")] * len(calls)

    def run(index: int, call: Callable[[], Result]) -> None:
        start.wait(PATIENCE)
        try:
            answers[index] = call()
        except Exception as error:
            answers[index] = error

    threads = [threading.Thread(target=run, args=(i, one)) for i, one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


def in_a_child(work: Callable[[], bool]) -> bool:
    """What *work* answers in a forked child, which leaves without a trace of the test run."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks while threads run: that they may is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def feed_of(store: ClusterStore) -> list[Entry]:
    """Every entry that stands, page by page."""
    found: list[Entry] = []
    position, more = 0, True
    while more:
        page = store.read(position)
        found += page.entries
        position, more = page.seq, page.more
    return found


def walk(store: ClusterStore, prefix: str, limit: int) -> Iterator[tuple[str, Record]]:
    """Every live record under *prefix*, a page of *limit* at a time."""
    page = store.scan(prefix, limit=limit)
    while page:
        assert len(page) <= limit
        yield from page
        page = store.scan(prefix, after=page[-1][0], limit=limit)


def entry(name: str, body: bytes = b"body", keep_until: float | None = None) -> NewEntry:
    return NewEntry(name, body, keep_until)


def seal(store: ClusterStore, moved_to: str = "elsewhere:") -> None:
    root = store.root()
    assert store.change_root(root, replace(root, state="sealed", moved_to=moved_to))


class StoreFixtures:
    """What a test gets. Derive from a contract below and define ``make_store``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of every handle."""
        return ManualClock()

    @pytest.fixture
    def make_store(self, clock: ManualClock) -> Any:
        """A callable: each call gives another handle on the same, at first empty, store."""
        raise NotImplementedError("define the fixture make_store: see the module's text")

    @pytest.fixture
    def store(self, make_store: MakeStore) -> ClusterStore:
        return make_store()

    @pytest.fixture
    def other(self, store: ClusterStore, make_store: MakeStore) -> ClusterStore:
        """A second handle on the same store, as another node has it."""
        return make_store()
