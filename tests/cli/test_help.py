"""Help: every command teaches itself, and the manual has all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flask_clustertoken.cli.commands.gateway import gateway_command
from flask_clustertoken.cli.exit_codes import __doc__ as codes
from flask_clustertoken.cli.group import tokens_group
from flask_clustertoken.cli.program import program

from .parts import Line

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "cli.rst").read_text()


def walk(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walk(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(walk(tokens_group))
#: What only the door without Flask has: it serves by the environment, and prints nothing.
SERVING = {"gateway": gateway_command}


@pytest.mark.parametrize("name", [*COMMANDS, *SERVING])
def test_help_asks_for_no_store(name: str) -> None:
    """The door without Flask explains each command to whoever has named nothing yet."""
    said = CliRunner().invoke(program, [*name.split(), "--help"], env={"CLUSTERTOKEN_STORE": ""})
    assert said.exit_code == 0
    assert "Usage" in said.stdout


def test_only_our_own_help_asks_for_no_store() -> None:
    """What stands behind ``--`` is another program's."""
    said = CliRunner().invoke(program, ["once", "a", "1", "--", "ls", "--help"])
    assert said.exit_code == 2
    assert "--store" in said.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(line: Line, name: str) -> None:
    """``--help`` says what the command does and shows an example."""
    said = line(*name.split(), "--help").stdout

    assert f"flask tokens {name}" in said
    assert "Example" in said


@pytest.mark.parametrize("name", [*COMMANDS, *SERVING])
def test_every_command_and_option_is_in_the_manual(name: str) -> None:
    """cli.rst has a section for each command, and names each option that it has."""
    assert re.search(rf"^``{name}``", PAGE, re.M), f"{name} has no section"
    for parameter in {**COMMANDS, **SERVING}[name].params:
        if isinstance(parameter, click.Option):
            assert any(f"``{one}" in PAGE or f" {one}" in PAGE for one in parameter.opts), (
                f"{name} {parameter.opts} is not documented"
            )


def test_the_manual_names_no_command_that_is_not_there() -> None:
    """Each section of cli.rst that is called like a command is one."""
    titled = re.findall(r"^``([a-z-]+(?: [a-z-]+)?)``.*\n[~-]{4,}$", PAGE, re.M)

    assert set(titled) == {*COMMANDS, *SERVING}


def test_every_option_of_the_other_door_is_in_the_manual() -> None:
    """cli.rst has the options of ``python -m flask_clustertoken``."""
    for parameter in program.params:
        assert f"``{parameter.opts[0]}``" in PAGE


def test_both_doors_have_the_same_commands() -> None:
    """What ``flask tokens`` can, the other door can."""
    assert dict(walk(program)) == COMMANDS | SERVING


def test_the_codes_are_documented() -> None:
    """Every exit code is in cli.rst, as in the code."""
    rows = re.findall(r"^(\d)     ", codes or "", re.M)

    assert rows == ["0", "1", "2", "3", "4"]
    assert re.findall(r"^(\d)     ", PAGE, re.M) == rows


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json(name: str) -> None:
    """Programs need no table."""
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_help_needs_no_store() -> None:
    """``--help`` works with a store that does not exist."""
    said = CliRunner().invoke(program, ["--store", "directory:///nowhere", "list", "--help"])

    assert said.exit_code == 0
