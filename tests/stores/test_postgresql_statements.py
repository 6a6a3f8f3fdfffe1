"""What is said to a PostgreSQL server, and what is made of what it says, without one."""

from __future__ import annotations

import re

import pytest

from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.postgresql import schema
from flask_clustertoken.stores.postgresql.server import Quorum
from flask_clustertoken.stores.postgresql.statements import array, byte_array, quoted, statement


def test_an_array_keeps_every_sign_apart() -> None:
    """Quotes, backslashes, commas and braces stand for themselves, and nothing is not its name."""
    assert array([]) == "{}"
    assert array(["a", 'b"c', "d\\e", "f,{g}", "NULL", "", None]) == (
        '{"a","b\\"c","d\\\\e","f,{g}","NULL","",NULL}'
    )


def test_an_array_of_bytes_is_sent_as_the_server_keeps_it() -> None:
    """A byte is a byte; nothing is not the empty one; and an array of none has no dimension."""
    number = bytes.fromhex
    assert byte_array([]).raw == number("00000000 00000000 00000011")
    assert byte_array([b"\x00\xff", None, b""]).raw == (
        number("00000001 00000001 00000011 00000003 00000001")
        + (number("00000002") + b"\x00\xff" + number("ffffffff") + number("00000000"))
    )


def test_our_names_stand_in_the_schema_that_was_asked_for() -> None:
    """Whatever it is called; and no other name of ours is left."""
    text = statement("append", 'my "own"')
    assert '"my ""own""".entry' in text
    assert "clustertoken." not in text
    assert not re.search(r"(?<!:):(here|durable|behind|status|micros|start)\b", text)
    assert quoted("a") == '"a"'


def test_the_script_for_an_administrator_is_whole() -> None:
    """One transaction: schema, tables, views, and what the two roles may."""
    store = open_store("postgresql://shop@db/app", options={"schema": "tokens"})
    script = store.schema_script(reader_role="support")
    assert script.startswith("-- ")
    assert script.index("BEGIN;") < script.index('CREATE SCHEMA IF NOT EXISTS "tokens";')
    assert script.endswith("COMMIT;\n")
    assert 'ON ALL TABLES IN SCHEMA "tokens" TO "shop";' in script
    assert (
        'GRANT SELECT ON "tokens".live_tokens, "tokens".recent_revocations TO "support";' in script
    )
    assert "clustertoken." not in script
    assert '"support"' not in store.schema_script()
    assert 'TO "other"' in store.schema_script("other")


def test_every_table_and_view_is_commented() -> None:
    """Whoever finds them reads what they are for."""
    text = "".join(schema.step(number) for number in range(1, schema.VERSION + 1))
    for kind in ("TABLE", "VIEW"):
        made = re.findall(rf"CREATE {kind} clustertoken\.(\w+)", text)
        assert made
        for name in made:
            assert f"COMMENT ON {kind} clustertoken.{name} IS" in text


@pytest.mark.parametrize(
    ("text", "wanted", "many"),
    [
        ("", 0, 0),
        ("s1", 1, 1),
        ("s1, s2", 1, 2),
        ("ANY 1 (s1, s2)", 1, 2),
        ("any 2(s1,s2,s3)", 2, 3),
        ("FIRST 2 (s1, s2, s3)", 2, 3),
        ("2 (s1, s2, s3)", 2, 3),
        ("ANY 1 (*)", 1, 0),
        ("*", 1, 0),
        ('ANY 1 ("s,1", s2)', 1, 2),
    ],
)
def test_the_standbys_that_must_have_it_are_counted(text: str, wanted: int, many: int) -> None:
    """As ``synchronous_standby_names`` is written."""
    assert Quorum.read(text) == Quorum(wanted, many)
