"""What is tried again is tried more and more seldom, by chance, and at once after a success."""

from __future__ import annotations

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.backoff import Backoff, share


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody draws the whole of what there is to draw."""
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)


def test_the_bound_doubles_up_to_the_cap(whole: None) -> None:
    """And begins anew after a success."""
    pauses = Backoff(0.5, 3)
    assert [pauses.next() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    pauses.reset()
    assert not pauses.failing
    assert pauses.next() == 0.5


def test_a_pause_is_drawn_from_nothing_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: those who failed together do not come back together."""
    monkeypatch.setattr(backoff, "chance", lambda: 0.0)
    assert Backoff(1, 8).next() == 0
    monkeypatch.undo()
    drawn = {Backoff(1, 8).next() for _ in range(50)}
    assert len(drawn) > 40
    assert max(drawn) <= 1


def test_free_failures_cost_no_pause(whole: None) -> None:
    """And what follows begins with the first bound."""
    pauses = Backoff(1, 8, free=2)
    assert [pauses.next() for _ in range(4)] == [0, 0, 1, 2]


def test_a_share_is_never_less_than_its_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due for all is moved by part of its time only."""
    monkeypatch.setattr(backoff, "chance", lambda: 0.0)
    assert share(10, 0.8) == 8
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)
    assert share(10, 0.8) == 10
