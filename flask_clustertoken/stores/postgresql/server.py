"""What a PostgreSQL server says of its own set-up, held against what a promise needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..base import Remark
from ..deadline import Deadline
from .realm import PostgreSQLRealm
from .statements import array

_ASKED = (
    "server_version",
    "synchronous_commit",
    "synchronous_standby_names",
    "fsync",
    "full_page_writes",
    "autovacuum",
    "track_counts",
    "max_connections",
    "statement_timeout",
    "transaction_timeout",
)

#: Rows that are dead at least before anything is said of them, and their multiple of the living.
_MANY_DEAD, _DEAD_SHARE = 100_000, 2

#: Seconds that a transaction of somebody may be open before it is named.
_LONG_OPEN = 600


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What was answered, by its name; what the server does not know or say is ``""``."""

    said: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.said.get(name, "")

    def number(self, name: str) -> int:
        text = self[name]
        return int(text) if text.lstrip("-").isdigit() else 0


@dataclass(frozen=True, slots=True)
class Quorum:
    """``synchronous_standby_names``: so many of so many; *many* is 0 where it names any (``*``)."""

    wanted: int
    many: int

    @classmethod
    def read(cls, text: str) -> Quorum:
        text = text.strip()
        if not text:
            return cls(0, 0)
        found = re.fullmatch(r"(?is)(?:(?:first|any)\s+)?(\d+)\s*\((.*)\)", text)
        wanted, names = (int(found[1]), found[2]) if found else (1, text)
        parts = [one.strip() for one in re.findall(r'(?:"(?:[^"]|"")*"|[^,"])+', names)]
        return cls(wanted, 0 if "*" in parts else len(parts))


def look(realm: PostgreSQLRealm, deadline: Deadline) -> ServerSettings:
    """Ask the primary."""
    asked = (realm.text("settings"), (array(_ASKED), realm.options.schema))
    (rows,) = realm.connections.ask(deadline, asked, again=True)
    return ServerSettings(dict(rows))


def unbounded(server: ServerSettings, realm: PostgreSQLRealm) -> str:
    """Why nothing bounds what an old primary's nodes accept after a fail-over; ``""``: it is."""
    quorum = Quorum.read(server["synchronous_standby_names"])
    standbys = max(server.number("standbys"), quorum.many, len(realm.connections.place.hosts) - 1)
    if not standbys or (quorum.wanted and 2 * quorum.wanted >= standbys):
        return ""
    said = (
        f"a revocation counts once {quorum.wanted} of {standbys} standbys of the PostgreSQL server "
        "have it: "
    )
    demoted = realm.options.demoted_after
    if demoted is None:
        return said + "there is no bound across a fail-over"
    return said + (
        f"across a fail-over an old primary may go on for {demoted:g} s (demoted_after, your word)"
    )


def remarks(server: ServerSettings, realm: PostgreSQLRealm) -> Iterator[Remark]:
    """What an operator ought to know of this server, worst first."""
    yield from _on_disk(server)
    yield from _on_standbys(server, realm)
    yield from _on_sweeping(server)
    yield from _on_timeouts(server)
    yield from _on_connections(server, realm)


def _on_disk(server: ServerSettings) -> Iterator[Remark]:
    if server["fsync"] == "off":
        yield Remark(
            "warning",
            "the PostgreSQL server does not wait for its disk (fsync off): a crash of its machine "
            "may lose revocations, and the whole database",
            "In its postgresql.conf: fsync = on",
        )
    if server["full_page_writes"] == "off":
        yield Remark(
            "warning",
            "the PostgreSQL server may find torn pages after a crash (full_page_writes off)",
            "In its postgresql.conf: full_page_writes = on, unless the file system writes whole "
            "pages, as ZFS does",
        )
    if server["synchronous_commit"] not in ("on", "remote_apply", ""):
        yield Remark(
            "ok",
            f"the PostgreSQL server's default is synchronous_commit "
            f"{server['synchronous_commit']}; this store's own transactions set it to on",
        )


