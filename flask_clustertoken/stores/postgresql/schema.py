"""The schema: files in ``schema/``, made step by step by whoever comes first and may."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ...errors import StoreNotOpen, StoreUnavailable
from ..deadline import Deadline
from .connections import Connections, explained
from .driver import Session, StatementRefused
from .statements import quoted, statement

_FOLDER = Path(__file__).parent / "schema"

#: The last step that this version knows.
VERSION = 1

#: The number of the lock that whoever makes the schema holds (two of 32 bits; the first is ours).
_OURS = 0x636C7573


class MayNotCreate(StoreUnavailable):
    """The schema is not there, or not whole, and this role may not make it."""


@cache
def step(number: int) -> str:
    return (_FOLDER / f"{number:03}.sql").read_text(encoding="utf-8")


def as_script(schema: str, app_role: str, reader_role: str) -> str:
    """What an administrator runs in psql, so that *app_role* need not create anything."""
    name, app, reader = map(quoted, (schema, app_role, reader_role))
    parts = [
        "-- The cluster store of Flask-ClusterToken. Run it in the app's database, once.",
        "BEGIN;",
        f"CREATE SCHEMA IF NOT EXISTS {name};",
        *(_in(schema, number).strip() for number in range(1, VERSION + 1)),
        f"""-- The app: it reads and writes rows, and makes nothing.
GRANT USAGE ON SCHEMA {name} TO {app};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {app};""",
    ]
    if reader_role:
        parts.append(f"""-- People who look: the two views, and nothing else.
GRANT USAGE ON SCHEMA {name} TO {reader};
GRANT SELECT ON {name}.live_tokens, {name}.recent_revocations TO {reader};""")
    return "\n".join([*parts, "COMMIT;", ""])


def _in(schema: str, number: int) -> str:
    """Step *number*, for that schema."""
    return step(number).replace("clustertoken.", f"{quoted(schema)}.")


def _statements(text: str) -> Iterator[str]:
    rows = [row for row in text.splitlines() if not row.startswith("--")]
    for part in "\n".join(rows).split(";\n"):
        if part.strip():
            yield part.strip().rstrip(";")


def refuse_newer(rows: list[tuple[int | None, int | None]]) -> int:
    """The schema's version; :class:`StoreNotOpen` where this code does not know what it needs."""
    ((found, needs),) = rows
    if needs is not None and needs > VERSION:
        raise StoreNotOpen(
            f"the schema in PostgreSQL has version {found}, this version of Flask-ClusterToken "
            f"knows {VERSION}: a later one is needed."
        )
    return found or 0


def make(connections: Connections, deadline: Deadline, schema: str) -> None:
    """Make the schema, or what is new in it; one node does, the others wait for it."""
    with connections.session(deadline) as session:
        try:
            _make(session, deadline, schema)
        except StatementRefused as refusal:
            if refusal.state != "42501":
                raise explained(refusal) from refusal
            raise MayNotCreate(
                f"the schema {schema!r} is not in the PostgreSQL database, or not whole, and this "
                "role may not create it. Let an administrator run once what 'flask tokens schema "
                f"--sql' prints. The server said: {refusal.said}"
            ) from refusal
        except BaseException:
            session.close()
            raise


def _make(session: Session, deadline: Deadline, schema: str) -> None:
    patience = str(int(deadline.left() * 900))
    session.ask(
        deadline,
        ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", ()),
        (statement("prelude", schema), (patience,)),
        (f"SELECT pg_advisory_xact_lock({_OURS}, hashtext($1))::text", (schema,)),
    )
    ((there,),), ((made,),) = session.ask(
        deadline,
        ("SELECT to_regnamespace($1) IS NOT NULL", (quoted(schema),)),
        ("SELECT to_regclass($1) IS NOT NULL", (f"{quoted(schema)}.schema_step",)),
    )
    found = 0
    if made:
        (rows,) = session.ask(deadline, (statement("steps", schema), ()))
        found = refuse_newer([(row[0], row[1]) for row in rows])
    todo: list[str] = [] if there else [f"CREATE SCHEMA {quoted(schema)}"]
    for number in range(found + 1, VERSION + 1):
        todo += _statements(_in(schema, number))
    session.ask(deadline, *((one, ()) for one in (*todo, "COMMIT")))
