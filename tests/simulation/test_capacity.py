"""Nothing feeds on its own trouble: an outage, and servers that can do only so much.

What the cluster needs is measured where the servers can do anything; then they can do a multiple
of that, or a part of it, and fail for half a minute.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.backoff import Backoff
from flask_clustertoken.revocations import Follower

from .capacity import MAX_STALENESS, Crowd, always

NODES = 25
OUTAGE = 30.0

#: Of what a quiet cluster needs: what a node, and all of them, may try at any time at most.
#: (After an outage, for which a window is short, and by chance.)
MORE = 2.0

#: How many nodes may ask within one quarter of a second when the outage is over for a while.
AT_ONCE = NODES * 3 // 5

Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def need() -> tuple[float, float]:
    """Requests a second of a quiet cluster, and of the busiest of its nodes."""
    with pytest.MonkeyPatch.context() as patch:
        crowd = Crowd(NODES, 1e6)
        with crowd.running(patch):
            crowd.run(40)
            return crowd.rate(40), crowd.busiest(40)


def with_enough(patch: pytest.MonkeyPatch, need: tuple[float, float], times: float) -> list[str]:
    """What is wrong when servers come back that can do *times* as much as is needed."""
    all_of_them, one = need
    crowd, wrong = Crowd(NODES, all_of_them * times), []
    with crowd.running(patch):
        crowd.run(10)
        crowd.servers.fail(OUTAGE)
        crowd.run(OUTAGE)
        if crowd.busiest(OUTAGE / 2) > one * MORE:
            wrong.append(f"a node tried {crowd.busiest(OUTAGE / 2):.1f} times a second")
        took = crowd.until_fresh(20)
        if took >= 20:
            wrong.append(f"{NODES - crowd.fresh()} nodes did not come back")
        crowd.run(20)
        first = crowd.busiest(20)
        crowd.run(20)
        if crowd.busiest(20) > max(first, one * MORE):
            wrong.append("a node's work grew")
        if crowd.rate(20) > all_of_them * 1.3:
            wrong.append(f"{crowd.rate(20):.0f} requests a second where {all_of_them:.0f} will do")
        if crowd.at_once(20) > AT_ONCE:
            wrong.append(f"{crowd.at_once(20)} nodes asked at the same moment")
        number = crowd.revoke("x")
        # (All ask at once, and that alone takes the servers a second.)
        crowd.run(2.0)
        late = sum(node.follower().view.applied < number for node in crowd.nodes)
        if late:
            wrong.append(f"{late} nodes did not hear of a revocation in time")
    return wrong


def with_too_little(patch: pytest.MonkeyPatch, need: tuple[float, float]) -> list[str]:
    """What is wrong when they can do half of what is needed, before an outage and after it."""
    all_of_them, one = need
    crowd, wrong = Crowd(NODES, all_of_them / 2), []
    with crowd.running(patch):
        crowd.run(20)
        crowd.servers.fail(OUTAGE)
        in_the_outage = crowd.turnstile.now
        crowd.revoke("x")
        crowd.run(OUTAGE)
        crowd.run(20)
        for _ in range(3):
            crowd.run(20)
            if crowd.rate(20) > all_of_them * 1.2:
                wrong.append(f"{crowd.rate(20):.0f} requests a second: more than when all is well")
            if crowd.busiest(20) > one * MORE:
                wrong.append(f"a node tried {crowd.busiest(20):.1f} times a second")
        afterwards = crowd.turnstile.now
        crowd.revoke("y")
        crowd.run(2 * MAX_STALENESS)
        for label, acknowledged in (("x", in_the_outage), ("y", afterwards)):
            late = crowd.accepted_late(label, acknowledged)
            if late:
                wrong.append(f"accepted {max(late):.1f} s after the revocation")
    return wrong


@pytest.mark.long
@pytest.mark.parametrize("times", [2.0, pytest.param(5.0, marks=[pytest.mark.processes])])
def test_all_come_back_where_there_is_twice_what_they_need(
    need: tuple[float, float], times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within twenty seconds of the servers' return, and nobody's repeated work grows."""
    assert with_enough(monkeypatch, need, times) == []


@pytest.mark.long
def test_with_too_little_the_promises_hold_and_the_load_stays_bounded(
    need: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more is asked of servers in trouble than of others, and no revoked token passes."""
    assert with_too_little(monkeypatch, need) == []


# -- each rule broken on purpose -------------------------------------------------------


def no_pause(patch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    patch.setattr(Backoff, "next", lambda self: 0.02)
    patch.setattr(Backoff, "failing", False)


def no_doubling(patch: pytest.MonkeyPatch) -> None:
    """Try again at a fixed and hasty pace."""
    draw = Backoff.next

    def broken(self: Backoff) -> float:
        self._failures = self._free
        self._first = 0.1
        return draw(self)

    patch.setattr(Backoff, "next", broken)


def no_chance(patch: pytest.MonkeyPatch) -> None:
    """Everybody waits for the whole of each pause, and vouches after the same time."""
    patch.setattr(backoff, "chance", always)


def no_reset(patch: pytest.MonkeyPatch) -> None:
    """A success is no reason to begin anew."""
    patch.setattr(Backoff, "reset", lambda self: None)


def no_lease(patch: pytest.MonkeyPatch) -> None:
    """While the store is slow, go on by what is known."""
    patch.setattr(Follower, "_prolong", lambda self, end: setattr(self, "lease_end", end + 600))


@pytest.mark.processes
@pytest.mark.parametrize(
    "broken",
    [no_pause, no_doubling, no_chance, no_reset, no_lease],
    ids=lambda one: one.__name__,
)
def test_a_broken_rule_shows(
    broken: Break, need: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the rules is needed: without it one of the three goes wrong.

    Servers that can do five times as much are among them for what is due at the same moment:
    where they can do but twice as much, their line alone moves the nodes apart.
    """
    broken(monkeypatch)
    wrong = (
        with_enough(monkeypatch, need, 2.0)
        or with_enough(monkeypatch, need, 5.0)
        or with_too_little(monkeypatch, need)
    )
    assert wrong, f"nobody noticed: {broken.__doc__}"
