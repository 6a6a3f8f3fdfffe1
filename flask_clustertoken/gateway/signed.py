"""Signed: callers that prove who they are by a signed JWT, as Okta's Universal Logout does."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import forks
from ..clock import Clock
from ..errors import ConfigurationError, MissingDriver
from ..oidc import (
    LEEWAY,
    LONGEST_VALIDITY,
    Calls,
    NotGenuine,
    Peer,
    SigningKeys,
    audience_in,
    in_clear,
    number_in,
    text_in,
)
from .options import PREFIX

#: What the header may say of the type. Okta says the first; the draft names none. Whatever else
#: the issuer signs (an ID token, a logout token, a security event) says something else, or is not
#: for this audience.
TYPE = "global-token-revocation+jwt"
TYPES = (TYPE, "jwt", None)

#: Seconds for which the issuer's keys are believed: whoever withdraws one waits no longer.
KEYS_LIFETIME = 3600.0


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a JWT proved: *id* is its ``jti``, *text* all of it; *ends_at* is since 1970."""

    issuer: str
    id: str
    text: str
    ends_at: float


class SignedCallers:
    """Verifies the JWTs of *issuer* that are meant for *audience*, by the keys at *where*.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where that is no place for keys.
    """

    def __init__(self, issuer: str, audience: str, where: str, clock: Clock) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self.peer = Peer(issuer)
        keys = KeyPlace(where, self.peer)
        self._keys = SigningKeys(self.peer, keys.read, clock=clock, lifetime=KEYS_LIFETIME)
        _all.add(self)

    def forget(self) -> None:
        """In a fork's child: the parent's locks are not ours."""
        self._keys.forget_locks()

    def verify(self, text: str) -> Assertion:
        """Raises :class:`~flask_clustertoken.oidc.NotGenuine`, or
        :class:`~flask_clustertoken.oidc.ProviderUnavailable` where no key can be had."""
        header, claims = self._keys.verify(text, urgent=True)
        said = header.get("typ")
        if (said.lower() if isinstance(said, str) else said) not in TYPES:
            raise NotGenuine("it is a JWT for something else (typ)")
        if "crit" in header:
            raise NotGenuine("it demands what is not known (crit)")
        if claims.get("iss") != self._issuer:
            raise NotGenuine("another issuer (iss)")
        if self._audience not in audience_in(claims):
            raise NotGenuine(f"it is not meant for {self._audience} (aud)")
        return Assertion(self._issuer, text_in(claims, "jti"), text, self._end(claims))

    def _end(self, claims: Mapping[str, Any]) -> float:
        now = self._clock.time()
        ends_at = number_in(claims, "exp")
        if ends_at <= now - LEEWAY:
            raise NotGenuine("it is over (exp)")
        if ends_at > now + LONGEST_VALIDITY + LEEWAY:
            raise NotGenuine(f"it is good for more than {LONGEST_VALIDITY} s (exp)")
        for name in ("nbf", "iat"):
            if name in claims and number_in(claims, name) > now + LEEWAY:
                raise NotGenuine(f"it is not good yet ({name})")
        return ends_at


@dataclass(frozen=True, slots=True)
class _Reach:
    """How the URL of the keys is asked: directly, with the system's certificates. Seconds."""

    connect_timeout: float = 2.0
    read_timeout: float = 3.0
    connection_pool_size: int = 1
    proxy_url: str = ""
    ca_bundle: str = ""


class KeyPlace:
    """Where a JWK set is: a file, or a URL of https."""

    def __init__(self, where: str, peer: Peer) -> None:
        for package in ("joserfc", "requests"):
            if find_spec(package) is None:
                raise MissingDriver(PREFIX + "JWKS", package, "oidc")
        self._where = where
        self._peer = peer
        self._calls: Calls | None = None
        if where.lower().startswith(("http://", "https://")):
            if in_clear(where):
                raise ConfigurationError(
                    PREFIX + "JWKS", "it is not https: anybody on the way could be the issuer."
                )
            self._calls = Calls(peer, _Reach())
        elif not Path(where).is_file():
            raise ConfigurationError(
                PREFIX + "JWKS", f"{where!r} is neither a URL of https nor a file that is there."
            )

    def read(self) -> Any:
        """What is there. Raises :class:`~flask_clustertoken.oidc.ProviderUnavailable`."""
        if self._calls is not None:
            return self._calls.get(self._where, "its list of keys")
        try:
            return json.loads(Path(self._where).read_bytes())
        except (OSError, ValueError) as error:
            raise self._peer.failed("its list of keys", error) from error


_all: weakref.WeakSet[SignedCallers] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
