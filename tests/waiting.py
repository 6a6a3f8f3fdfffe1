"""Waiting for somebody else, with an end; and looking for a while whether something stays so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


def wait_until(predicate: Callable[[], object], deadline: float = 60.0) -> None:
    """Return once *predicate* holds; fail after *deadline* seconds."""
    assert came_true(predicate, deadline), f"it did not come true within {deadline:g} s"


def came_true(predicate: Callable[[], object], deadline: float) -> bool:
    """Whether *predicate* held within *deadline* seconds; returns as soon as it does.

    (A twentieth later at most: who waits for long asks less often, for asking costs those who are
    waited for.)
    """
    began = time.monotonic()
    while not predicate():
        waited = time.monotonic() - began
        if waited >= deadline:
            return False
        time.sleep(min(max(0.02, waited / 20), 0.25))
    return True


def wait_past(moment: float, deadline: float = 30.0) -> None:
    """Return once the wall clock is past *moment*: what another process has by then."""
    wait_until(lambda: time.time() > moment, deadline)


def next_second() -> None:
    """Return in the next second of the wall clock: a renewal moves the expiry by whole ones."""
    wait_past(int(time.time()) + 1)


def paced(seconds: float, each: float = 0.25) -> Iterator[None]:
    """For *seconds* a round each so many at most: who watches need not ask as fast as it can."""
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        yield
        time.sleep(max(0.0, min(began + each, end) - time.monotonic()))


def holds_for(predicate: Callable[[], object], seconds: float) -> None:
    """Ask again and again for *seconds*; fail as soon as *predicate* does not hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert predicate(), f"it stopped being true {end - time.monotonic():.1f} s before the end"
        time.sleep(0.05)
