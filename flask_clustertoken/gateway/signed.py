"""Signed: callers that prove who they are by a signed JWT, as Okta's Universal Logout does.

joserfc does the cryptography. Only asymmetric algorithms are accepted: by ``HS256`` anybody could
sign who knows the public key, by ``none`` anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ..clock import Clock
from ..errors import MissingDriver
from .keyset import KeySource, KeysUnavailable
from .options import PREFIX

ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
]  # fmt: skip

#: What the header may say of the type. Okta says the first; the draft names none. Whatever else
#: the issuer signs (an ID token, a logout token, a security event) says something else, or is not
#: for this audience.
TYPES = ("global-token-revocation+jwt", "jwt", None)

#: Characters of a JWT beyond which nothing is decoded.
TEXT_LIMIT = 16 * 1024

#: Seconds by which the issuer's clock may differ from ours.
LEEWAY = 30

#: Seconds that a JWT may say it is good for: so long its id is remembered.
LONGEST = 3600


class NotGenuine(Exception):
    """The JWT proves nothing. The text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a JWT proved: *id* is its ``jti``; *ends_at* is in seconds since 1970."""

    issuer: str
    id: str
    ends_at: float


class SignedCallers:
    """Verifies the JWTs of one issuer, meant for *audience*."""

    def __init__(self, issuer: str, audience: str, keys: KeySource, clock: Clock) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._clock = clock
        check_driver()

    def verify(self, text: str) -> Assertion:
        """Raises :class:`NotGenuine`, or :class:`.KeysUnavailable` where no key can be had."""
        header, claims = self._decode(text)
        said = header.get("typ")
        if (said.lower() if isinstance(said, str) else said) not in TYPES:
            raise NotGenuine("it is a JWT for something else (typ)")
        if "crit" in header:
            raise NotGenuine("it demands what is not known (crit)")
        return self._judged(claims)

    def _decode(self, text: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        from joserfc import jws, jwt
        from joserfc.errors import JoseError

        if len(text) > TEXT_LIMIT or not text.isascii() or text.count(".") != 2:
            raise NotGenuine("not the form of a JWT")
        try:
            header = jws.extract_compact(text.encode()).headers()
            key_id = header.get("kid")
            if header.get("alg") not in ALGORITHMS or not isinstance(key_id, str):
                raise NotGenuine("its header names no key, or no algorithm that is accepted")
            found = jwt.decode(text, self._keys.key(key_id), algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError) as error:
            raise NotGenuine(f"the signature does not hold ({type(error).__name__})") from None
        return header, found.claims

    def _judged(self, claims: Mapping[str, Any]) -> Assertion:
        now = self._clock.time()
        audience = claims.get("aud")
        meant = [audience] if isinstance(audience, str) else audience
        if claims.get("iss") != self._issuer:
            raise NotGenuine("another issuer (iss)")
        if not isinstance(meant, list) or self._audience not in meant:
            raise NotGenuine(f"it is not meant for {self._audience} (aud)")
        ends_at = _time(claims, "exp")
        if ends_at <= now - LEEWAY:
            raise NotGenuine("it is over (exp)")
        if ends_at > now + LONGEST + LEEWAY:
            raise NotGenuine(f"it is good for more than {LONGEST} s (exp)")
        for name in ("nbf", "iat"):
            if name in claims and _time(claims, name) > now + LEEWAY:
                raise NotGenuine(f"it is not good yet ({name})")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 1 <= len(jti) <= 1024:
            raise NotGenuine("it has no id (jti)")
        return Assertion(self._issuer, jti, ends_at + 2 * LEEWAY)


def _time(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise NotGenuine(f"{name} is missing or no number")
    try:
        number = float(found)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise NotGenuine(f"{name} is no time")
    return number


def check_driver() -> None:
    """Raises :class:`~flask_clustertoken.errors.MissingDriver` where joserfc is not there."""
    try:
        import joserfc  # noqa: F401
    except ImportError as error:
        raise MissingDriver(PREFIX + "ISSUER", "joserfc", "gateway") from error


__all__ = ["Assertion", "KeysUnavailable", "NotGenuine", "SignedCallers", "check_driver"]
