"""The command on what a store needs in somebody else's database."""

from __future__ import annotations

import click

from ..context import Door, explained, with_door
from ..options import json_option
from ..output import as_json


@click.command("schema")
@click.option("--sql", is_flag=True, help="Print the SQL that makes it, grants included.")
@click.option("--app-role", default="", metavar="ROLE", help="The role that the app signs on with.")
@click.option("--reader-role", default="", metavar="ROLE", help="A role of people who only look.")
@json_option
@with_door
@explained
def schema_command(door: Door, sql: bool, app_role: str, reader_role: str, json_too: bool) -> None:
    """What the store needs in a database: whether it is there, or the SQL that makes it.

    The first node makes it by itself where its role may create a schema. Where it may not, an
    administrator runs this once, and after an upgrade that says so. Printing asks no server.

    \b
    Example:
      flask tokens schema --sql --app-role shop --reader-role support | psql app
    """
    with door.own_store() as store:
        script = store.schema_script(app_role, reader_role)
        there = None if sql or not script else store.begun()
        if json_too:
            as_json({"needed": bool(script), "there": there, "sql": script if sql else None})
        elif sql:
            click.echo(script or f"-- A store on {store.scheme}: needs no SQL.", nl=not script)
        elif there is None:
            click.echo(f"A store on {store.scheme}: needs no schema.")
        elif there:
            click.echo(f"The schema is there, and in it realm {door.settings.realm}.")
        else:
            click.echo(
                f"Realm {door.settings.realm} is not there yet. The first node makes it, and the "
                "schema too if its role may. Else let an administrator run what "
                f"'{door.program} schema --sql' prints."
            )
