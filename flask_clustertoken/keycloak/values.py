"""Values: one value of ``keycloak.json`` or of our settings, read and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError

#: ``${env.NAME:default}`` inside a value.
_VARIABLE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")


_URL = "Write https://host[:port][/path], or a path."


def wrong(name: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(name, problem, remedy)


def read_text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(name, "not a text.", "Correct it.")
    return value.strip()


def read_flag(name: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise wrong(name, f"{value!r} is not true or false.", "Correct it.")
    return value


def number(at_most: int) -> Callable[[str, Any], int]:
    """A whole number; a negative one means what Keycloak says of it, mostly its default."""

    def read(name: str, value: Any) -> int:
        try:
            if isinstance(value, bool | float):
                raise ValueError
            found = int(value)
        except (TypeError, ValueError):
            raise wrong(name, f"{value!r} is not a whole number.", "Correct it.") from None
        if abs(found) > at_most:
            raise wrong(name, f"{found} is too large.", f"At most {at_most}.")
        return found

    return read


#: (As in Keycloak's adapter for Java: whoever wrote "never" there wrote this.)
read_number = number(at_most=2**31 - 1)

#: Each worker would keep so many at Keycloak.
read_connections = number(at_most=10_000)


def read_url(name: str, value: Any) -> str:
    url = read_text(name, value).rstrip("/") or "/"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise wrong(name, f"{value!r} is not a usable URL ({error}).", _URL) from None
    absolute = parts.scheme in ("http", "https") and parts.hostname
    relative = url.startswith("/") and not url.startswith("//")
    odd = any(ord(sign) <= 32 for sign in url)
    if odd or not (absolute or relative) or parts.query or parts.fragment or parts.username:
        raise wrong(name, f"{value!r} is not a usable URL.", _URL)
    return url


def read_seconds(name: str, value: Any) -> float:
    try:
        seconds = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= 60:
        raise wrong(name, f"{value!r} is no number of seconds.", "Use 1 to 60.")
    return seconds


def read_scope(name: str, value: Any) -> str:
    scope = read_text(name, value)
    if "openid" not in scope.split():
        raise wrong(name, f"{value!r} asks for no ID token.", f"Write it as 'openid {scope}'.")
    return scope


def read_path(name: str, value: Any) -> str:
    path = read_text(name, value)
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise wrong(name, f"{value!r} is no path of this app.", "Write it as '/goodbye'.")
    return path


def plain_origin(scheme: str, netloc: str) -> str:
    """``scheme://host[:port]``, without the port that the scheme has anyway."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    netloc = netloc.lower()
    return f"{scheme}://{netloc.removesuffix(default) if default else netloc}"


def read_origins(name: str, value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given:
        raise wrong(name, f"{value!r} is no list of origins.", 'Write ["https://app.example"].')
    found = []
    for one in given:
        parts = urlsplit(read_url(name, one))
        if not parts.netloc or parts.path.strip("/"):
            raise wrong(name, f"{one!r} is no origin.", "Write https://host[:port].")
        found.append(plain_origin(parts.scheme, parts.netloc))
    return tuple(found)


def choice(*allowed: str) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> str:
        if value not in allowed:
            raise wrong(name, f"{value!r} is unknown.", f"Use {' or '.join(allowed)}.")
        return str(value)

    return read


def read_milliseconds(name: str, value: Any) -> float | None:
    number = read_number(name, value)
    return number / 1000 if number > 0 else None


def filled(value: Any) -> Any:
    """*value* with ``${env.NAME:default}`` replaced in every text."""
    if isinstance(value, str):

        def one(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], match[2])
            if found is None:
                raise wrong(
                    "keycloak.json",
                    f"it names the variable {match[1]}, which is not set.",
                    "Set it, or give a default: ${env." + match[1] + ":value}",
                )
            return found

        return _VARIABLE.sub(one, value)
    if isinstance(value, Mapping):
        return {key: filled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    return value
