"""Readers: one value of a mapping becomes one field of the settings, or a message that helps.

A reader is given the setting's name and the value, and raises :class:`ConfigurationError`, which
says what is wrong and what to write instead. READERS names one for every field.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..errors import ConfigurationError
from . import keytexts
from .limits import DAY, FILE_MOST, RECORD_CACHE_LIMIT, STALENESS_LIMIT
from .urls import plain_url

#: The shortest staleness, in seconds: with less no contact with a store is over in time.
STALENESS_LEAST = 0.1

#: The shortest life of a login, in seconds: it is renewed after a part of it, in whole seconds.
LIFETIME_LEAST = 2

#: The shortest life of a bound cookie, in seconds: a browser needs some of it to ask for the next.
BOUND_LEAST = 4

#: Fewer bytes than this hold no token with some claims.
CACHE_LEAST = 256 * 1024

_DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")

#: Letters that a domain has at most (RFC 1035), and the last port.
_DOMAIN_MOST = 253
_LAST_PORT = 65_535

#: What to do where a value is of another kind than it was written as.
_QUOTED = (
    "Write it as a text. (Flask reads an environment variable as JSON where it can: a number that "
    "is meant as text needs double quotes inside it, as in NAME='\"2024\"'.)"
)

Reader = Callable[[str, Any], Any]


def _kind(value: Any) -> str:
    """What *value* is, without showing it."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "a bool"
    return "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"


def _text(pattern: re.Pattern[str] | None = None, form: str = "") -> Reader:
    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            shown = repr(value) if isinstance(value, str) else _kind(value)
            remedy = "Correct it." if isinstance(value, str) else _QUOTED
            raise ConfigurationError(key, f"{shown} is not {form or 'a text'}.", remedy)
        return value

    return read


def _path(key: str, value: Any) -> str:
    """A file's path, which the system can be asked for."""
    text: str = _text()(key, value)
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigurationError(
            key, f"{text!r} is no path of a file.", "Write it such as /etc/app/token_secret."
        )
    return text


def _domain(key: str, value: Any) -> str:
    """A domain that can stand in a cookie, and that a browser takes.

    With another one each login would be an error, or a login that no browser keeps.
    """
    text: str = _text(re.compile(r"\.?[A-Za-z0-9.-]+"), "a domain")(key, value)
    name = text.removeprefix(".")
    if not _HOST.fullmatch(name) or len(name) > _DOMAIN_MOST:
        raise ConfigurationError(
            key,
            f"{text!r} is no domain: between two dots stand 1 to 63 letters, digits or hyphens, "
            f"no hyphen at an end of them, and {_DOMAIN_MOST} in all.",
            "Write it such as example.org, or leave it out for this host alone.",
        )
    return text


def _optional(read: Reader) -> Reader:
    return lambda key, value: None if value is None else read(key, value)


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(
            key,
            f"{value!r} is not a bool.",
            "Use True or False (in an environment variable: true or false).",
        )
    return value


def _choice(*allowed: str) -> Reader:
    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            shown = " or ".join(map(repr, allowed))
            remedy = f"Use {shown}." if isinstance(value, str) else f"Use {shown}. {_QUOTED}"
            raise ConfigurationError(key, f"{value!r} is unknown.", remedy)
        return value

    return read


def _seconds(at_most: float | None = None, *, least: float = 0, whole: bool = True) -> Reader:
    def read(key: str, value: Any) -> float | int:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(
                key,
                f"{value!r} is not a duration.",
                "Use seconds, as digits without a unit, or a timedelta.",
            )
        if not 0 < value < float("inf") or (whole and value != int(value)):
            raise ConfigurationError(
                key, f"{value} s is too short or not whole.", "Use a positive number of seconds."
            )
        if value < least:
            raise ConfigurationError(key, f"{value} s is too short.", f"At least {least:g} s.")
        if at_most is not None and value > at_most:
            raise ConfigurationError(key, f"{value} s is too long.", f"At most {at_most:.0f} s.")
        return int(value) if whole else float(value)

    return read


def _count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(key, f"{value!r} is not a count.", "Use a whole number from 1.")
    return value


def _bytes(least: int, at_most: int | None = None) -> Reader:
    def read(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(
                key,
                f"{value!r} is not a number of bytes from {least} up.",
                f"Use a whole number, such as {64 * 1024 * 1024} for 64 MB.",
            )
        if at_most is not None and value > at_most:
            raise ConfigurationError(key, f"{value} bytes are too many.", f"At most {at_most}.")
        return value

    return read


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, Sequence):
        raise ConfigurationError(key, f"{_kind(value)} is not a text or a list of texts.", _QUOTED)
    for one in value:
        if not isinstance(one, str):
            # (The value itself is not shown: it may be a key.)
            raise ConfigurationError(key, f"{_kind(one)} stands among its texts.", _QUOTED)
    return tuple(value)


