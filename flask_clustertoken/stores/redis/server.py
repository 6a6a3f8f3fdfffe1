"""What a Redis server says of its own set-up, held against what a promise needs.

``INFO`` is asked first: it says most, also where ``CONFIG`` is forbidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError
from ..base import Remark
from .driver import Deadline
from .line import PrimaryLine
from .place import Options
from .topology import Topology

#: What is asked by ``CONFIG GET``.
_ASKED = (
    "appendfsync",
    "min-replicas-to-write",
    "protected-mode",
    "requirepass",
    "save",
)

#: The oldest version that is understood.
_OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Server:
    """The fields of ``INFO``, and those of ``CONFIG`` (``None``: it was not allowed)."""

    info: Mapping[str, str]
    config: Mapping[str, str] | None

    def number(self, name: str) -> int:
        try:
            return int(self.info.get(name, "0"))
        except ValueError:
            return 0

    @property
    def name(self) -> str:
        if "valkey_version" in self.info:
            return f"Valkey {self.info['valkey_version']}"
        return f"Redis {self.info.get('redis_version', 'of an unknown version')}"

    @property
    def version(self) -> tuple[int, ...]:
        parts = self.info.get("redis_version", "").split(".")[:2]
        return tuple(int(part) for part in parts if part.isdigit())


def look(line: PrimaryLine, deadline: Deadline) -> Server:
    """Ask the primary. What it refuses to say is missing in the answer."""
    info, *config = line.ask(
        deadline, ("INFO",), *(("CONFIG", "GET", name) for name in _ASKED), again=True
    )
    pairs: dict[str, str] = {}
    if isinstance(info, bytes):
        for row in info.decode(errors="replace").splitlines():
            name, colon, value = row.partition(":")
            if colon:
                pairs[name] = value
    if any(isinstance(one, Exception) for one in config):
        return Server(pairs, None)
    return Server(pairs, _config(config))


def _config(answers: list[Any]) -> dict[str, str]:
    found = {}
    for name, value in (one for one in answers if len(one) == 2):
        text = value.decode(errors="replace")
        # (Whether there is a password, not which.)
        found[name.decode()] = ("set" if text else "") if name == b"requirepass" else text
    return found


def refuse_unfit(server: Server, topology: Topology) -> None:
    """:class:`ConfigurationError` where this server cannot hold revocations at all."""
    policy = server.info.get("maxmemory_policy", "noeviction")
    if server.number("maxmemory") and policy.startswith("allkeys"):
        raise ConfigurationError(
            "STORE",
            f"the Redis server drops what it likes when its memory is full (maxmemory-policy "
            f"{policy}): a dropped revocation is a token that works again.",
            "In its redis.conf: maxmemory-policy noeviction. Where it is a cache and has to "
            "stay one, run a second server for this store.",
        )
    if server.info.get("cluster_enabled") == "1":
        raise ConfigurationError(
            "STORE",
            "the Redis server belongs to a Redis Cluster (cluster-enabled yes), which this "
            "store does not use.",
            "Name a single server, or Sentinels.",
        )
    if server.info.get("role") == "slave" and not topology.moves:
        raise ConfigurationError(
            "STORE", "the Redis server is a replica.", "Name the primary, or Sentinels."
        )
    if server.version and server.version < _OLDEST:
        raise ConfigurationError(
            "STORE", f"{server.name} is too old.", "6.2 and later are understood, and Valkey."
        )


def remarks(server: Server, topology: Topology, options: Options) -> Iterator[Remark]:
    """What an operator ought to know of this server, worst first."""
    yield from _on_memory(server)
    yield from _on_disk(server, options)
    yield from _on_replicas(server, topology)
    yield from _on_room(server, topology)
    yield from _on_access(server, options)
    if server.config is None and not options.managed:
        yield Remark(
            "warning",
            "the Redis server does not let us look at its settings (CONFIG GET)",
            "Look yourself: maxmemory-policy noeviction, appendonly yes, appendfsync. Then say "
            'so: STORE_OPTIONS {"managed": true}, or allow the command: +config|get',
        )


def _on_memory(server: Server) -> Iterator[Remark]:
    limit, used = server.number("maxmemory"), server.number("used_memory")
    if limit and used > 0.8 * limit:
        yield Remark(
            "warning",
            f"the Redis server uses {used * 100 // limit} % of its memory; when it is full, "
            "log-ins and log-outs fail",
            "Raise maxmemory in its redis.conf.",
        )


def _on_disk(server: Server, options: Options) -> Iterator[Remark]:
    if server.info.get("aof_enabled") == "0" and not (options.managed and server.config is None):
        yield Remark(
            "warning",
            "the Redis server writes its data down only now and then (appendonly no): after a "
            "crash the revocations of minutes may be gone, unless a node that knew them lives",
            "In its redis.conf: appendonly yes",
        )
        return
    if server.config is not None and server.config.get("appendfsync") != "always":
        yield Remark(
            "ok",
            f"the Redis server writes its data to the disk {_EVERY.get(_fsync(server), 'late')}: "
            "a power cut may lose the revocations since, unless a node that knew them lives",
        )


_EVERY = {"everysec": "once a second", "no": "whenever the system does"}


def _fsync(server: Server) -> str:
    return (server.config or {}).get("appendfsync", "")


def _on_replicas(server: Server, topology: Topology) -> Iterator[Remark]:
    replicas, wanted = _replicas(server, topology), topology.acknowledging
    if not replicas and not wanted:
        yield Remark("ok", "the Redis server has no replica: there is no fail-over to lose by")
    elif open_end := unbounded(server, topology):
        yield Remark(
            "warning", open_end, f'Set STORE_OPTIONS {{"replicas": {(replicas + 1) // 2}}}.'
        )
    else:
        yield Remark(
            "ok",
            f"a revocation counts once {wanted} of {replicas} replicas have it, and so does a "
            "node's proof of freshness: the bound holds across a fail-over",
        )


def _replicas(server: Server, topology: Topology) -> int:
    """The most that the server, or a Sentinel, tells of."""
    return max(server.number("connected_slaves"), topology.known_replicas)


def unbounded(server: Server, topology: Topology) -> str:
    """Why nothing bounds what an old primary's nodes accept after a fail-over; ``""``: it is."""
    replicas, wanted = _replicas(server, topology), topology.acknowledging
    if not replicas or (wanted and 2 * wanted >= replicas):
        return ""
    return (
        f"a revocation counts once {wanted} of {replicas} replicas have it: there is no bound "
        "across a fail-over"
    )


