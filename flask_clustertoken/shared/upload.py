"""Upload: a file on its way into the store, which has no name before all of it is there.

What may happen in between, and what closes it:

- The process is killed, cut off, or the store is full: the name still stands for the old file, or
  for none. The note on the upload says how many pieces there are, and until when they are left
  alone; each piece moves that on, in its own step. Then they are swept.
- The sweep comes while the upload is going on: it takes the note away on the condition that it is
  as it was read. Each piece and the naming require the note as we wrote it. So either the sweep
  finds that the upload is alive, or the upload finds that it was swept, and leaves nothing behind:
  also where its process was frozen for an hour and writes when it wakes.
- Two store under one name at once: the naming replaces the old record on the condition that it is
  the one that was read, and notes *its* pieces as unnamed in the same step. The last one wins, and
  the pieces of every other are noted once.
- The answer to the naming is lost: our note is gone if it was carried out, or if the sweep came
  meanwhile, to a process that was frozen while it waited. No sweep comes before the time that the
  note gives; after it only the name itself tells.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from hashlib import sha256

from ..clock import SKEW, Clock
from ..errors import (
    ClusterTokenError,
    Conflict,
    FilesFull,
    StoreDamaged,
    StoreUnavailable,
    ValueTooLarge,
)
from ..settings import PREFIX
from ..stores.base import Add, Change, ClusterStore, Delete, Put, Record, Unchanged
from .fileinfo import FileInfo, StoredFile
from .pieces import Note, Room, piece_key, unnamed_prefix, upload_prefix
from .sweep import remove, sweep_files

logger = logging.getLogger("flask_clustertoken")

#: Seconds that an upload may take from one piece to the next.
UPLOAD_LIFE = 900.0

#: Seconds for which the pieces of a file stay after it was replaced, deleted or has ended: for
#: whoever is reading it.
GRACE = 300.0


class Upload:
    """One file of *deployment* on its way. *limit*: bytes that it may have."""

    def __init__(
        self, store: ClusterStore, clock: Clock, deployment: str, limit: int, room: Room
    ) -> None:
        self._store, self._clock = store, clock
        self._deployment, self._limit, self._room = deployment, limit, room
        self.id = secrets.token_hex(16)
        self._key = upload_prefix(deployment) + self.id
        self._unnamed = unnamed_prefix(deployment) + self.id
        self._whole = sha256()
        self._digests = bytearray()
        self._note = Note(0, 0, self._until())
        self._begun = False

    def _until(self) -> float:
        return self._clock.time() + UPLOAD_LIFE

    def begin(self) -> None:
        self._begun = True
        if not self._store.add(self._key, self._note.encode(), None):
            raise Conflict(self._key)

    def add(self, piece: bytes) -> None:
        """The next piece. Raises :class:`ValueTooLarge` and :class:`FilesFull`."""
        size = self._note.size + len(piece)
        if size > self._limit:
            raise ValueTooLarge(
                "the file",
                size,
                self._limit,
                f"(It may have more.) Raise {PREFIX}FILE_LIMIT, or store it elsewhere.",
            )
        new = Note(self._note.pieces + 1, size, self._until())
        changes: list[Change] = [
            Unchanged(self._key, self._note.encode()),
            Put(self._key, new.encode(), None),
            Put(piece_key(self.id, self._note.pieces), piece, None),
        ]
        try:
            self._make(changes, len(piece))
        except Conflict as error:
            raise StoreUnavailable(
                f"the upload took longer than {UPLOAD_LIFE:g} s from one piece to the next, and "
                "what there was of it was swept up: store the file again"
            ) from error
        self._note = new
        self._whole.update(piece)
        self._digests += sha256(piece).digest()

    def _make(self, changes: list[Change], more: int) -> None:
        try:
            self._room.make(changes, more)
        except FilesFull:
            # What is over takes room until somebody sweeps it.
            if not sweep_files(self._store, self._clock, self._deployment):
                raise
            self._room.make(changes, more)

    def name(self, file_key: str, key: str, content_type: str, ends: float | None) -> FileInfo:
        """Let the name *key*, whose record is *file_key*, stand for what came in."""
        whole = self._whole.hexdigest()
        info = FileInfo(key, self._note.size, whole, content_type, self._clock.time())
        stored = StoredFile(info, self.id, bytes(self._digests))
        while True:
            old = self._store.get(file_key)
            changes = self._naming(file_key, old, Record(stored.encode(), ends))
            try:
                self._store.append([], changes)
                return info
            except Conflict as error:
                if error.key == file_key:
                    continue  # another file has the name since
                raise StoreUnavailable(
                    "the upload was swept up before it was named: store the file again"
                ) from error
            except StoreUnavailable:
                # (Asked once: where nobody answers, the caller is told that it is unknown.)
                if self._is_named(file_key):
                    return info
                raise

    def _is_named(self, file_key: str) -> bool:
        """Whether the naming was carried out, as far as the store still tells."""
        if self._store.get(self._key) is not None:
            return False
        # (Looked at behind that answer: a sweep that came before it is noticed.)
        if self._clock.time() < self._note.until:
            return True
        record = self._store.get(file_key)
        with suppress(StoreDamaged):
            return record is not None and StoredFile.decode(record.value).id == self.id
        return False

    def _naming(self, file_key: str, old: Record | None, new: Record) -> list[Change]:
        now = self._clock.time()
        changes: list[Change] = [Unchanged(self._key, self._note.encode()), Delete(self._key)]
        if new.expires_at is not None:
            # By then the name is gone, whatever clock one goes by.
            until = new.expires_at + SKEW + GRACE
            left = Note(self._note.pieces, self._note.size, until)
            changes.append(Put(self._unnamed, left.encode(), None))
        if old is None:
            return [*changes, Add(file_key, new.value, new.expires_at)]
        changes += [Unchanged(file_key, old.value), Put(file_key, new.value, new.expires_at)]
        return [*changes, *unnaming(self._deployment, old, now)]

    def abandon(self) -> None:
        """Leave nothing behind, if the store can be asked; else the sweep sees to it later."""
        if not self._begun:
            return
        try:
            found = self._store.get(self._key)
            if found is None:
                return
            # (Perhaps with a piece more than we know of.)
            note = Note.decode(found.value)
            gone = Note(note.pieces, note.size, 0.0).encode()
            taken: list[Change] = [Unchanged(self._key, found.value), Delete(self._key)]
            with suppress(Conflict):
                self._store.append([], [*taken, Put(self._unnamed, gone, None)])
                remove(self._store, self._room, self._unnamed, Record(gone, None))
        except ClusterTokenError as error:
            logger.info("an upload's pieces stay until they are swept: %s", error)


def unnaming(deployment: str, old: Record, now: float) -> list[Change]:
    """What notes that no name stands for the pieces of *old* any more."""
    try:
        stored = StoredFile.decode(old.value)
    except StoreDamaged as error:
        # Nobody can say what its pieces are called: they stay, and the name is free.
        logger.error("the pieces of a shared file cannot be found any more: %s", error)
        return []
    note = Note(stored.pieces, stored.info.size, now + GRACE)
    return [Put(unnamed_prefix(deployment) + stored.id, note.encode(), None)]
