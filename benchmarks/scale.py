"""The model of scale: what a cluster of any size asks of ZooKeeper, checked against counts.

The formulas are in :class:`Model`. Their constants are counted here, with some processes on a
real ensemble: transactions by the servers' own numbers (zxid), requests by their packet
counts, sizes by what stands in the store.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings

from .apps import SECRET
from .run import Result, Run, markdown_table
from .servers import Ensemble
from .spread import ZNODE, watchers
from .svg import lines

TITLE = "The model of scale"

#: Workers a host, servers in the ensemble, and what a host's users do in a second.
WORKERS = 4
SERVERS = 3
LOGINS = 0.1
REVOCATIONS = 0.05
LIFETIME = 7 * 86_400
STALENESS = 10.0

#: Writes of one proof of freshness: a look at the root behind a write, and the proof itself.
PROOF = 2
#: Proofs in ``MAX_STALENESS``.
PROOFS = 3

#: What one ensemble is taken to bear. Measure your own: these are careful guesses for three
#: servers with disks of their own.
LIMITS = {
    "writes/s": 5_000.0,
    "MB/s out of a server": 100.0,
    "heap of a server, MB": 16_000.0,
    "connections a server": 10_000.0,
    "MB memory a worker": 200.0,
}


@dataclass(frozen=True, slots=True)
class Model:
    """Counted constants: transactions, bytes."""

    writes_a_login: float
    writes_a_revocation: float
    bytes_a_head: float
    bytes_a_vouch: float
    bytes_a_token: float
    bytes_a_revocation: float
    #: Seconds that a logout's revocation is remembered, plus the day before it is swept.
    memory: float = 3_600 + 86_400
    #: Bytes of the view that a revocation takes in each worker.
    bytes_in_view: float = 24.0

    def of(self, hosts: float) -> dict[str, float]:
        """What so many hosts ask of one ensemble (the token store is ``session``)."""
        nodes = hosts * WORKERS
        logins, revocations = hosts * LOGINS, hosts * REVOCATIONS
        vouches = nodes * PROOF * PROOFS / STALENESS
        # Each change of the head wakes every node, which reads the head once.
        reads = revocations * nodes / SERVERS
        tokens = logins * LIFETIME
        kept = revocations * self.memory
        heap = tokens * self.bytes_a_token + kept * self.bytes_a_revocation
        return {
            "nodes": nodes,
            "logins/s": logins,
            "revocations/s": revocations,
            "live tokens": tokens,
            "connections a server": nodes / SERVERS,
            "watches a server": nodes / SERVERS,
            "writes/s": vouches
            + logins * self.writes_a_login
            + revocations * self.writes_a_revocation,
            "of them proofs of freshness": vouches,
            "MB/s out of a server": (reads * self.bytes_a_head) / 1e6,
            "heap of a server, MB": heap / 1e6,
            "MB memory a worker": kept * self.bytes_in_view / 1e6,
        }

    def first_limit(self, hosts: float) -> tuple[str, float]:
        """What is hit first, and the share of it that is used."""
        values = self.of(hosts)
        shares = {name: values[name] / limit for name, limit in LIMITS.items()}
        name = max(shares, key=lambda one: shares[one])
        return name, shares[name]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the servers have counted so far."""

    transactions: int
    requests: int
    znodes: int
    size: int
    watches: int
    connections: int
    at: float

    @classmethod
    def of(cls, ensemble: Ensemble) -> Counts:
        said = [dict(_pairs(server.say("mntr"))) for server in ensemble.servers]
        zxids = [re.search(r"Zxid: 0x([0-9a-f]+)", one.say("srvr")) for one in ensemble.servers]
        newest = max(int(one[1], 16) for one in zxids if one)

        def total(name: str) -> int:
            return sum(int(float(one.get(name, 0))) for one in said)

        return cls(
            newest & 0xFFFFFFFF,
            total("zk_packets_received"),
            int(said[0]["zk_znode_count"]),
            int(said[0]["zk_approximate_data_size"]),
            total("zk_watch_count"),
            total("zk_num_alive_connections"),
            time.monotonic(),
        )


def _pairs(text: str) -> list[tuple[str, str]]:
    lines_ = [line.split("\t", 1) for line in text.splitlines()]
    return [(one[0], one[1]) for one in lines_ if len(one) == 2]


