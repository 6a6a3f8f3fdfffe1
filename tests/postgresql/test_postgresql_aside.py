"""A write may wait where reading does not: for the disk, for a standby, for somebody's lock."""

from __future__ import annotations

from contextlib import closing

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import Refusal
from tests.servers.postgresql import APP, Server
from tests.waiting import wait_until

pytestmark = pytest.mark.postgresql


def test_a_proof_that_waits_holds_up_no_revocation(own_server: Server) -> None:
    """A node whose proof of freshness waits goes on accepting for its lease; what the others
    revoke it hears all the same, while the proof still waits."""
    import psycopg

    settings = Settings(store=own_server.url, secret=("one key for all of them, long enough",))

    def waiting() -> bool:
        text = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
        return bool(own_server.sql(text, APP))

    def heard_while_it_waits(one: TokenAuthority, another: TokenAuthority) -> bool:
        issued = one.issue_login("alice")
        wait_until(lambda: another.authenticate(issued.text), 60)
        with psycopg.connect(own_server.url) as other:
            line = another.follower().node_id
            other.execute("SELECT FROM clustertoken.node WHERE node_id = %s FOR UPDATE", (line,))
            wait_until(waiting, 60)
            one.revoke_ids([issued.token.id])

            def refused() -> bool:
                found = another.authenticate(issued.text)
                return isinstance(found, Refusal) and found.reason == "revoked"

            wait_until(refused, 60)
            return waiting()

    with (
        closing(TokenAuthority(settings)) as one,
        closing(TokenAuthority(settings)) as another,
    ):
        wait_until(lambda: one.readiness().fresh and another.readiness().fresh, 60)
        # (A proof waits for 4.5 seconds, which a busy machine may need for the rest.)
        assert any(heard_while_it_waits(one, another) for _ in range(4))
