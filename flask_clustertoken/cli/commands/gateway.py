"""The command that serves: the gateway under gunicorn, by the same settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ...settings import PREFIX, from_environment
from ..context import Door, explained, with_door
from ..exit_codes import CONFIGURATION, Failure

#: What gunicorn is told to serve. (By name: adapters do not import each other.)
APP = "flask_clustertoken.gateway:create_app()"

#: Variables that are no settings of the realm.
_APART = ("TEST_", "GATEWAY_")


@click.command("gateway")
@click.option(
    "--bind", default="127.0.0.1:9000", show_default=True, help="Where it listens: HOST:PORT or "
    "unix:PATH."
)  # fmt: skip
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=4, show_default=True, type=click.IntRange(1), help="Of each.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[-- GUNICORN_OPTION...]")
@with_door
@explained
def gateway_command(
    door: Door, bind: str, workers: int, threads: int, more: tuple[str, ...]
) -> None:
    """Serve the gateway: /auth for reverse proxies, /introspect, /revoke and
    /global-token-revocation for services of any language.

    Runs until it is stopped, under gunicorn (which has to be installed). Settings are the
    CLUSTERTOKEN_* variables, those of the app and CLUSTERTOKEN_GATEWAY_*; the options in front
    of the command win. It is a node like a worker of the app, and needs the app's key.

    \b
    Example:
      export CLUSTERTOKEN_STORE=redis://redis1 CLUSTERTOKEN_SECRET_FILE=/etc/app/token_secret
      export CLUSTERTOKEN_GATEWAY_TRUSTED=127.0.0.1
      python -m flask_clustertoken gateway --bind 127.0.0.1:9000
    """
    if find_spec("gunicorn") is None:
        raise Failure(
            f"gunicorn is not installed: pip install gunicorn, or let another WSGI server serve "
            f"'{APP}'.",
            CONFIGURATION,
        )
    above = click.get_current_context().parent
    environment = {**os.environ, **(_given(above) if above is not None else {})}
    from_environment(environment, apart=_APART)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:flask_clustertoken.gunicorn"]
    command += ["--bind", bind, "--workers", str(workers)]
    command += ["--worker-class", "gthread", "--threads", str(threads), *more, APP]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


def _given(above: click.Context) -> dict[str, str]:
    """The settings that were given in front of the command, as variables."""
    found: dict[str, str] = {}
    for name, value in above.params.items():
        if above.get_parameter_source(name) != click.core.ParameterSource.COMMANDLINE:
            continue
        if name == "audit_log":
            raise click.UsageError("--audit-log: the gateway's lines are gunicorn's to log.")
        if name == "store_options":
            found[PREFIX + "STORE_OPTIONS"] = Path(value).read_text(encoding="utf-8")
        elif name == "expect":
            found[PREFIX + "EXPECTED_NODES"] = ",".join(value)
        elif name != "instance_path":
            found[PREFIX + name.upper()] = str(value)
    return found | _of_instance(above.params)


def _of_instance(params: Mapping[str, Any]) -> dict[str, str]:
    """Where the app's instance folder is named: its embedded store, or its key for another one."""
    folder = params.get("instance_path")
    if not folder:
        return {}
    if str(params["store"]).lower() == "directory:":
        return {PREFIX + "STORE": f"directory://{folder}/shared"}
    key = Path(folder, "token_secret")
    return {PREFIX + "SECRET_FILE": str(key)} if key.exists() and not params["secret_file"] else {}
