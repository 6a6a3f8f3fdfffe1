"""Arguments: what an app says of a provider, checked before anything rests on it.

What a type checker would find counts too: most apps have none, and a text that is taken for a
list of letters ends nobody's login without a word. Each raises
:class:`~flask_clustertoken.errors.ConfigurationError`, which names the argument.
"""

from __future__ import annotations

import re
from os import PathLike, fspath, listdir
from os.path import isdir
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

from ..errors import ConfigurationError
from ..oidc import Limits, checked_url
from .events import ENDS, TOLD

#: A URI begins with its scheme (RFC 3986, 3).
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


def checked_seconds(argument: str, value: Any, least: float, most: float = 2**31) -> float:
    """*value*, given as *argument*: *least* to *most* seconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        end = f"to {most:g}" if most < 2**31 else "or more"
        raise ConfigurationError(
            argument, f"{value!r} is no time.", f"Write seconds, {least:g} {end}."
        )
    return float(value)


def checked_text(argument: str, value: Any, remedy: str) -> str:
    """*value*, given as *argument*: a text with something in it, and nothing around it."""
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise ConfigurationError(argument, f"{value!r} is no such text.", remedy)
    return value


def checked_types(argument: str, value: Any) -> frozenset[str]:
    """*value*, given as *argument*: types of events by their whole names."""
    listed = _listed(argument, value)
    for one in listed:
        if not isinstance(one, str) or not _URI.fullmatch(one):
            raise ConfigurationError(
                argument,
                f"{one!r} is no type of event.",
                f"Write its URI: {_spelled(one)!r} (ENDS and TOLD hold the common ones).",
            )
    return frozenset(listed)


def checked_urls(argument: str, value: Any) -> tuple[str, ...]:
    """*value*, given as *argument*: providers by their URLs."""
    return tuple(checked_url(argument, one) for one in _listed(argument, value))


def checked_audience(value: Any) -> tuple[str, ...]:
    """One name, or several; or none."""
    remedy = "Write what the stream's configuration calls aud, a text or several."
    listed = (value,) if isinstance(value, str) else _listed("audience", value)
    return tuple(checked_text("audience", one, remedy) for one in listed)


def checked_limits(timeout: Any, proxy_url: str, ca_bundle: Any, *, most: float) -> Limits:
    """By which way a provider is asked, and for how long: *timeout* of at most *most* seconds."""
    wait = checked_seconds("timeout", timeout, 0.1, most)
    bundle = _bundle("ca_bundle", ca_bundle)
    return Limits(min(3.0, wait), wait, proxy_url=proxy_url, ca_bundle=bundle)


def _bundle(argument: str, value: Any) -> str:
    """Certificates that can be read; ``""``: the environment's."""
    if isinstance(value, PathLike):
        value = fspath(value)
    if value == "":
        return ""
    remedy = "Name a PEM file with certificates that this process may read."
    if not isinstance(value, str):
        raise ConfigurationError(argument, f"{value!r} is no file.", remedy)
    try:
        if isdir(value):
            # (As ``openssl rehash`` makes one: each is read when it is needed.)
            listdir(value)
        else:
            SSLContext(PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except (OSError, ValueError) as error:
        problem = f"{value!r} cannot be read as certificates ({type(error).__name__})."
        raise ConfigurationError(argument, problem, remedy) from error
    return value


def checked_function(argument: str, value: Any) -> Any:
    """*value*, given as *argument*: something to call, or ``None``."""
    if value is not None and not callable(value):
        raise ConfigurationError(
            argument, f"{value!r} is no function.", "Give the function itself, or leave it out."
        )
    return value


def _listed(argument: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes):
        raise ConfigurationError(
            argument, f"{value!r} is one text and no list.", f"Write {argument}=[{value!r}]."
        )
    try:
        return tuple(value)
    except TypeError:
        raise ConfigurationError(
            argument, f"{value!r} is no list.", f"Write {argument}=[…]."
        ) from None


def _spelled(name: Any) -> str:
    """The type of event that somebody meant who wrote the end of its name, or some other."""
    meant = [one for one in sorted(ENDS | TOLD) if one.endswith(f"/{name}")]
    return (meant or sorted(ENDS))[0]
