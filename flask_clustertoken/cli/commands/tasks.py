"""Commands on tasks: of all servers that are told to run something, one does."""

from __future__ import annotations

import subprocess
import sys

import click

from ...shared import SLOT_LIFE
from ..context import Door, explained, with_door
from ..exit_codes import Failure
from ..options import json_option
from ..output import as_json
from ..values import Duration

#: Where what is said goes that is no JSON.
_STDERR = 2


@click.command("once", context_settings={"ignore_unknown_options": False})
@click.argument("key")
@click.argument("slot")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--name",
    default="tasks",
    show_default=True,
    help="The shared data that KEY belongs to: tokens.shared(NAME) in the app.",
)
@click.option(
    "--ttl",
    type=Duration(),
    default=SLOT_LIFE,
    show_default="7d",
    help="For how long it is remembered that SLOT was taken.",
)
@json_option
@with_door
@explained
def once_command(
    door: Door,
    key: str,
    slot: str,
    command: tuple[str, ...],
    name: str,
    ttl: float,
    json_too: bool,
) -> None:
    """Run COMMAND if nobody in the cluster was told to run SLOT of the task KEY before.

    For one line of cron that stands on every server. SLOT is the time for which it is planned, as
    every server spells it. Ends with the code of COMMAND; with 0, and without a word, where
    another server runs it; with 3 where the store cannot be asked, and then runs nothing. Without
    COMMAND it ends with 0 for whoever is the first, and with 1 for the others.

    \b
    Examples:
      flask tokens once report "$(date -u +%F)" -- /opt/app/bin/report --mail
      flask tokens once reindex "$(date -u +%FT%H)" --ttl 2d && /opt/app/bin/reindex
    """
    with door.authority() as authority:
        first = authority.shared(name).once(key, slot, ttl)
    # (Behind the connection's end: whatever the command does, it may take its time.)
    code = _run(command, json_too) if first and command else int(not first and not command)
    if json_too:
        as_json({"name": name, "key": key, "slot": slot, "first": first, "code": code})
    elif not command:
        click.echo("First." if first else "Not the first: another one was told to run it.")
    click.get_current_context().exit(code)


def _run(command: tuple[str, ...], json_too: bool) -> int:
    """Its code, as a shell gives it; with JSON on stdout, what it says goes to stderr."""
    sys.stdout.flush()
    try:
        done = subprocess.run(command, stdout=_STDERR if json_too else None, check=False)
    except OSError as error:
        raise Failure(
            f"{command[0]} could not be run ({error.strerror}), and nobody else will run this "
            "slot: correct the command, and run it by hand",
        ) from error
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
