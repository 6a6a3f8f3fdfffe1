"""``schema`` prints what an administrator runs, and asks no server for it."""

from __future__ import annotations

import json
import os

from click.testing import CliRunner

from flask_clustertoken.cli.program import program

from .parts import Line, MakeLine

NOBODY = "postgresql://shop:never-to-be-shown@127.0.0.1:1/app"


def test_the_script_is_printed_without_a_server() -> None:
    """It is SQL and nothing else, for the roles that were named, and holds no password."""
    told = CliRunner().invoke(
        program, ["--store", NOBODY, "schema", "--sql", "--reader-role", "support"]
    )
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("-- ")
    assert told.stdout.endswith("COMMIT;\n")
    assert 'TO "shop";' in told.stdout
    assert 'TO "support";' in told.stdout
    assert "never-to-be-shown" not in told.output
    asked = CliRunner().invoke(program, ["--store", NOBODY, "schema", "--sql", "--json"])
    facts = json.loads(asked.stdout)
    assert (facts["needed"], facts["there"]) == (True, None)
    assert 'TO "support";' not in facts["sql"]


def test_whether_it_is_there_is_asked(line: Line) -> None:
    """Of a server that is away that is trouble (3); a store that needs none says so."""
    told = CliRunner().invoke(program, ["--store", NOBODY, "schema"])
    assert told.exit_code == 3
    assert "never-to-be-shown" not in told.output
    assert "needs no schema" in line("schema").stdout
    assert line("schema", "--sql").stdout.startswith("-- ")
    assert line.json("schema") == {"needed": False, "there": None, "sql": None}


def test_whoever_asks_makes_nothing(make_line: MakeLine) -> None:
    """Where there is no store yet, there is none afterwards."""
    line = make_line()
    for words in (("schema",), ("schema", "--sql"), ("schema", "--json")):
        line(*words)
    assert os.listdir(line.app.instance_path) == []
