"""What is known of a shared file, and how it stands in the store.

Under the file's name is no byte of it, but what its pieces are called and what each of them has to
be: its digest. So a name is one small record, which is replaced in one step.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..errors import StoreDamaged
from ..tokens import validation

#: Bytes of a piece, the last one of a file aside.
PIECE = 192 * 1024

#: What stands before the digest of all that follows, and how long the two are.
_FORM = b"1"
_HEAD = len(_FORM) + sha256().digest_size

#: What a file is where nobody says anything.
ANY_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file that was stored: *size* in bytes, *stored_at* in seconds since 1970."""

    key: str
    size: int
    sha256: str
    content_type: str
    stored_at: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The same with what only this room knows: the id of its pieces, and their digests."""

    info: FileInfo
    id: str
    digests: bytes

    @property
    def pieces(self) -> int:
        return len(self.digests) // sha256().digest_size

    def digest(self, number: int) -> bytes:
        size = sha256().digest_size
        return self.digests[number * size : (number + 1) * size]

    def encode(self) -> bytes:
        info = self.info
        said = {
            "key": info.key,
            "size": info.size,
            "sha256": info.sha256,
            "type": info.content_type,
            "at": info.stored_at,
            "id": self.id,
            "digests": base64.b64encode(self.digests).decode(),
        }
        body = json.dumps(said, separators=(",", ":")).encode()
        return _FORM + sha256(body).digest() + body

    @classmethod
    def decode(cls, raw: bytes) -> StoredFile:
        """Raises :class:`StoreDamaged` for what is not as it was written."""
        head, body = raw[:_HEAD], raw[_HEAD:]
        try:
            if head != _FORM + sha256(body).digest():
                raise ValueError("another digest")
            said: dict[str, Any] = json.loads(body)
            info = FileInfo(said["key"], said["size"], said["sha256"], said["type"], said["at"])
            return cls(info, said["id"], base64.b64decode(said["digests"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(
                "what the store says of a shared file is not as it was written: store it again"
            ) from error


def checked_type(value: Any) -> str:
    """*value*, if a header may say it."""
    text = validation.text(value, "a content type", 255)
    if not text.isascii() or not text.isprintable() or "/" not in text:
        raise validation.WrongArgument("a content type is a text such as image/png")
    return text


def guessed_type(key: str) -> str:
    """What a file that is called *key* may be, if a header may say it."""
    # (A key is any text: where it looks like a URL with its data in it the guess is words of its
    # own, and where it looks like half a URL there may be an error.)
    with suppress(ValueError):
        if found := mimetypes.guess_type(key)[0]:
            return checked_type(found)
    return ANY_TYPE
