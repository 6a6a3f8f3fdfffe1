"""Keys: which secrets this node holds, and which of them signs.

Files and settings hold the keys; the cluster store holds only their fingerprints with a
state. The one marked ``signing`` signs; without any mark the first one does. A text names
its key by the fingerprint, so that no key has to be tried in vain.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from stat import S_IMODE
from typing import Literal

from ..clock import Clock
from ..errors import ConfigurationError, StoreDamaged
from ..errors import KeyMissing as KeyMissing
from ..settings import LENGTH_LEAST, is_writable
from .refusals import Refusal
from .token import TokenKind

logger = logging.getLogger("flask_clustertoken")

#: Where the store keeps the states.
RING_KEY = "keys/ring"

#: Seconds between two looks at the file because of a key that we do not know.
LOOK_AGAIN = 1.0

#: A key with fewer characters is warned about.
ADVISED_LENGTH = 32

#: More bytes than a file of keys has: another file was named.
FILE_LIMIT = 64 * 1024

KeyState = Literal["staged", "signing", "verifying", "api", "dropped"]
STATES: tuple[KeyState, ...] = ("staged", "signing", "verifying", "api", "dropped")


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


class KeyRing:
    """The keys of one node and what the cluster says of them.

    :attr:`generation` moves whenever the set of keys or their states change: whatever was
    remembered of a verified text is worth nothing then. No generation comes again, however many
    threads change something at once: it would bring back what was verified before a key was
    dropped. So a change is one step, under a lock that nobody holds while a file or the store is
    read; the dictionaries are replaced and never changed in place, so that readers need none.
    """

    def __init__(
        self, secrets_: tuple[str, ...] = (), file: KeyFile | None = None, *, clock: Clock
    ) -> None:
        self.file = file
        self.generation = 0
        self._clock = clock
        self._lock = threading.Lock()
        #: How often states were taken over.
        self.loads = 0
        self._states: dict[str, KeyState] = {}
        self._stamp: tuple[int, ...] = ()
        self._looked = clock.monotonic() - LOOK_AGAIN
        self._keys: dict[str, bytes] = {}
        self._take(secrets_)
        self.reread()

    def _take(self, keys: tuple[str, ...], stamp: tuple[int, ...] = ()) -> None:
        """*keys* are those of the file that bore *stamp*: both become known in one step, else the
        slower of two threads would put an older content under the newer stamp."""
        found = {fingerprint(one): one.encode() for one in keys}
        with self._lock:
            self._stamp = stamp
            if list(found) == list(self._keys):
                return
            self._keys = found
            self.generation += 1
        for key_id, secret in found.items():
            if len(secret) < ADVISED_LENGTH:
                logger.warning(
                    "key %s has fewer than %d characters; replace it by one made with "
                    "'flask tokens keys stage'",
                    key_id,
                    ADVISED_LENGTH,
                )

    def reread(self) -> None:
        """Read the file again if it changed. What is unreadable leaves the keys as they are."""
        if self.file is None or (stamp := self.file.stamp()) == self._stamp:
            return
        try:
            found = self.file.read()
        except ConfigurationError as error:
            if not self._keys:
                raise
            logger.error("the keys stay as they were: %s", error)
            found = ()
        if found or not self._keys:
            self._take(found, stamp)
        else:
            self._stamp = stamp

    def create(self) -> None:
        """First start on an embedded store: write a key if there is none."""
        if not self._keys:
            if self.file is not None:
                # (The stamp of before: if it was changed meanwhile, it is read again.)
                self._take(self.file.create())
            else:
                self._take((new_secret(),))

    def load_states(self, ring: bytes | None, since: int | None = None) -> bool:
        """Take over the states that the store holds (``None``: it holds none).

        *since* is what :attr:`loads` was before they were read. ``False``, and nothing is done,
        where another thread has taken over some meanwhile: these may be older, and a key that
        was dropped would verify again. Whoever is told so reads once more.
        """
        states = ring_states(ring)
        with self._lock:
            if since is not None and since != self.loads:
                return False
            self.loads += 1
            if states != self._states:
                self._states = states
                self.generation += 1
        return True

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @property
    def states(self) -> Mapping[str, KeyState]:
        return self._states

    @property
    def held(self) -> list[str]:
        """The fingerprints of the keys on this node."""
        return list(self._keys)

    def signing(self) -> tuple[str, bytes]:
        """Id and secret of the signing key; :class:`KeyMissing` where it is not here."""
        states, keys = self._states, self._keys
        marked = [key_id for key_id, state in states.items() if state == "signing"]
        usable = marked or [one for one in keys if one not in states] or [""]
        key_id = usable[0]
        if key_id not in keys:
            self.reread()
            keys = self._keys
        if key_id not in keys:
            raise KeyMissing(
                f"the signing key {key_id} is not on this node; copy the key file from a host "
                "that has it"
                if key_id
                else "this node has no key; set SECRET or SECRET_FILE"
            )
        return key_id, keys[key_id]

    def verifying(self, key_id: str, kind: TokenKind) -> bytes | Refusal:
        """The secret to check a text with, or why such texts are refused.

        An unknown key makes this node read its file again, at most once a second; a key that
        stays unknown is ``stale``, since it may be one that has not been copied here yet. (What
        nobody knows is found out by :mod:`~flask_clustertoken.cluster.strangers`.)
        """
        secret = self._keys.get(key_id)
        if secret is None and self._may_look():
            self.reread()
            secret = self._keys.get(key_id)
        state = self._states.get(key_id)
        if state == "dropped":
            return Refusal("invalid", f"key {key_id} was dropped")
        if secret is None:
            why = f"key {key_id} is not on this node"
            return Refusal("stale", why, unknown_key=key_id)
        if state == "api" and kind != "api":
            return Refusal("invalid", f"key {key_id} verifies API tokens only")
        return secret

    def _may_look(self) -> bool:
        now = self._clock.monotonic()
        if self.file is None or now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        return True


def ring_states(ring: bytes | None) -> dict[str, KeyState]:
    """The states in a stored ring, in their order."""
    if ring is None:
        return {}
    try:
        data = json.loads(ring)
        states = dict(data["states"])
        if data.get("format", 1) > 1 or not set(STATES).issuperset(states.values()):
            raise ValueError("written by a newer version")
    except (ValueError, TypeError, KeyError) as error:
        # Not "no states": a key that was dropped would sign and verify again.
        raise StoreDamaged("the states of the keys in the store cannot be read") from error
    return states


def ring_since(ring: bytes | None) -> dict[str, float]:
    """Since when (wall clock, seconds) each key has had its state, as far as it is known."""
    return {} if ring is None else dict(json.loads(ring).get("since", {}))


def ring_change(ring: bytes | None) -> int:
    """How often the ring was changed: what a conditional change goes by."""
    return 0 if ring is None else int(json.loads(ring).get("change", 0))


def ring_bytes(
    states: Mapping[str, KeyState], since: Mapping[str, float] | None = None, change: int = 0
) -> bytes:
    """What the store keeps: the states, since when each holds, and the number of this change."""
    body = {"format": 1, "states": dict(states), "since": dict(since or {}), "change": change}
    return json.dumps(body).encode()
