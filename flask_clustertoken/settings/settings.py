"""Settings: read once, checked, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

from ..errors import ConfigurationError
from .cookie import CookieAttributes
from .limits import DAY
from .readers import READERS, nearest

PREFIX = "CLUSTERTOKEN_"

#: Bytes for verified tokens unless it is set: room for some 40,000 without claims.
TOKEN_CACHE = 64 * 1024 * 1024

#: Bytes of a shared file unless it is set.
FILE_LIMIT = 32 * 1024 * 1024

#: Where the claims of a login are.
TokenStore = Literal["session", "cookie"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Durations are seconds; ``timedelta`` is accepted too.

    In a Flask app each is a key of ``app.config``: ``CLUSTERTOKEN_`` and the field's name in
    capitals. :meth:`from_mapping` refuses what it does not know.
    """

    #: Where the cluster store is: ``directory:`` (``<instance>/shared/``),
    #: ``directory:///abs/path``, ``zookeeper://h1:2181,h2:2181/root``, ``redis://host:6379/0``,
    #: ``postgresql://h1:5432/database``, ``memory:``.
    # (A URL may hold a password.)
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
    #: Bytes that a process spends on tokens that it has verified, their claims included.
    token_cache: int = TOKEN_CACHE
    #: Login tokens that one subject may have at a time; ``None``: any number.
    token_limit: int | None = None
    #: ``end_oldest``, or ``refuse`` the new login.
    when_limit: Literal["end_oldest", "refuse"] = "end_oldest"
    #: Where a login has two holders: ``report`` it, or ``end`` the login everywhere.
    when_reused: Literal["report", "end"] = "report"
    #: Seconds for which an older copy may be on its way, or come back, before it counts as held
    #: by somebody else.
    reuse_grace: int = 60
    #: Other origins whose unsafe requests may use the cookie: ``https://app.example``.
    trusted_origins: tuple[str, ...] = ()
    #: Endpoint that a browser without a login is sent to.
    login_view: str = ""
    #: What API tokens begin with, before an underscore.
    api_prefix: str = "ctk"
    #: How the bearer tokens begin that are ours to judge: another one decides nothing, and the
    #: cookie counts. ``()``: every bearer token is.
    bearer_prefixes: tuple[str, ...] = ()
    #: ``offer``: a browser that can binds its login to a key of its device; ``require``: every
    #: login has to be bound.
    device_bound: Literal["off", "offer", "require"] = "off"
    #: For how long a bound login is good without a new proof that its browser has the key.
    bound_lifetime: int = 300
    #: Under which path of the app a browser registers its key, and proves that it has it.
    binding_prefix: str = "/dbsc"
    #: Bytes that one shared file may have.
    file_limit: int = FILE_LIMIT
    #: Bytes that all shared files of the deployment may have; ``None``: 1 GB on a disk
    #: (``directory:``), 64 MB where the store holds everything in memory.
    files_total: int | None = None
    #: Where the audit trail goes besides the log: ``store`` keeps it in the cluster store, too.
    audit: Literal["log", "store"] = "log"
    #: Whether it says from which network (24 bits of an address, 48 of IPv6) somebody acted, and
    #: whether that is kept with a login's record.
    keep_address: bool = False
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
            read = READERS.get(name)
            if read is None or key != key.upper():
                raise ConfigurationError(key, "there is no such setting.", nearest(name, prefix))
            given[name] = read(key, value)
        settings = cls(**given)
        settings._check(prefix)
        for name in ("when_reused", "reuse_grace"):
            if name in given and settings.token_store == "cookie":
                raise ConfigurationError(
                    prefix + name.upper(),
                    "with TOKEN_STORE='cookie' logins are not recorded, and nobody notices that "
                    "one has two holders.",
                    "Use TOKEN_STORE='session', or remove it.",
                )
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
        api = f"{self.api_prefix}_"
        if self.bearer_prefixes and not api.startswith(self.bearer_prefixes):
            raise wrong(
                "BEARER_PREFIXES",
                f"it leaves out {api!r}, with which API tokens begin, so that none would count.",
                f"Add {api!r}.",
            )
        if self.device_bound != "off":
            self._check_binding(prefix)
        if self.secret and self.secret_file:
            raise wrong("SECRET_FILE", "SECRET is set too.", "Keep one of the two.")
        self.cookie  # noqa: B018 - raises where name and attributes contradict each other

    def _check_binding(self, prefix: str) -> None:
        """A browser binds a login to one origin, and has to bring its cookie to the addresses."""
        if self.cookie_domain is not None:
            raise ConfigurationError(
                prefix + "COOKIE_DOMAIN",
                "a browser binds a login to one origin, and this cookie goes to several.",
                f"Leave it out, or set {prefix}DEVICE_BOUND to 'off'.",
            )
        if not f"{self.binding_prefix}/".startswith(self.cookie_path.rstrip("/") + "/"):
            raise ConfigurationError(
                prefix + "BINDING_PREFIX",
                f"{self.binding_prefix!r} is not below COOKIE_PATH ({self.cookie_path!r}), so that "
                "no browser would bring its login there.",
                f"Set it to {self.cookie_path.rstrip('/')}/dbsc.",
            )

    @property
    def bound_cookie(self) -> CookieAttributes:
        """The short cookie beside the login's, where that is bound to a device."""
        login = self.cookie
        return replace(login, name=f"{login.name}-bound")

    @property
    def cookie(self) -> CookieAttributes:
        """Its name, with the prefix that it may have, and its attributes."""
        return CookieAttributes(
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
