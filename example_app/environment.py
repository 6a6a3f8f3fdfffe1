"""The environment: ``CLUSTERTOKEN_*`` variables as settings, with the types that these have.

======================= ==================================================================
``CLUSTERTOKEN_…``      a setting: numbers as numbers, ``true``/``false``/``1``/``0``/
                        ``yes``/``no``, lists with commas, ``STORE_OPTIONS`` as JSON,
                        ``none`` where a setting may be off
``INSTANCE``            the folder of data and secret (default: ``instance``)
``NODE_NAME``           what this host is called on the pages (default: its host name)
======================= ==================================================================

A variable that is unknown or wrong stops the start: a typing mistake in ``MAX_STALENESS``
must not leave the default in force.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask_clustertoken import TokenAuthority
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings, from_environment

#: The tests' own switches, which are no settings, and those of a gateway beside this app.
NOT_OURS = ("TEST_", "GATEWAY_")

#: gunicorn stops, instead of starting the worker again and again, where one ends with this.
EXIT_STATUS = 3


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings in *environ*, as keys of ``app.config``.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError`, which names the variable.
    """
    return from_environment(environ, apart=NOT_OURS)


def instance_path(environ: Mapping[str, str] = os.environ) -> str:
    """The instance folder, absolute; made here, for nobody else to look into."""
    path = Path(environ.get("INSTANCE") or "instance").absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError("INSTANCE", f"{path} cannot be made: {error.strerror}.") from error
    return str(path)


def check() -> None:
    """Build from the environment what a worker will build, which opens nothing.

    So a wrong setting is said once, before any worker is started.
    """
    made = TokenAuthority(Settings.from_mapping(settings()), instance_path=instance_path())
    # Or each worker would take it up beside the app's own, as another node.
    made.close()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A wrong setting ends the process with one line, without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        print(f"example_app: {error}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_STATUS) from None