def _secrets(key: str, value: Any) -> tuple[str, ...]:
    return keytexts.checked(key, _texts(key, keytexts.one_or_many(key, value)))


def _origins(key: str, value: Any) -> tuple[str, ...]:
    return tuple(_origin(key, one) for one in _texts(key, value))


def _origin(key: str, value: str) -> str:
    """As a browser spells it: small letters, and no port where it is the scheme's own."""
    wrong = ConfigurationError(
        key,
        f"{value!r} is not an origin.",
        "Write scheme://host[:port], each origin for itself, without a path or an asterisk.",
    )
    match = re.fullmatch(
        r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", value.lower()
    )
    if match is None:
        raise wrong
    scheme, host, port = match.groups()
    if port is not None and not 0 < int(port) <= _LAST_PORT:
        raise ConfigurationError(
            key,
            f"the port of {value!r} is not a number from 1 to {_LAST_PORT}.",
            "Correct it, or leave it out where it is the scheme's own.",
        )
    return f"{scheme}://{host}" + (
        f":{int(port)}" if port is not None and int(port) != _DEFAULT_PORTS[scheme] else ""
    )


def _bearers(key: str, value: Any) -> tuple[str, ...]:
    found = _texts(key, value)
    for one in found:
        if not re.fullmatch(r"[A-Za-z0-9._~+/-]+", one):
            raise ConfigurationError(
                key, f"{one!r} begins no bearer token.", 'Write a list: ["ctk_", "eyJ"].'
            )
    return found


def _hosts(key: str, value: Any) -> tuple[str, ...]:
    found = _texts(key, value)
    for one in found:
        if not re.fullmatch(r"[^\s,]+", one):
            raise ConfigurationError(
                key, f"{one!r} is no host's name.", 'Write a list: ["web1", "web2"].'
            )
    return found


def _options(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(key, "not a mapping.", "Use a dict of options.")
    return dict(value)


def check_api_prefix(prefix: str) -> str:
    """*prefix*, if an API token may begin with it; :class:`ConfigurationError` otherwise."""
    if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", prefix):
        raise ConfigurationError(
            "API_PREFIX", f"{prefix!r} is not usable.", "Use 2 to 16 of a-z, 0-9, a letter first."
        )
    return prefix


READERS: dict[str, Reader] = {
    "store": lambda key, value: plain_url(
        _text(re.compile(r"[^\s\0]+"), "a store's URL")(key, value)
    ),
    "store_options": _options,
    "token_store": _choice("session", "cookie"),
    "realm": _text(_NAME, "a name of letters, digits, '.', '_' and '-'"),
    "deployment": _text(_NAME, "a name of letters, digits, '.', '_' and '-'"),
    "secret": _secrets,
    "secret_file": _path,
    "cookie_name": _text(_COOKIE_NAME, "a cookie's name"),
    "cookie_domain": _optional(_domain),
    "cookie_path": _text(re.compile(r"/[^;,\s]*"), "a path"),
    "cookie_secure": _flag,
    "cookie_httponly": _flag,
    "cookie_samesite": _choice("Lax", "Strict", "None"),
    "cookie_partitioned": _flag,
    "lifetime": _seconds(at_most=400 * DAY, least=LIFETIME_LEAST),
    "renew_after": _seconds(),
    "always_renew": _flag,
    "absolute_lifetime": _optional(_seconds()),
    "max_staleness": _seconds(at_most=STALENESS_LIMIT, least=STALENESS_LEAST, whole=False),
    "when_stale": _choice("refuse", "accept"),
    "audit": _choice("log", "store"),
    "keep_address": _flag,
    "record_cache": _seconds(at_most=RECORD_CACHE_LIMIT),
    "token_cache": _bytes(CACHE_LEAST),
    "token_limit": _optional(_count),
    "when_limit": _choice("end_oldest", "refuse"),
    "when_reused": _choice("report", "end"),
    "reuse_grace": _seconds(at_most=DAY),
    "trusted_origins": _origins,
    "login_view": _text(),
    "api_prefix": lambda key, value: check_api_prefix(_text()(key, value)),
    "bearer_prefixes": _bearers,
    "device_bound": _choice("off", "offer", "require"),
    "bound_lifetime": _seconds(at_most=3600, least=BOUND_LEAST),
    "binding_prefix": _text(re.compile(r"(/[A-Za-z0-9._~-]+)+"), "a path such as /dbsc"),
    "file_limit": _bytes(1, FILE_MOST),
    "files_total": _optional(_bytes(1)),
    "expected_nodes": _hosts,
}


def nearest(name: str, prefix: str) -> str:
    """What to do about *name*, which is no setting."""
    from difflib import get_close_matches  # only where something is wrong

    near = get_close_matches(name, READERS, n=1)
    if near:
        return f"Did you mean {prefix}{near[0].upper()}?"
    return "Remove it; the settings are listed in the docs."
