"""Settings: read once, checked, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal, cast

from .cookies import Cookie
from .errors import ConfigurationError
from .notices import RECORD_CACHE_LIMIT, STALENESS_LIMIT
from .wire import TokenStore, check_api_prefix

PREFIX = "CLUSTERTOKEN_"
DAY = 86_400

#: The shortest staleness, in seconds: with less no contact with a store is over in time.
STALENESS_LEAST = 0.1

_DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Durations are seconds; ``timedelta`` is accepted too.

    In a Flask app each is a key of ``app.config``: ``CLUSTERTOKEN_`` and the field's name in
    capitals. :meth:`from_mapping` refuses what it does not know.
    """

    #: Where the cluster store is: ``directory:`` (``<instance>/shared/``),
    #: ``directory:///abs/path``, ``zookeeper://h1:2181,h2:2181/root``, ``redis://host:6379/0``,
    #: ``memory:``.
    # (A Redis URL may hold a password.)
    store: str = field(default="directory:", repr=False)
    #: What the store needs besides its URL (access control, TLS), by name. Never shown.
    store_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: ``session``: the claims stay in the cluster store; ``cookie``: they travel in the cookie.
    token_store: TokenStore = "session"
    #: Who shares a login.
    realm: str = "default"
    #: Who shares data and all other settings, inside a realm.
    deployment: str = "default"
    #: The secret keys, the signing one first. Never shown.
    secret: tuple[str, ...] = field(default=(), repr=False)
    #: A file with one key a line; re-read when it changes. Default: ``<instance>/token_secret``.
    secret_file: str = ""
    #: The cookie's name; ``__Host-`` or ``__Secure-`` is put in front where it may.
    cookie_name: str = "clustertoken"
    cookie_domain: str | None = None
    cookie_path: str = "/"
    cookie_secure: bool = True
    cookie_httponly: bool = True
    cookie_samesite: str = "Lax"
    cookie_partitioned: bool = False
    #: How long a login token lives without being used.
    lifetime: int = 7 * DAY
    #: A login token is renewed once more than this of its life has passed.
    renew_after: int = DAY
    #: Renew on each request that looks at the token.
    always_renew: bool = False
    #: No renewal goes beyond this after the login; ``None``: no end.
    absolute_lifetime: int | None = 30 * DAY
    #: For how long a node may go on without a confirmed contact with the store.
    max_staleness: float = 10.0
    #: ``refuse``, or ``accept``: then promises 1 and 2 do not hold for this node.
    when_stale: Literal["refuse", "accept"] = "refuse"
    #: How long a record's answer may be remembered.
    record_cache: int = 600
    #: Login tokens that one subject may have at a time; ``None``: any number.
    token_limit: int | None = None
    #: ``end_oldest``, or ``refuse`` the new login.
    when_limit: Literal["end_oldest", "refuse"] = "end_oldest"
    #: Other origins whose unsafe requests may use the cookie: ``https://app.example``.
    trusted_origins: tuple[str, ...] = ()
    #: Endpoint that a browser without a login is sent to.
    login_view: str = ""
    #: What API tokens begin with, before an underscore.
    api_prefix: str = "ctk"
    #: Host names that should be present; ``confirm`` and ``nodes`` name those that are silent.
    expected_nodes: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], prefix: str = PREFIX) -> Settings:
        """Read the keys of *mapping* that begin with *prefix*.

        Raises :class:`ConfigurationError` that names the key and the remedy.
        """
        try:
            return cls._read(mapping, prefix)
        except ConfigurationError as error:
            raise error.with_prefix(prefix) from error.__cause__

    @classmethod
    def _read(cls, mapping: Mapping[str, Any], prefix: str) -> Settings:
        given: dict[str, Any] = {}
        for key, value in mapping.items():
            if not key.startswith(prefix):
                continue
            name = key[len(prefix) :].lower()
            read = _READERS.get(name)
            if read is None or key != key.upper():
                raise ConfigurationError(key, "there is no such setting.", _nearest(name, prefix))
            given[name] = read(key, value)
        settings = cls(**given)
        settings._check(prefix)
        return settings

    def _check(self, prefix: str) -> None:
        def wrong(name: str, problem: str, remedy: str) -> ConfigurationError:
            return ConfigurationError(prefix + name, problem, remedy)

        if self.renew_after >= self.lifetime:
            raise wrong(
                "RENEW_AFTER",
                f"{self.renew_after} s is not less than LIFETIME ({self.lifetime} s), so that no "
                "token would ever be renewed.",
                f"Set it to a part of LIFETIME, such as {max(1, self.lifetime // 7)}.",
            )
        if self.absolute_lifetime is not None and self.absolute_lifetime < self.lifetime:
            raise wrong(
                "ABSOLUTE_LIFETIME",
                f"{self.absolute_lifetime} s is less than LIFETIME ({self.lifetime} s).",
                "Raise it, or set it to None for no end, or lower LIFETIME.",
            )
        if self.token_limit is not None and self.token_store == "cookie":
            raise wrong(
                "TOKEN_LIMIT",
                "with TOKEN_STORE='cookie' logins are not recorded and cannot be counted.",
                "Use TOKEN_STORE='session', or remove the limit.",
            )
        if self.secret and self.secret_file:
            raise wrong("SECRET_FILE", "SECRET is set too.", "Keep one of the two.")
        self.cookie  # noqa: B018 - raises where name and attributes contradict each other

    @property
    def cookie(self) -> Cookie:
        return Cookie(
            name=self.cookie_name,
            domain=self.cookie_domain,
            path=self.cookie_path,
            secure=self.cookie_secure,
            httponly=self.cookie_httponly,
            samesite=cast(Any, self.cookie_samesite),
            partitioned=self.cookie_partitioned,
        )

    def key_path(self, instance_path: str) -> str:
        """The key file that counts; ``""`` where the keys stand here, or nothing names a file."""
        if self.secret:
            return ""
        return self.secret_file or (
            os.path.join(instance_path, "token_secret") if instance_path else ""
        )

    def to_agree_in_realm(self) -> dict[str, str]:
        """What every node of the realm must have alike, besides the keys."""
        return {
            "COOKIE_NAME": self.cookie.name,
            "TOKEN_STORE": self.token_store,
            "API_PREFIX": self.api_prefix,
        }

    def to_agree_in_deployment(self) -> dict[str, str]:
        """What every node of the deployment must have alike."""
        apart = {"store", "store_options", "secret", "secret_file", "realm", "deployment"}
        apart |= {name.lower() for name in self.to_agree_in_realm()}
        return {
            one.name.upper(): str(getattr(self, one.name))
            for one in fields(self)
            if one.name not in apart
        }