def _on_standbys(server: ServerSettings, realm: PostgreSQLRealm) -> Iterator[Remark]:
    quorum = Quorum.read(server["synchronous_standby_names"])
    standbys = server.number("standbys")
    if open_end := unbounded(server, realm):
        many = max(standbys, quorum.many)
        half = max(1, (many + 1) // 2)
        yield Remark(
            "ok" if realm.options.demoted_after is not None else "warning",
            open_end,
            f"In its postgresql.conf: synchronous_standby_names = 'ANY {half} (…)' with the names "
            "of all standbys",
        )
    elif not quorum.wanted:
        yield Remark("ok", "the PostgreSQL server has no standby: there is no fail-over to lose by")
    else:
        yield Remark(
            "ok",
            f"a revocation counts once {quorum.wanted} of {max(standbys, quorum.many)} standbys "
            "have it, and so does a node's proof of freshness: the bound holds across a fail-over",
        )
    if quorum.wanted > standbys:
        yield Remark(
            "warning",
            f"the PostgreSQL server waits for {quorum.wanted} standbys and has {standbys}: log-ins "
            "and log-outs hang until they fail",
            "Bring its standbys back, or shorten synchronous_standby_names.",
        )


def _on_sweeping(server: ServerSettings) -> Iterator[Remark]:
    if "off" in (server["autovacuum"], server["track_counts"]):
        yield Remark(
            "warning",
            "the PostgreSQL server does not sweep (autovacuum off): our tables grow with every "
            "proof of freshness",
            "In its postgresql.conf: autovacuum = on, track_counts = on",
        )
    dead, live = server.number("dead"), server.number("live")
    if dead > _MANY_DEAD and dead > _DEAD_SHARE * live:
        yield Remark(
            "warning",
            f"our tables in PostgreSQL hold {dead} dead rows beside {live} living ones: it does "
            "not keep up sweeping them",
            "Look for a transaction that stays open (pg_stat_activity, pg_prepared_xacts, "
            "pg_replication_slots), or let autovacuum work harder.",
        )
    if (seconds := server.number("open_for")) > _LONG_OPEN:
        yield Remark(
            "warning",
            f"somebody's transaction in this database has been open for {seconds} s: nothing that "
            "died since can be swept",
            "Find it in pg_stat_activity (xact_start).",
        )


def _on_timeouts(server: ServerSettings) -> Iterator[Remark]:
    for name in ("statement_timeout", "transaction_timeout"):
        if server[name] not in ("", "0"):
            yield Remark(
                "ok",
                f"the PostgreSQL server sets {name} {server[name]} for this role; where it ends a "
                "commit's wait for a standby, that commit does not count",
            )


def _on_connections(server: ServerSettings, realm: PostgreSQLRealm) -> Iterator[Remark]:
    each = realm.options.connections + 1
    most, there = server.number("max_connections"), server.number("connected")
    if realm.connections.pooled:
        yield Remark(
            "ok",
            f"between this node and the PostgreSQL server stands a pooler, as PgBouncer: nothing "
            f"is prepared there, and no LISTEN. A process has up to {each} connections to it",
        )
        return
    said = (
        f"a process has up to {each} connections to the PostgreSQL server, which takes {most} "
        f"and has {there}"
    )
    if most and there > 0.8 * most:
        yield Remark(
            "warning",
            f"{said}: when it is full, log-ins and log-outs fail",
            'Set STORE_OPTIONS {"connections": …} lower, put PgBouncer between, or raise '
            "max_connections.",
        )
    else:
        yield Remark("ok", said)
    if server["encrypted"] == "false" and not _near(realm):
        yield Remark(
            "warning",
            "what this node says to the PostgreSQL server can be read on the way (no TLS)",
            "Add to STORE: ?sslmode=verify-full&sslrootcert=system",
        )


def _near(realm: PostgreSQLRealm) -> bool:
    return all(
        not name or name.startswith(("/", "@", "127.")) or name in ("localhost", "::1")
        for name, _ in realm.connections.place.hosts
    )
