"""Environment: variables as settings, with the types that these have.

Flags are ``true``/``false``/``1``/``0``/``yes``/``no``, lists stand with commas, mappings as JSON,
and ``none`` (or nothing) where a setting may be off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError
from .settings import PREFIX, Settings

_YES, _NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def from_environment(environ: Mapping[str, str], *, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings in *environ* by their variables, checked: what ``Settings.from_mapping`` reads.

    What begins with one of *apart* (without the prefix) is somebody else's. Raises
    :class:`ConfigurationError`, which names the variable, also where one is unknown: a typing
    mistake in ``MAX_STALENESS`` must not leave the default in force.
    """
    found = variables(environ, Settings, PREFIX, tuple(PREFIX + one for one in apart))
    Settings.from_mapping(found)
    return found


def variables(
    environ: Mapping[str, str], kind: type, prefix: str, apart: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What *environ* says with *prefix* of the fields of *kind*, typed as those are.

    A name that is no field's stays a text. Raises :class:`ConfigurationError`.
    """
    kinds = get_type_hints(kind)
    return {
        name: _read(name, environ[name].strip(), kinds.get(name.removeprefix(prefix).lower(), str))
        for name in sorted(environ)
        if name.startswith(prefix) and not (apart and name.startswith(apart))
    }


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
