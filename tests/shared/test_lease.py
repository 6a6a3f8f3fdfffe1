"""The lease: held by one process, lost before another one has it, whatever happens to it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import NoThread, StoreUnavailable
from flask_clustertoken.shared import SharedLease
from flask_clustertoken.shared.lease import APART
from flask_clustertoken.testing.contract import in_a_child
from flask_clustertoken.tokens import WrongArgument
from tests.doubles import Cluster, RemoteStore, store_of
from tests.no_thread import no_thread

SECONDS = 30.0


def lease(node: TokenAuthority, **options: Any) -> SharedLease:
    """As ``shared().lease()`` makes it; a test takes the steps of its thread."""
    made = node.shared("tasks").lease("index", SECONDS)
    return SharedLease(
        node.store,
        node.clock,
        made._lease.key,
        made._fence_key,
        SECONDS,
        threaded=False,
        **options,
    )


def test_one_holds_it_and_the_next_one_afterwards(cluster: Cluster) -> None:
    """Who enters while another one has it does not hold it, and may look again; ``fence`` grows."""
    one, two = (cluster.node().shared("tasks") for _ in range(2))
    with one.lease("index", SECONDS) as first:
        assert first.held
        assert first
        assert not first.lost.is_set()
        with two.lease("index", SECONDS) as second:
            assert not second.held
            assert second.fence == 0
        with two.lease("other", SECONDS) as other:
            assert other.held
    assert not first.held
    assert first.lost.is_set()
    with two.lease("index", SECONDS) as third:
        assert third.held
        assert third.fence > first.fence > 0


def test_deployments_are_apart(cluster: Cluster) -> None:
    """QA holds its own."""
    node, qa = cluster.node(), cluster.node(DEPLOYMENT="qa")
    with (
        node.shared("tasks").lease("index", SECONDS) as one,
        qa.shared("tasks").lease("index", SECONDS) as other,
    ):
        assert one.held
        assert other.held


def test_it_is_renewed_for_as_long_as_it_is_wanted(cluster: Cluster) -> None:
    """Each third of its time; nobody else gets it meanwhile, and the fence stays."""
    one, two = cluster.node(), cluster.node()
    with lease(one) as mine:
        fence = mine.fence
        for _ in range(20):
            delay = mine.step()
            assert delay == pytest.approx(SECONDS / 3)
            cluster.clock.advance(delay or 0)
            with lease(two) as theirs:
                assert not theirs.held
        assert mine.held
        assert mine.fence == fence


def test_a_thread_renews_it(cluster: Cluster) -> None:
    """In the background, without a word from whoever holds it."""
    renewed = threading.Event()
    node = cluster.node()
    store_of(node)

    with node.shared("tasks").lease("index", 1.0) as mine:
        store_of(node).after["append"] = renewed.set
        assert renewed.wait(60)
        assert mine.held


def test_where_no_thread_could_renew_it_nobody_holds_it(cluster: Cluster) -> None:
    """It is given back at once: whoever waits for it need not wait for its end."""
    one, two = (cluster.node().shared("tasks") for _ in range(2))
    with no_thread("clustertoken-lease"), pytest.raises(NoThread), one.lease("index", SECONDS):
        raise AssertionError
    with two.lease("index", SECONDS) as other:
        assert other.held


def test_a_holder_that_is_cut_off_has_lost_it_before_another_has_it(cluster: Cluster) -> None:
    """Trouble is not the end: it is held until its time is over, and then lost for good."""
    node, other = cluster.node(), cluster.node()
    with lease(node) as mine:
        store_of(node).cut()
        while mine.held:
            delay = mine.step()
            assert delay is not None
            cluster.clock.advance(max(0.5, delay))
            if mine.held:
                assert not lease(other).take()
        assert mine.lost.is_set()
        assert mine.step() is None
        store_of(node).heal()
        assert mine.step() is None
        assert not mine.held
        # (A second more: the sums of two clocks are rounded apart.)
        cluster.clock.advance(SKEW + 1)
        with lease(other) as theirs:
            assert theirs.held
            assert theirs.fence > mine.fence


def test_a_frozen_holder_has_lost_it_when_it_wakes(cluster: Cluster) -> None:
    """By the first look, whichever thread of the process runs first."""
    node, other = cluster.node(), cluster.node()
    for look in ("held", "lost", "step"):
        with lease(node) as mine:
            cluster.clock.advance(SECONDS + SKEW)
            with lease(other) as theirs:
                assert theirs.held
                if look == "held":
                    assert not mine.held
                elif look == "lost":
                    assert mine.lost.is_set()
                    assert mine.lost.wait(0)
                else:
                    assert mine.step() is None
                assert not mine.held
                assert mine.lost.is_set()
                assert theirs.held


def test_a_sleeper_takes_nothing_away_from_the_next_holder(cluster: Cluster) -> None:
    """Neither by a renewal nor when it leaves."""
    node, other = cluster.node(), cluster.node()
    mine = lease(node)
    mine.__enter__()
    cluster.clock.advance(SECONDS + SKEW)
    with lease(other) as theirs:
        mine.__exit__(None, None, None)
        assert theirs.step() is not None
        assert not lease(node).take()


def test_an_answer_that_comes_too_late_gives_it_back(cluster: Cluster) -> None:
    """Whoever was told that it is lost is not told otherwise; the others need not wait."""
    node, other = cluster.node(), cluster.node()
    with lease(node) as mine:

        def slow() -> None:
            cluster.clock.advance(SECONDS)
            assert not mine.held

        store_of(node).before["append"] = slow
        assert mine.step() is None
        assert not mine.held
        with lease(other) as theirs:
            assert theirs.held is (mine.fence < theirs.fence)


def test_the_fence_never_comes_again(cluster: Cluster) -> None:
    """Not over an end, nor where a backup is put back or a fail-over loses the last writes."""
    node = cluster.node()
    fences = []
    before = dict(cluster.shelf.records)
    for happens in ("left", "ended", "restored", "restored"):
        mine = lease(node)
        mine.__enter__()
        assert mine.held, happens
        fences.append(mine.fence)
        if happens == "left":
            mine.__exit__(None, None, None)
        else:
            cluster.clock.advance(SECONDS + SKEW if happens == "ended" else 0.001)
        if happens == "restored":
            cluster.shelf.records.clear()
            cluster.shelf.records.update(before)
    assert fences == sorted(set(fences))


def test_a_fence_that_is_ahead_of_the_clock_goes_on_from_there(cluster: Cluster) -> None:
    """A store whose clock was set back counts on."""
    node = cluster.node()
    with lease(node) as first:
        pass
    cluster.clock.set_wall(-3600)
    with lease(node) as second:
        assert second.fence == first.fence + 1


def test_a_host_whose_clock_is_wrong_holds_no_lease(cluster: Cluster) -> None:
    """It would leave it to others too early, or take theirs: an error that names the remedy."""
    wrong = ManualClock(cluster.clock.time() + SKEW)
    with pytest.raises(StoreUnavailable, match="NTP"), lease(cluster.node(wrong)):
        pass


def test_a_clock_that_is_set_meanwhile_loses_the_lease(cluster: Cluster) -> None:
    """What others read in our records would be wrong: it is renewed no more."""
    clock = ManualClock(cluster.clock.time())
    node = cluster.node(clock)
    with lease(node) as mine:
        clock.set_wall(-SKEW)
        waited = 0.0
        while (delay := mine.step()) is not None:
            assert mine.held
            clock.advance(max(0.5, delay))
            cluster.clock.advance(max(0.5, delay))
            waited += max(0.5, delay)
        assert waited > SECONDS - 1
        assert not mine.held


def test_clocks_that_drift_unseen_leave_no_time_with_two_holders(cluster: Cluster) -> None:
    """Both hosts' clocks are as wrong as they may be, and then part by what nobody looks at."""
    behind = ManualClock(cluster.clock.time() - APART)
    ahead = ManualClock(cluster.clock.time() + APART)
    node, other = cluster.node(behind), cluster.node(ahead)
    with lease(node) as mine:
        behind.set_wall(-0.99)
        assert mine.step() == SECONDS / 3
        while not (theirs := lease(other)).take():
            for clock in (behind, ahead, cluster.clock):
                clock.advance(0.1)
        assert not mine.held
        assert theirs.held


