"""Sealing: the provider's tokens are encrypted wherever they rest.

AES-256-GCM of the package ``cryptography``. The key is derived (HKDF) from the ring's secret,
so there is no second secret to keep: the signing key seals, every key that still verifies
opens. Each text has a key of its own by a random salt, so that no number of texts is too many.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from typing import Any

from ...tokens import KeyRing, Refusal

SEAL_FORMAT = "1"
_SALT = 16
#: Bytes of what is sealed, unpacked: a small text must not unpack into a large one.
_UNPACKED_LIMIT = 512 * 1024


class Sealer:
    """Seals and opens JSON values. *purpose* and *bound* must be the same at both ends."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def seal(self, value: Any, purpose: str, bound: str = "") -> str:
        """A URL-safe text. Raises :class:`~flask_clustertoken.errors.KeyMissing`."""
        key_id, secret = self._keys.signing()
        salt = os.urandom(_SALT)
        packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 9)
        sealed = _cipher(secret, salt, purpose).encrypt(bytes(12), packed, bound.encode())
        return f"{SEAL_FORMAT}.{key_id}.{base64.urlsafe_b64encode(salt + sealed).decode()}"

    def open(self, text: str, purpose: str, bound: str = "") -> Any:
        """What was sealed, or ``None`` for whatever is not readable, for whichever reason."""
        from cryptography.exceptions import InvalidTag

        version, _, rest = text.partition(".")
        key_id, _, body = rest.partition(".")
        if version != SEAL_FORMAT or not key_id.isalnum():
            return None
        secret = self._keys.verifying(key_id, "login")
        if isinstance(secret, Refusal):
            return None
        try:
            raw = base64.urlsafe_b64decode(body)
            if base64.urlsafe_b64encode(raw).decode() != body:
                return None  # another spelling: decoders are lenient
            packed = _cipher(secret, raw[:_SALT], purpose).decrypt(
                bytes(12), raw[_SALT:], bound.encode()
            )
            unpacker = zlib.decompressobj()
            plain = unpacker.decompress(packed, _UNPACKED_LIMIT)
            return json.loads(plain) if unpacker.eof else None
        except (InvalidTag, ValueError, zlib.error):
            return None


def _cipher(secret: bytes, salt: bytes, purpose: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"flask-clustertoken keycloak {purpose}".encode()
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret))
