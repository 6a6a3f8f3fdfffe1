"""Options: what can be set of a gateway, beside the realm's own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Any

from ..errors import ConfigurationError
from ..settings import PREFIX as SETTINGS

PREFIX = SETTINGS + "GATEWAY_"

#: The word for whoever comes by a Unix socket, where there is no address.
UNIX = "unix"

#: Bytes that ``X-Auth-Claims`` may have. nginx has 4 KB for all headers of an answer unless
#: ``proxy_buffer_size`` says otherwise, and answers 502 where they are more.
CLAIMS_LIMIT = 2048

#: Seconds that an answer waits at most until a revocation is in force everywhere.
CONFIRM_TIMEOUT = 5.0

_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What can be set of a gateway: ``CLUSTERTOKEN_GATEWAY_`` and the field's name in capitals."""

    #: Addresses and networks of the proxies in front, ``unix`` for a Unix socket: what they say
    #: of the original request is believed. Nobody, unless it is set.
    trusted: tuple[str, ...] = ()
    #: Where callers reach this gateway: ``https://auth.example``. For the metadata, and what the
    #: ``aud`` of a signed JWT is held against.
    url: str = ""
    #: Bytes of the header with the claims, beyond which it is empty.
    claims_limit: int = CLAIMS_LIMIT
    #: Seconds for which an introspection may be remembered at most; ``None``: as long as this
    #: node can vouch for it, 0: not at all.
    max_age: int | None = None
    #: Seconds until an answer says that a revocation is not in force everywhere yet.
    confirm_timeout: float = CONFIRM_TIMEOUT
    #: What finds the app's subject for a subject identifier (RFC 9493), as ``module:function``.
    subjects: str = ""
    #: The issuer whose signed JWTs may end logins at ``/global-token-revocation``.
    issuer: str = ""
    #: Its keys: the URL of a JWK set, or a file that holds one.
    jwks: str = ""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> GatewayOptions:
        """Read the keys of *mapping* that begin with :data:`PREFIX`.

        Raises :class:`~flask_clustertoken.errors.ConfigurationError`.
        """
        names = {one.name for one in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in mapping.items():
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX).lower()
            if name not in names or key != key.upper():
                near = get_close_matches(name, names, n=1)
                remedy = f"Did you mean {PREFIX}{near[0].upper()}?" if near else "Remove it."
                raise ConfigurationError(key, "there is no such setting.", remedy)
            given[name] = _READERS[name](key, value)
        options = cls(**given)
        options._check()
        return options

    def _check(self) -> None:
        for name, other in (("ISSUER", self.jwks), ("JWKS", self.issuer)):
            if getattr(self, name.lower()) and not other:
                missing = "JWKS" if name == "ISSUER" else "ISSUER"
                raise ConfigurationError(
                    PREFIX + name, f"it needs {PREFIX}{missing} beside it.", "Set both, or none."
                )
        if self.issuer and not self.url:
            raise ConfigurationError(
                PREFIX + "ISSUER",
                f"it needs {PREFIX}URL, which the aud of its JWTs has to name.",
                "Set it to where the issuer reaches this gateway: https://auth.example",
            )


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(key, f"{value!r} is not a text.", "Write it as a text.")
    return value


def _networks(key: str, value: Any) -> tuple[str, ...]:
    listed = [] if value is None or value == "" else value
    if not isinstance(listed, list | tuple | set | frozenset):
        listed = [listed]
    for one in listed:
        if one != UNIX and not _is_network(one):
            raise ConfigurationError(
                key,
                f"{one!r} is neither an address nor a network.",
                'Write addresses and networks, as in ["127.0.0.1", "10.1.0.0/16"], or "unix".',
            )
    return tuple(listed)


def _is_network(value: Any) -> bool:
    # (A text: ipaddress also takes numbers, and 5 for 0.0.0.5.)
    try:
        return isinstance(value, str) and bool(ip_network(value))
    except ValueError:
        return False


def _url(key: str, value: Any) -> str:
    text = _text(key, value)
    if text and not _URL.fullmatch(text):
        raise ConfigurationError(
            key, f"{text!r} is not the URL of a server.", "Write https://host[:port][/path]."
        )
    return text.rstrip("/")


def _whole(least: int, most: int, optional: bool = False) -> Any:
    def read(key: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigurationError(
                key, f"{value!r} will not do.", f"Use a whole number from {least} to {most}."
            )
        return value

    return read


def _seconds(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:
        raise ConfigurationError(key, f"{value!r} will not do.", "Use seconds, 60 at most.")
    return float(value)


def _function(key: str, value: Any) -> str:
    text = _text(key, value)
    if text and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ConfigurationError(
            key, f"{text!r} names no function.", "Write package.module:function."
        )
    return text


_READERS: dict[str, Any] = {
    "trusted": _networks,
    "url": _url,
    "claims_limit": _whole(0, 16_384),
    "max_age": _whole(0, 300, optional=True),
    "confirm_timeout": _seconds,
    "subjects": _function,
    "issuer": _text,
    "jwks": _text,
}