def test_a_slow_answer_about_the_time_hides_no_wrong_clock(cluster: Cluster) -> None:
    """The store may have looked at its clock when it was asked, or only just before it answered."""
    clock = ManualClock(cluster.clock.time() - APART - 2)
    node = cluster.node(clock)
    store = node.store
    assert isinstance(store, RemoteStore)
    looked = store.time

    def slow() -> float:
        found = looked()
        clock.advance(3.0)
        return found

    store.time = slow  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="NTP"), lease(node):
        pass


def test_waiting_ends_when_it_is_free_or_the_time_is_over(cluster: Cluster) -> None:
    """``wait`` goes on trying, also through trouble."""
    node, other = cluster.node(), cluster.node()
    with lease(node) as mine:
        with lease(other, wait=5.0, pause=cluster.clock.advance) as theirs:
            assert not theirs.held
        assert mine.held
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            cluster.clock.advance(seconds)
            if len(pauses) == 1:
                store_of(other).cut()
            elif len(pauses) == 2:
                store_of(other).heal()
                mine.__exit__(None, None, None)

        with lease(other, wait=20.0, pause=pause) as theirs:
            assert theirs.held
        assert len(pauses) == 2


def test_trouble_is_raised_where_nobody_knows_who_has_it(cluster: Cluster) -> None:
    """On entering; and at the end of the time that it was to wait."""
    node = cluster.node()
    store_of(node).cut()
    with pytest.raises(StoreUnavailable), lease(node):
        pass
    with pytest.raises(StoreUnavailable), lease(node, wait=3.0, pause=cluster.clock.advance):
        pass


