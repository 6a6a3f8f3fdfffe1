"""Note: a short signed text that is no token, and never passes for one.

A bound cookie's text is one, a challenge another. What it is for goes into the signature, as kind
and realm go into a token's; it has an end, and nothing of it is stored anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from itsdangerous import Signer

from .refusals import Refusal
from .wire import KeyHolder, b64, unb64

#: The number of the notes' form.
NOTE_VERSION = 1

#: Characters of a text beyond which nothing is read.
NOTE_LIMIT = 1024

_NOTE = re.compile(
    r"(?P<version>[1-9][0-9]{0,2})\.(?P<key>[0-9a-f]{12})"
    r"\.(?P<payload>[A-Za-z0-9_-]{8,})\.(?P<signature>[A-Za-z0-9_-]{43})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SignedNote:
    """What a genuine note says, and its end (whole seconds since 1970), which the reader judges."""

    said: tuple[str, ...]
    ends_at: int


class Notes:
    """Writes and reads the notes of one realm."""

    def __init__(self, keys: KeyHolder, *, realm: str) -> None:
        self._keys = keys
        self._realm = realm

    def write(self, purpose: str, said: Sequence[str], ends_at: int) -> str:
        """What is *said* for *purpose*, signed with the signing key: ASCII without quotes."""
        key_id, secret = self._keys.signing()
        raw = json.dumps([*said, ends_at], separators=(",", ":")).encode()
        value = f"{NOTE_VERSION}.{key_id}.{b64(raw)}"
        return f"{value}.{self._signature(secret, purpose, value)}"

    def read(self, purpose: str, text: str) -> SignedNote | Refusal:
        """What *text* says, if it is a genuine note for *purpose*; its end is not judged here."""
        match = _NOTE.fullmatch(text) if len(text) <= NOTE_LIMIT else None
        if match is None or int(match["version"]) != NOTE_VERSION:
            return Refusal("invalid", "not the form of a note")
        secret = self._keys.verifying(match["key"], "login")
        if isinstance(secret, Refusal):
            return secret
        value, _, signature = text.rpartition(".")
        if not compare_digest(self._signature(secret, purpose, value), signature):
            return Refusal("invalid", "the signature of the note does not hold")
        try:
            *said, ends_at = json.loads(unb64(match["payload"]))
            if not isinstance(ends_at, int) or not all(isinstance(one, str) for one in said):
                raise TypeError("wrong types")
        except (ValueError, TypeError) as error:
            return Refusal("invalid", "a genuine signature over no note", cause=error)
        return SignedNote(tuple(said), ends_at)

    def _signature(self, secret: bytes, purpose: str, value: str) -> str:
        signer = Signer(
            secret,
            salt=f"flask-clustertoken|note|{purpose}|{self._realm}",
            key_derivation="hmac",
            digest_method=sha256,
        )
        return signer.get_signature(value).decode()