def _on_room(server: Server, topology: Topology) -> Iterator[Remark]:
    """What ``min-replicas-to-write`` does beside our own waiting."""
    told = (server.config or {}).get("min-replicas-to-write", "")
    replicas = _replicas(server, topology)
    if not told.isdigit() or not (replicas or int(told)):
        return
    there, least = server.number("connected_slaves"), int(told)
    if least > there:
        yield Remark(
            "warning",
            f"the Redis server takes no write: it wants {least} replicas (min-replicas-to-write) "
            f"and has {there}",
            "Bring its replicas back, or set min-replicas-to-write to "
            f"{(replicas + 1) // 2} in its redis.conf.",
        )
    elif least > topology.acknowledging and least == there:
        yield Remark(
            "warning",
            f"the Redis server takes no write once one of its {there} replicas is lost "
            f"(min-replicas-to-write {least})",
            f"In its redis.conf: min-replicas-to-write {(replicas + 1) // 2}",
        )
    elif not least and topology.acknowledging:
        yield Remark(
            "ok",
            "a primary that was cut off still takes what others write into it "
            "(min-replicas-to-write 0); what this store writes there does not count",
        )


def _on_access(server: Server, options: Options) -> Iterator[Remark]:
    config = server.config or {}
    if config.get("protected-mode") == "no" and not config.get("requirepass"):
        yield Remark(
            "warning",
            "whoever reaches the Redis server may read and change everything in it (no password, "
            "protected-mode no)",
            "In its redis.conf: requirepass, or a user by ACL; and TLS where the network is not "
            "yours alone.",
        )
