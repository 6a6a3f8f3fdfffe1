"""Proof: what a browser signs with the key of its device. joserfc does the cryptography.

A compact JWS: header ``alg``, ``typ`` and, with a registration, ``jwk``; payload ``jti``, the
challenge. No ``aud`` or ``sub`` is asked for: drafts had them, browsers send neither (Chromium 156;
gravitational/teleport#68354 registered and never refreshed for it).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import MissingDriver

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

#: The one algorithm: what TPMs and secure enclaves of today do. (``RS256``, the draft's other one,
#: is for TPMs of before 2.0, and signs with keys that nobody would make today.)
ALGORITHM = "ES256"

#: Characters of a proof beyond which nothing is decoded.
PROOF_LIMIT = 4096

#: Characters of a compressed point of P-256.
_KEY_LENGTH = 44


class NotProven(ValueError):
    """What came is no proof, or not by this key. The message may be told to anyone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text says of itself; nothing of it is verified yet."""

    text: str
    challenge: str
    #: The public key that it brought along, as tokens spell it; ``""``: none.
    key: str


def check_driver() -> None:
    """:class:`MissingDriver` where the extra is not installed."""
    try:
        import cryptography  # noqa: F401
        import joserfc  # noqa: F401
    except ImportError as error:
        raise MissingDriver("DEVICE_BOUND", "joserfc", "binding") from error


def read(text: str) -> Claim:
    """What *text* claims. Raises :class:`NotProven` for what is no proof of a browser."""
    from joserfc import jws
    from joserfc.errors import JoseError

    if not text.isascii() or len(text) > PROOF_LIMIT or text.count(".") != 2:
        raise NotProven("not the form of a proof")
    try:
        found = jws.extract_compact(text.encode())
        header = found.headers()
        payload = json.loads(found.payload)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise NotProven("not the form of a proof") from error
    if header.get("alg") != ALGORITHM or header.get("typ") != "dbsc+jwt":
        raise NotProven(f"a proof is of the type dbsc+jwt and signed with {ALGORITHM}")
    challenge = payload.get("jti") if isinstance(payload, dict) else None
    if not isinstance(challenge, str):
        raise NotProven("the proof answers no challenge")
    return Claim(text, challenge, "" if "jwk" not in header else _brought(header["jwk"]))


def verify(claim: Claim, key: str) -> None:
    """:class:`NotProven` unless *claim* was signed by *key*."""
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        jws.deserialize_compact(claim.text, _imported(key), algorithms=[ALGORITHM])
    except (JoseError, ValueError, TypeError) as error:
        raise NotProven("the signature does not hold") from error


def thumbprint(key: str) -> str:
    """The thumbprint of *key* (RFC 7638): what a browser calls its session."""
    return str(_imported(key).thumbprint())


def _brought(jwk: Any) -> str:
    """The key that a proof brings along, compressed, in URL-safe characters."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey

    try:
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y")}
        key = ECKey.import_key(public).public_key
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise NotProven("the proof brings no key of P-256") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotProven("the proof brings no key of P-256")
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return base64.urlsafe_b64encode(point).decode()


def _imported(key: str) -> ECKey:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc.jwk import ECKey

    if len(key) != _KEY_LENGTH:
        raise NotProven("not a key of P-256")
    point = base64.urlsafe_b64decode(key)
    public = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    imported: ECKey = ECKey.import_key(pem)
    return imported
