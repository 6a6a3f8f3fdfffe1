"""What is left behind by work is swept while the work goes on: dead rows do not pile up."""

from __future__ import annotations

import time

import pytest

from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Add, Delete, NewEntry
from tests.conftest import Tell
from tests.rounds import rounds
from tests.servers.postgresql import APP, Server

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]

#: Rows that are dead at any moment, at most: an hour of it makes a million.
MOST_DEAD = 10_000

_DEAD = (
    "SELECT sum(n_dead_tup)::int, sum(autovacuum_count)::int FROM pg_stat_user_tables"
    " WHERE schemaname = 'clustertoken'"
)


def test_dead_rows_are_swept_while_the_work_goes_on(own_server: Server, tell: Tell) -> None:
    """Log-ins, renewals, log-outs and proofs of freshness: an hour of them in the full run."""
    own_server.configure(autovacuum_naptime="1s")
    done, most, swept = 0, 0, 0
    end = time.monotonic() + rounds(3, 3600)
    with open_store(own_server.url, timeout=30) as store:
        store.announce("node", b"x" * 200)
        while time.monotonic() < end:
            seqs: list[int] = []
            for _ in range(50):
                key = f"token/{done}"
                store.append((), [Add(key, b"x" * 200, 4e9)])
                store.touch(key, 4e9 + 1)
                store.vouch("node", b"x" * 200)
                seqs += store.append([NewEntry(f"entry-{done}", b"x" * 100, None)], [Delete(key)])
                done += 1
            store.trim(seqs)
            ((dead, swept),) = own_server.sql(_DEAD, database=APP)
            most = max(most, dead)
            assert most < MOST_DEAD
    tell("postgresql: dead rows", rounds=done, most_dead=most, swept=swept)
