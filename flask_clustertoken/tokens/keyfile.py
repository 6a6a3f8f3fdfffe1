"""The key file: one secret key a line, read, written and replaced in one step each.

Whoever could read the file before can read it after, and nobody ever reads half of one.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from stat import S_IMODE

from ..errors import ConfigurationError
from ..settings import LENGTH_LEAST, is_writable

logger = logging.getLogger("flask_clustertoken")

#: More bytes than a file of keys has: another file was named.
FILE_LIMIT = 64 * 1024


def fingerprint(secret: str | bytes) -> str:
    """48 bits that name a key and say nothing about it."""
    raw = secret.encode() if isinstance(secret, str) else secret
    return blake2b(raw, digest_size=6, person=b"ctoken-key").hexdigest()


def new_secret() -> str:
    """A key of 256 random bits."""
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with one key a line, the first one signing unless the store says otherwise."""

    path: Path

    def read(self) -> tuple[str, ...]:
        """The keys, or nothing where the file does not exist."""
        found = tuple(dict.fromkeys(line for line in self._lines() if _is_key(line)))
        if any(len(one) < LENGTH_LEAST for one in found):
            raise ConfigurationError(
                "SECRET_FILE",
                f"{self.path} holds a key shorter than {LENGTH_LEAST} characters.",
                "Make one with: flask tokens keys stage",
            )
        return found

    def _lines(self) -> list[str]:
        """Its lines, comments too. What is no file of keys would be signed with otherwise."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(FILE_LIMIT + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(
                "SECRET_FILE",
                f"{self.path} cannot be read ({error.strerror}).",
                "Check its path and its rights.",
            ) from error
        try:
            # (Windows' editors begin a text with a mark of its byte order.)
            lines = [line.strip() for line in raw.decode("utf-8-sig").splitlines()]
            wrong = "" if len(raw) > FILE_LIMIT else None
        except UnicodeDecodeError:
            lines, wrong = [], " in UTF-8"
        odd = next((number for number, one in enumerate(lines, 1) if not is_writable(one)), 0)
        if odd:
            wrong = f", and line {odd} is too long or holds a sign that cannot be seen"
        if wrong is not None:
            raise ConfigurationError(
                "SECRET_FILE",
                f"{self.path} is no key file: that is a text with one key a line{wrong}.",
                "Name the file that 'flask tokens keys stage' wrote.",
            )
        return lines

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever the file or its rights do."""
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size)

    def create(self) -> tuple[str, ...]:
        """Write a new key where no file is; of two processes that try, both get one key."""
        with self._writing(), self._draft((new_secret(),)) as draft, suppress(FileExistsError):
            # A link fails where the name exists, and never shows half a file.
            os.link(draft, self.path)
            logger.info("wrote a new key to %s", self.path)
        return self.read()

    def append(self, secret: str) -> None:
        """Add *secret* as the last line, by replacing the file in one step. Comments stay."""
        self._replace([*self._lines(), secret])

    def remove(self, key_id: str) -> bool:
        """Take the key with this fingerprint out; ``False`` where it is not in the file."""
        held = self._lines()
        kept = [one for one in held if not _is_key(one) or fingerprint(one) != key_id]
        if len(kept) == len(held):
            return False
        self._replace(kept)
        return True

    def _replace(self, lines: Sequence[str]) -> None:
        """In one step; who could read the file before can read it after."""
        with self._writing(), self._draft(lines) as draft:
            with suppress(FileNotFoundError):
                os.chmod(draft, S_IMODE(self.path.stat().st_mode))
            os.replace(draft, self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                "SECRET_FILE",
                f"{self.path} cannot be written ({error.strerror}).",
                "Check its path and the rights of its folder, or run this as the app's user.",
            ) from error

    @contextmanager
    def _draft(self, lines: Sequence[str]) -> Iterator[Path]:
        """A file beside ours with *lines* in it, on the disk; none is left behind.

        Root keeps the owner: of the file that is there, else of its folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        there = self.path if self.path.exists() else self.path.parent
        path = self.path.with_name(f"{self.path.name}.{secrets.token_hex(6)}")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                if os.geteuid() == 0:
                    owner = there.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write("".join(f"{one}\n" for one in lines))
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)


def _is_key(line: str) -> bool:
    return bool(line) and not line.startswith("#")
