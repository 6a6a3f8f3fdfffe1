"""What servers share over PostgreSQL while a standby takes over."""

from __future__ import annotations

import pytest

from tests.servers.standbys import Replicated
from tests.shared.failover import nothing_is_lost, what_was_lost_is_not_mixed_up
from tests.shared.places import Place, looking
from tests.waiting import wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]


def test_a_synchronous_standby_takes_over() -> None:
    """It has each commit: files are whole, slots stay taken, a lease has one holder, and its
    fence goes on."""
    with Replicated(1, synchronous=1) as servers:
        old, new = servers.servers

        def fails() -> None:
            old.kill()
            servers.promote(new)

        nothing_is_lost(Place(servers.url), fails)


def test_a_standby_that_nobody_waited_for_takes_over() -> None:
    """It lacks who had the lease; the fence goes on all the same."""
    with Replicated(1) as servers:
        old, new = servers.servers
        there = "SELECT to_regclass('clustertoken.record') IS NOT NULL"

        def loses() -> None:
            old.kill()
            servers.promote(new)

        with looking(Place(servers.url)):
            wait_until(lambda: new.sql(there, database="app") == [(True,)], 60)
        new.unfollow()
        what_was_lost_is_not_mixed_up(Place(servers.url), loses)
