"""The door without Flask: ``python -m flask_clustertoken --store URL …``."""

from __future__ import annotations

from typing import Any

import click

from ..settings import Settings
from .commands import add_all
from .door import Door, read_options
from .failures import explained
from .output import InOrder


@click.group("flask_clustertoken", cls=InOrder)
@click.option(
    "--store",
    metavar="URL",
    envvar="CLUSTERTOKEN_STORE",
    show_envvar=True,
    required=True,
    help="The cluster store: directory:///abs/path, zookeeper://h1:2181,h2:2181/root.",
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
    help="The key file; only issue-api, keys and doctor need it.",
)
@click.option(
    "--store-options",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON file with the STORE_OPTIONS (access control, TLS).",
)
@click.option("--expect", multiple=True, metavar="HOST", help="A host that should be present.")
@click.option(
    "--instance-path",
    type=click.Path(file_okay=False, resolve_path=True),
    help="The app's instance folder: where directory: and token_secret are.",
)
@click.pass_context
@explained
def program(
    ctx: click.Context,
    store: str,
    realm: str,
    deployment: str,
    token_store: str,
    secret_file: str | None,
    store_options: str | None,
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
    given: dict[str, Any] = {
        "CLUSTERTOKEN_STORE": store,
        "CLUSTERTOKEN_REALM": realm,
        "CLUSTERTOKEN_DEPLOYMENT": deployment,
        "CLUSTERTOKEN_TOKEN_STORE": token_store,
        "CLUSTERTOKEN_EXPECTED_NODES": expect,
    }
    if secret_file is not None:
        given["CLUSTERTOKEN_SECRET_FILE"] = secret_file
    options = read_options(store_options)
    if options is not None:
        given["CLUSTERTOKEN_STORE_OPTIONS"] = options
    ctx.obj = Door(Settings.from_mapping(given), instance_path or "")


add_all(program)


def main() -> None:
    """Run the program; ends the process."""
    program(prog_name="python -m flask_clustertoken")
