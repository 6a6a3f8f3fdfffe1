"""The door without Flask: ``python -m flask_clustertoken --store URL …``."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import click

from ..audit import audit_log as trail_log
from ..errors import ConfigurationError
from ..settings import PREFIX, Settings
from .commands import add_all
from .commands.gateway import gateway_command
from .context import Door, read_options
from .exit_codes import CONFIGURATION, Failure, failure_of
from .output import InOrder

PROGRAM = "python -m flask_clustertoken …"
#: What stands in for a setting on this command line.
OPTIONS = {
    PREFIX + "STORE": "--store",
    PREFIX + "REALM": "--realm",
    PREFIX + "DEPLOYMENT": "--deployment",
    PREFIX + "TOKEN_STORE": "--token-store",
    PREFIX + "API_PREFIX": "--api-prefix",
    PREFIX + "EXPECTED_NODES": "--expect",
    PREFIX + "SECRET_FILE": "--secret-file",
    PREFIX + "STORE_OPTIONS": "--store-options",
    PREFIX + "FILE_LIMIT": "--file-limit",
    PREFIX + "FILES_TOTAL": "--files-total",
    PREFIX + "AUDIT": "--audit",
}


#: In a context: whether somebody wants to be told how a command is called.
ASKED_FOR_HELP = "flask_clustertoken.help"


class Program(InOrder):
    """Each command explains itself, also where no store is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # (What follows "--" is somebody else's command.)
        ctx.meta[ASKED_FOR_HELP] = "--help" in args[: (*args, "--").index("--")]
        return super().parse_args(ctx, args)


def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The store's URL, which only whoever asks for help need not name."""
    if value is None and not ctx.meta[ASKED_FOR_HELP]:
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


@click.group("flask_clustertoken", cls=Program)
@click.option(
    "--store",
    metavar="URL",
    envvar="CLUSTERTOKEN_STORE",
    show_envvar=True,
    callback=named,
    help="The cluster store, as the nodes have it: directory:///abs/path, zookeeper://h1:2181,"
    "h2:2181/root, redis://host, postgresql://user@host/database.",
)
@click.option("--realm", default="default", show_default=True, help="Who shares a login.")
@click.option("--deployment", default="default", show_default=True, help="Who shares data.")
@click.option(
    "--token-store",
    type=click.Choice(["session", "cookie"]),
    default="session",
    show_default=True,
    help="As the nodes have it.",
)
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False),
    help="The app's key file; only issue-api, keys and doctor need it.",
)
@click.option(
    "--api-prefix", default="ctk", show_default=True, help="Of API tokens, as the nodes have it."
)
@click.option(
    "--store-options",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON file with the STORE_OPTIONS (access control, TLS).",
)
@click.option(
    "--file-limit", type=int, metavar="BYTES", help="Of a shared file, as the nodes have."
)
@click.option("--files-total", type=int, metavar="BYTES", help="Of all of them, as the nodes have.")
@click.option(
    "--audit",
    type=click.Choice(["log", "store"]),
    default="log",
    show_default=True,
    help="As the nodes have it: whether the store keeps what this command does.",
)
@click.option(
    "--audit-log",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Where a line is added for whatever this command does to tokens, keys or the store.",
)
@click.option("--expect", multiple=True, metavar="HOST", help="A host that should be present.")
@click.option(
    "--instance-path",
    type=click.Path(file_okay=False, resolve_path=True),
    help="The app's instance folder: where directory: and token_secret are.",
)
@click.pass_context
def program(
    ctx: click.Context,
    store: str | None,
    realm: str,
    deployment: str,
    token_store: str,
    secret_file: str | None,
    api_prefix: str,
    store_options: str | None,
    file_limit: int | None,
    files_total: int | None,
    audit: str,
    audit_log: str | None,
    expect: tuple[str, ...],
    instance_path: str | None,
) -> None:
    """Logins and API tokens of a realm: who has one, end it everywhere, and what the cluster does.

    The same commands as 'flask tokens …', for apps that are not Flask apps.

    Exit codes: 0 done, 1 something is not as it should be, 2 called wrongly, 3 the store is
    unreachable, 4 a setting is wrong.

    \b
    Example:
      python -m flask_clustertoken --store zookeeper://zk1:2181/app revoke-subject alice --wait
    """
    if store is None:
        return  # help was asked for, and the command gives it
    given: dict[str, Any] = {
        PREFIX + "STORE": store,
        PREFIX + "REALM": realm,
        PREFIX + "DEPLOYMENT": deployment,
        PREFIX + "TOKEN_STORE": token_store,
        PREFIX + "API_PREFIX": api_prefix,
        PREFIX + "EXPECTED_NODES": expect,
        PREFIX + "AUDIT": audit,
    }
    if secret_file is not None:
        given[PREFIX + "SECRET_FILE"] = secret_file
    if file_limit is not None:
        given[PREFIX + "FILE_LIMIT"] = file_limit
    if files_total is not None:
        given[PREFIX + "FILES_TOTAL"] = files_total
    if audit_log is not None:
        _keep_lines_in(audit_log, ctx)
    door = Door(Settings(), instance_path or "", program=PROGRAM, options=OPTIONS)
    try:
        options = read_options(store_options)
        if options is not None:
            given[PREFIX + "STORE_OPTIONS"] = options
        ctx.obj = replace(door, settings=Settings.from_mapping(given))
    except ConfigurationError as error:
        failure = failure_of(error)
        raise Failure(door.words(failure.message), failure.exit_code) from error


def _keep_lines_in(path: str, ctx: click.Context) -> None:
    """Add the lines of the audit trail to the file *path*, as long as *ctx* lasts."""
    try:
        handler = logging.FileHandler(path, encoding="ascii")
    except OSError as error:
        why = f"--audit-log: {path} cannot be written to: {error.strerror}."
        raise Failure(why, CONFIGURATION) from error
    before = trail_log.level
    trail_log.addHandler(handler)
    trail_log.setLevel(logging.INFO)

    def put_back() -> None:
        trail_log.setLevel(before)
        trail_log.removeHandler(handler)
        handler.close()

    ctx.call_on_close(put_back)


add_all(program)
# (It serves by the environment: an app's own settings are behind the other door.)
program.add_command(gateway_command)


def main() -> None:
    """Run the program; ends the process."""
    program(prog_name="python -m flask_clustertoken")