# -- reading one value -----------------------------------------------------------------

Reader = Callable[[str, Any], Any]


def _text(pattern: re.Pattern[str] | None = None, form: str = "") -> Reader:
    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            shown = repr(value) if isinstance(value, str) else type(value).__name__
            raise ConfigurationError(key, f"{shown} is not {form or 'a text'}.", "Correct it.")
        return value

    return read


def _optional(read: Reader) -> Reader:
    return lambda key, value: None if value is None else read(key, value)


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(key, f"{value!r} is not a bool.", "Use True or False.")
    return value


def _choice(*allowed: str) -> Reader:
    def read(key: str, value: Any) -> str:
        if value not in allowed:
            shown = " or ".join(map(repr, allowed))
            raise ConfigurationError(key, f"{value!r} is unknown.", f"Use {shown}.")
        return cast(str, value)

    return read


def _seconds(at_most: float | None = None, *, least: float = 0, whole: bool = True) -> Reader:
    def read(key: str, value: Any) -> float | int:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(
                key, f"{value!r} is not a duration.", "Use seconds or a timedelta."
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


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise ConfigurationError(key, "not a text or a list of texts.", "Correct it.")
    return tuple(value)


def _secrets(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    found = _texts(key, value)
    for one in found:
        if len(one) < 8:
            raise ConfigurationError(
                key,
                "a key is shorter than 8 characters and could be guessed.",
                "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
    if len(set(found)) != len(found):
        raise ConfigurationError(key, "the same key stands there twice.", "Remove one of them.")
    return found


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
    return f"{scheme}://{host}" + (
        f":{int(port)}" if port is not None and int(port) != _DEFAULT_PORTS[scheme] else ""
    )


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


_READERS: dict[str, Reader] = {
    "store": _text(re.compile(r"\S+"), "a store's URL"),
    "store_options": _options,
    "token_store": _choice("session", "cookie"),
    "realm": _text(_NAME, "a name of letters, digits, '.', '_' and '-'"),
    "deployment": _text(_NAME, "a name of letters, digits, '.', '_' and '-'"),
    "secret": _secrets,
    "secret_file": _text(),
    "cookie_name": _text(_COOKIE_NAME, "a cookie's name"),
    "cookie_domain": _optional(_text(re.compile(r"\.?[A-Za-z0-9.-]+"), "a domain")),
    "cookie_path": _text(re.compile(r"/[^;,\s]*"), "a path"),
    "cookie_secure": _flag,
    "cookie_httponly": _flag,
    "cookie_samesite": _choice("Lax", "Strict", "None"),
    "cookie_partitioned": _flag,
    "lifetime": _seconds(at_most=400 * DAY),
    "renew_after": _seconds(),
    "always_renew": _flag,
    "absolute_lifetime": _optional(_seconds()),
    "max_staleness": _seconds(at_most=STALENESS_LIMIT, least=STALENESS_LEAST, whole=False),
    "when_stale": _choice("refuse", "accept"),
    "record_cache": _seconds(at_most=RECORD_CACHE_LIMIT),
    "token_limit": _optional(_count),
    "when_limit": _choice("end_oldest", "refuse"),
    "trusted_origins": _origins,
    "login_view": _text(),
    "api_prefix": lambda key, value: check_api_prefix(_text()(key, value)),
    "expected_nodes": _hosts,
}


def _nearest(name: str, prefix: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, _READERS, n=1)
    if near:
        return f"Did you mean {prefix}{near[0].upper()}?"
    return "Remove it; the settings are listed in the docs."
