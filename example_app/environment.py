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

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from flask_clustertoken import TokenAuthority
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import PREFIX, Settings

#: The tests' own switches, which are no settings.
NOT_OURS = PREFIX + "TEST_"

#: gunicorn stops, instead of starting the worker again and again, where one ends with this.
EXIT_STATUS = 3

_YES, _NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings in *environ*, as keys of ``app.config``.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError`, which names the variable.
    """
    kinds = get_type_hints(Settings)
    found: dict[str, Any] = {}
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(NOT_OURS):
            kind = kinds.get(name.removeprefix(PREFIX).lower(), str)
            found[name] = _read(name, environ[name].strip(), kind)
    Settings.from_mapping(found)
    return found


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


def _read(name: str, text: str, kind: Any) -> Any:
    kinds = get_args(kind)
    if NoneType in kinds:
        if text.lower() in ("", "none"):
            return None
        (kind,) = (one for one in kinds if one is not NoneType)
    read = _READERS.get(get_origin(kind) or kind)
    try:
        return read(text) if read is not None else text
    except ValueError:
        wanted = _WANTED[get_origin(kind) or kind]
        raise ConfigurationError(name, f"it is not {wanted}.", "Correct the variable.") from None


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(text)


def _list(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    return found


_READERS: dict[Any, Callable[[str], Any]] = {
    bool: _flag,
    int: int,
    float: float,
    tuple: _list,
    Mapping: _mapping,
}
_WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list",
    Mapping: "a JSON object",
}
