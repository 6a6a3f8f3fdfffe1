"""Issuer: one OpenID provider by its issuer's name; its keys are found by discovery."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .. import forks
from ..clock import Clock
from ..errors import ConfigurationError
from .calls import Calls
from .errors import Peer
from .jose import SigningKeys
from .remembered import Remembered
from .transport import Reach

#: Seconds for which discovery's answer is believed without asking again, and between two
#: attempts while it cannot be read.
DISCOVERY_LIFETIME, DISCOVERY_PAUSE = 86_400.0, 1.0


class Issuer:
    """The provider that calls itself *issuer*. Asks nobody before its first use.

    Its keys are those of the document that OpenID Connect Discovery 1.0 names, and only if that
    document says that it is *issuer*'s (section 4.3).
    """

    def __init__(self, issuer: str, *, clock: Clock, reach: Reach) -> None:
        self.issuer = issuer
        self._calls = Calls(Peer(issuer), reach)
        self._document = Remembered(
            self._calls.peer,
            "discovery",
            self._discover,
            clock=clock,
            lifetime=DISCOVERY_LIFETIME,
            pause=DISCOVERY_PAUSE,
        )
        self.keys = SigningKeys(self._calls.peer, self._fetch_keys, clock=clock, unnamed=True)
        _all.add(self)

    def forget(self) -> None:
        """In a fork's child: the parent's locks are not ours."""
        self._document.forget_locks()
        self.keys.forget_locks()

    def _discover(self) -> Mapping[str, Any]:
        said = self._calls.get(
            f"{self.issuer.rstrip('/')}/.well-known/openid-configuration", "discovery"
        )
        if said.get("issuer") != self.issuer:
            raise self._calls.peer.trouble(
                f"discovery names another issuer ({str(said.get('issuer'))[:200]!r}); set issuer "
                "to exactly what it names, if that is who is meant"
            )
        return said

    def _fetch_keys(self) -> Mapping[str, Any]:
        address = self._document.get().get("jwks_uri")
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise self._calls.peer.trouble("discovery names no list of keys")
        return self._calls.get(address, "its list of keys")


def checked_url(name: str, value: Any) -> str:
    """*value*, given as *name*: a whole URL without query and fragment.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError`.
    """
    remedy = "Write it as the provider does: https://login.example.org/realms/demo"
    if not isinstance(value, str):
        raise ConfigurationError(name, f"{value!r} is no URL.", remedy)
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(name, f"{value!r} is no URL ({error}).", remedy) from None
    odd = any(ord(sign) <= 32 for sign in value) or "#" in value or "?" in value
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or odd:
        raise ConfigurationError(name, f"{value!r} is no URL of a provider.", remedy)
    return value


def in_clear(url: str) -> bool:
    """Whether *url* leaves this host without encryption."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


_all: weakref.WeakSet[Issuer] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
