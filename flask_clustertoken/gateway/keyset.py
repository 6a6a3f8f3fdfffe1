"""Key set: an issuer's public keys (RFC 7517), from a file or from its URL.

An unknown key id has them read again, at most every ten seconds; an answer is believed for an
hour. While the issuer does not answer, the old ones serve.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import forks
from ..clock import Clock
from ..errors import ConfigurationError
from .options import PREFIX

if TYPE_CHECKING:
    from joserfc.jwk import Key

#: Seconds between two readings, and those for which one is believed.
PAUSE, LIFETIME = 10.0, 3600.0

#: Seconds until an issuer has answered in full, and bytes of the answer.
TIMEOUT, SIZE_LIMIT = 5.0, 256 * 1024

_NEVER = float("-inf")


class KeysUnavailable(Exception):
    """No keys can be had at the moment."""


class KeySource:
    """The keys that *where* (a file, or a URL of https) holds.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where it can be neither.
    """

    def __init__(self, where: str, clock: Clock) -> None:
        parts = urlsplit(where)
        self._remote = parts.scheme in ("http", "https")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError(
                PREFIX + "JWKS", f"{where!r} is not https: anybody on the way could be the issuer."
            )
        if not self._remote and not Path(where).is_file():
            raise ConfigurationError(
                PREFIX + "JWKS", f"{where!r} is neither a URL of https nor a file that is there."
            )
        self._where = where
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._read_at = self._tried_at = _NEVER
        self._lock = threading.Lock()
        forks.in_child("adapters", self._forget_lock)

    def _forget_lock(self) -> None:
        self._lock = threading.Lock()

    def key(self, key_id: str) -> Key:
        """The key of that id. Raises :class:`ValueError` where there is none, and
        :class:`KeysUnavailable`."""
        now = self._clock.monotonic()
        if key_id not in self._keys or now - self._read_at >= LIFETIME:
            self._refresh(now)
        found = self._keys.get(key_id)
        if found is None:
            if self._read_at == _NEVER:
                raise KeysUnavailable(f"{self._where} cannot be read")
            raise ValueError("the issuer lists no such key")
        return found

    def _refresh(self, now: float) -> None:
        if not self._lock.acquire(timeout=TIMEOUT + 1):
            raise KeysUnavailable(f"{self._where} takes too long")
        try:
            if now - self._tried_at < PAUSE:
                return
            self._tried_at = now
            self._keys = _keys(self._fetch() if self._remote else Path(self._where).read_bytes())
            self._read_at = now
        except (OSError, ValueError) as error:
            if not self._keys:
                raise KeysUnavailable(
                    f"{self._where} cannot be read ({type(error).__name__})"
                ) from error
        finally:
            self._lock.release()

    def _fetch(self) -> bytes:
        from urllib.request import HTTPRedirectHandler, Request, build_opener

        class NoRedirects(HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        end = time.monotonic() + TIMEOUT
        request = Request(self._where, headers={"Accept": "application/json"})
        with build_opener(NoRedirects).open(request, timeout=TIMEOUT) as answer:
            body = bytearray()
            while piece := answer.read1(65_536):
                body += piece
                if len(body) > SIZE_LIMIT or time.monotonic() > end:
                    raise ValueError("an answer without end")
            return bytes(body)


def _keys(text: bytes) -> dict[str, Key]:
    """The signing keys in a JWK set, without what is not known here."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    found: dict[str, Key] = {}
    data = json.loads(text)
    listed = data.get("keys") if isinstance(data, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        if one.get("kty") not in ("RSA", "EC", "OKP") or not isinstance(one.get("kid"), str):
            continue
        try:
            found[one["kid"]] = JWKRegistry.import_key(one)
        except (JoseError, ValueError, TypeError):
            continue
    if not found:
        raise ValueError("no usable key")
    return found