def test_a_forks_child_holds_nothing_and_gives_nothing_back(cluster: Cluster) -> None:
    """Also where it leaves the block."""
    node = cluster.node()
    with lease(node) as mine:

        def child() -> bool:
            held = mine.held
            mine.__exit__(None, None, None)
            return not held and mine.step() is None

        assert in_a_child(child)
        assert mine.held
        assert mine.step() is not None


def test_a_lease_serves_once(cluster: Cluster) -> None:
    """Another holder is another fence: ask for another one."""
    mine = lease(cluster.node())
    with mine:
        pass
    with pytest.raises(RuntimeError, match="another"), mine:
        pass


@pytest.mark.parametrize("seconds", [0, 0.5, -1, "30", True])
def test_a_lease_has_a_length(cluster: Cluster, seconds: Any) -> None:
    """Of a second at least: each third of it a renewal has to be answered."""
    with pytest.raises((TypeError, ValueError)):
        cluster.node().shared("tasks").lease("index", seconds)


@pytest.mark.parametrize("seconds", [86_401, 30 * 86_400])
def test_a_lease_that_could_not_be_kept_is_not_given(cluster: Cluster, seconds: float) -> None:
    """Whoever died with it would keep the others out as long; a day is the most."""
    tasks = cluster.node().shared("tasks")
    with pytest.raises(WrongArgument, match="86400 s at most"):
        tasks.lease("index", seconds)
    with tasks.lease("index", 86_400) as longest:
        assert longest.held


def test_whoever_waits_for_the_loss_hears_of_it(cluster: Cluster) -> None:
    """``lost.wait`` returns once it is lost, and at its time-out where it is not."""
    with cluster.node().shared("tasks").lease("index", SECONDS) as mine:
        assert not mine.lost.wait(0.01)
        heard: list[bool] = []
        listener = threading.Thread(target=lambda: heard.append(mine.lost.wait(60)))
        listener.start()
        mine._lose("the test says so")
        listener.join(60)
        assert heard == [True]
