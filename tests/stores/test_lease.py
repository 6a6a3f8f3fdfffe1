"""The lease where clocks differ; what it promises over each store is in the stores' contract."""

from __future__ import annotations

from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.stores import Lease
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.testing.contract.lease import KEY, stands


def test_clocks_that_agree_to_the_margin_never_both_hold_it() -> None:
    """One clock is behind by almost the margin: when the other may take it, it is over."""
    fast, slow = ManualClock(), ManualClock()
    slow.set_wall(-(SKEW - 1))
    shelf = Shelf()
    ahead, behind = MemoryStore(shelf, clock=fast), MemoryStore(shelf, clock=slow)
    first, second = Lease(behind, KEY), Lease(ahead, KEY)
    assert first.take(30)
    for _ in range(200):
        fast.advance(1)
        slow.advance(1)
        if second.take(30):
            break
        assert not second.held
    assert second.held
    assert not first.held
    assert not stands(behind, first)