def measure(run: Run) -> Result:
    from kazoo.client import KazooClient

    ensemble = run.servers.ensemble
    url = run.servers.store("zookeeper")
    client = KazooClient(ensemble.addresses)
    client.start(20)
    client.ensure_path(ZNODE)
    authority = TokenAuthority(Settings(store=url, secret=(SECRET,)))
    logins, seconds, nodes = run.rounds(200, 50), run.rounds(20, 8), 4
    try:
        before = Counts.of(ensemble)
        with watchers(url, ensemble.addresses, nodes):
            authority.readiness()
            time.sleep(1)
            run.say(f"{nodes + 1} nodes, idle for {seconds} s")
            idle = Counts.of(ensemble)
            time.sleep(seconds)
            rested = Counts.of(ensemble)
            run.say(f"{logins} logins, then as many logouts")
            for number in range(logins):
                # The first record of a shard makes the shard; later ones do not.
                authority.issue_login(f"user-{number}")
            idle_end = Counts.of(ensemble)
            issued = [authority.issue_login(f"user-{n}").token.id for n in range(logins)]
            logged_in = Counts.of(ensemble)
            # Slowly, so that each is a wake-up of its own.
            for token_id in issued:
                authority.revoke_ids([token_id])
                time.sleep(0.01)
            logged_out = Counts.of(ensemble)
        root = url.partition("://")[2].partition("/")[2]
        place = f"/{root}/default"
        head = len(client.get(f"{place}/feed/head")[0]) if client.exists(place) else 0
        vouch = _presence_bytes(authority)
    finally:
        authority.close()
        client.stop()
    rate = (rested.transactions - idle.transactions) / (rested.at - idle.at)

    def net(one: Counts, two: Counts) -> float:
        """Transactions between, without the proofs of freshness that go on all the time."""
        return max(0.0, two.transactions - one.transactions - rate * (two.at - one.at))

    constants = {
        "writes_a_login": round(net(idle_end, logged_in) / logins, 2),
        "writes_a_revocation": round(net(logged_in, logged_out) / logins, 2),
        "bytes_a_head": head,
        "bytes_a_vouch": vouch,
        # What ZooKeeper counts is text and data; an object of Java around each adds some 300.
        "bytes_a_token": round((logged_in.size - idle_end.size) / logins) + 300,
        "bytes_a_revocation": round(max(0, logged_out.size - idle_end.size) / logins + 300),
    }
    requests = (logged_out.requests - logged_in.requests) / logins
    return {
        "nodes": nodes + 1,
        "logins": logins,
        "constants": constants,
        "idle_writes": {
            "counted": round(rate, 2),
            "model": round((nodes + 1) * PROOF * PROOFS / STALENESS, 2),
        },
        "requests_a_revocation": round(requests, 1),
        "watches": {"counted": rested.watches - before.watches, "nodes": nodes + 1},
        "connections": {
            "counted": rested.connections - before.connections,
            "nodes": 2 * nodes + 1,
        },
    }


def _presence_bytes(authority: TokenAuthority) -> int:
    found = authority.store.nodes()
    return max((len(one.info) for one in found), default=0)


def model_of(result: Result) -> Model:
    return Model(**result["constants"])


def table(result: Result) -> str:
    model = model_of(result)
    sizes = (10, 100, 1_000)
    columns: list[dict[str, Any]] = [model.of(hosts) for hosts in sizes]
    rows = [[name, *(_number(one[name]) for one in columns)] for name in columns[0]]
    limits = [model.first_limit(hosts) for hosts in sizes]
    rows.append(["first limit", *(f"{name} ({share:.0%} used)" for name, share in limits)])
    idle, watches = result["idle_writes"], result["watches"]
    counted = markdown_table(
        ["counted", "model", "count"],
        [
            [f"writes/s of {result['nodes']} idle nodes", idle["model"], idle["counted"]],
            ["watches", watches["nodes"], f"{watches['counted']} (one a bare kazoo client too)"],
            ["connections", result["connections"]["nodes"], result["connections"]["counted"]],
            *([name.replace("_", " "), "–", value] for name, value in result["constants"].items()),
            [
                f"requests a logout, with {result['nodes']} nodes",
                "–",
                result["requests_a_revocation"],
            ],
        ],
    )
    return (
        f"{WORKERS} workers a host, {SERVERS} servers, {LOGINS:g} logins/s and {REVOCATIONS:g} "
        f"revocations/s a host, LIFETIME 7 d, MAX_STALENESS {STALENESS:g} s, token store "
        "`session`.\n\n"
        + markdown_table(["hosts", *(f"{one:,}" for one in sizes)], rows)
        + "\nThe constants were counted, and the model’s idle figures checked against counts:\n\n"
        + counted
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")


def plots(result: Result) -> dict[str, str]:
    model = model_of(result)
    hosts = [1, 3, 10, 30, 100, 300, 1_000]
    series = {
        name: [(float(one), max(1e-4, model.of(one)[name] / limit)) for one in hosts]
        for name, limit in LIMITS.items()
    }
    return {
        "scale": lines(
            "How much of each limit a cluster uses (1 is all of it)",
            series,
            across="hosts",
            up="share",
            log_up=True,
        )
    }
