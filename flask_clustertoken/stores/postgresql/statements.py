"""The statements: files in ``sql/``, each one step on the server.

In them ``clustertoken.`` stands for our schema, ``:here`` for the realm and its head with the
question whether this is the server and the history that the caller knows, and ``:durable`` for
the same where the step's commit is waited for, by this server and by its synchronous standbys.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .driver import BYTEA, BYTEAS, Binary

_FOLDER = Path(__file__).parent

#: An array of one dimension: of how many, whether there is NULL, of what, its length, its first
#: number; and the array of none (`array_recv` in PostgreSQL's arrayfuncs.c).
_ARRAY, _LENGTH = struct.Struct("!iiIii"), struct.Struct("!i")
_NO_ARRAY = struct.pack("!iiI", 0, 0, BYTEA)

#: When this server was started, in microseconds: another number after each start, and on each
#: other server, whoever may ask for what else.
_START = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text"

#: Which making of our tables this is: its number, which the server gives once. A dump that is put
#: back makes them anew, also on the same server, in a database of the same name.
_MAKING = "'/' || coalesce(to_regclass('clustertoken.realm')::oid::text, '')"

#: What each step compares, for a realm's row ``r``: the server's start, the epoch, the making.
_HISTORY = f"{_START} || '/' || r.epoch || '/' || r.tableoid::text"

_MICROS = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

_STATUS = "CASE WHEN here.same THEN 'ok' ELSE 'history' END"

_COLUMNS = """r.epoch, r.state, r.moved_to, r.format::bigint, r.since, r.withdrawn, r.listened,
        h.seq, h.entry, h.floor, h.trimmed, :history = $2 AS same"""

_FROM = """FROM clustertoken.realm AS r JOIN clustertoken.head AS h ON h.realm = r.realm
    WHERE r.realm = $1"""

_HERE = f"""
    SELECT {_COLUMNS}
    {_FROM}
"""

# A commit waits for standbys only if it wrote something; so where there are any, something is.
_BEHIND = """CASE WHEN current_setting('synchronous_standby_names') <> ''
             THEN pg_logical_emit_message(true, 'clustertoken', '') END"""

_DURABLE = f"""
    SELECT {_COLUMNS},
        set_config('synchronous_commit', 'on', true), set_config('lock_timeout', $3, true),
        {_BEHIND}
    {_FROM}
"""


def quoted(name: str) -> str:
    """*name* as an identifier."""
    return '"' + name.replace('"', '""') + '"'


@cache
def statement(name: str, schema: str) -> str:
    """The statement in ``sql/<name>.sql``."""
    text = (_FOLDER / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if not row.startswith("--")]
    text = "\n".join(rows).strip()
    for sign, meaning in (
        (":here", _HERE),
        (":durable", _DURABLE),
        (":behind", _BEHIND),
        (":status", _STATUS),
        (":micros", _MICROS),
        (":start", _START),
        (":history", _HISTORY),
        (":making", _MAKING),
    ):
        text = text.replace(sign, meaning)
    return text.replace("clustertoken.", f"{quoted(schema)}.")


def array(values: Sequence[str | None]) -> str:
    """*values* as an array's text."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def byte_array(values: Sequence[bytes | None]) -> Binary:
    """*values* as an array of bytea, in the server's own form.

    (As a text each byte would be two, three times over on the way to the socket.)
    """
    parts = [_ARRAY.pack(1, int(None in values), BYTEA, len(values), 1) if values else _NO_ARRAY]
    for one in values:
        parts += [_LENGTH.pack(-1)] if one is None else [_LENGTH.pack(len(one)), one]
    return Binary(BYTEAS, b"".join(parts))
