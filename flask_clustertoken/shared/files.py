"""Shared files: bytes that all servers of a deployment share, up to some MB each.

A file is cut into pieces, and has its name once all of them are there. Whoever reads the file that
had the name before goes on with that. See :mod:`.upload` for what happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote

from ..clock import Clock
from ..errors import Conflict
from ..stores.base import Change, ClusterStore, Delete, Unchanged
from ..tokens import validation
from .fileinfo import PIECE, FileInfo, StoredFile, checked_type, guessed_type
from .names import checked, spelled
from .pieces import Room, file_prefix, room_of
from .reading import SharedFile
from .upload import Upload, unnaming

#: Told how many bytes have come so far.
Progress = Callable[[int], object]


class Readable(Protocol):
    """A binary stream, as far as one is needed: an open file, an upload, standard input."""

    def read(self, size: int, /) -> bytes | None:
        """Up to *size* bytes; none at the end."""
        ...


class SharedFiles:
    """The files of a deployment under one name.

    A key is any text of 1 to 512 characters (and bytes, as UTF-8): it names a record, never a
    path. Every call asks the store, and raises a :class:`~flask_clustertoken.errors.StoreError`
    where it cannot be reached.
    *limit* and *total*: bytes that a file, and the deployment's files together, may have.
    """

    def __init__(
        self,
        store: Callable[[], ClusterStore],
        clock: Clock,
        deployment: str,
        name: str,
        *,
        limit: int,
        total: int | None,
    ) -> None:
        self._opened = store
        self._clock = clock
        self._deployment, self._limit, self._total = deployment, limit, total
        self._prefix = file_prefix(deployment, checked(name, "the name of shared files"))

    @property
    def _store(self) -> ClusterStore:
        return self._opened()

    def _room(self, store: ClusterStore) -> Room:
        return room_of(store, self._clock, self._deployment, self._total)

    def _key(self, key: Any) -> str:
        return self._prefix + spelled(key, "the key of a shared file")

    def put(
        self,
        key: str,
        data: bytes | bytearray | memoryview | Readable,
        content_type: str | None = None,
        ttl: float | None = None,
        *,
        progress: Progress | None = None,
    ) -> FileInfo:
        """Store *data*, bytes or a binary stream, under *key*, in the place of what was there.

        The name stands for the new file once all of it is there, and until then for the old one,
        whatever happens: an error leaves nothing behind. It ends after *ttl* seconds, if given.
        Without *content_type* it is guessed from the key, or ``application/octet-stream``.

        Raises :class:`~flask_clustertoken.errors.ValueTooLarge` beyond ``FILE_LIMIT``,
        :class:`~flask_clustertoken.errors.FilesFull` beyond ``FILES_TOTAL``, what *data* raises
        when it is read, and :class:`~flask_clustertoken.errors.StoreUnavailable`, also where
        fifteen minutes passed from one piece to the next.
        """
        place = self._key(key)
        kind = checked_type(content_type) if content_type else guessed_type(key)
        life = None if ttl is None else validation.seconds(ttl, "ttl")
        store = self._store
        upload = Upload(store, self._clock, self._deployment, self._limit, self._room(store))
        done = 0
        try:
            upload.begin()
            for piece in in_pieces(data):
                upload.add(piece)
                done += len(piece)
                if progress is not None:
                    progress(done)
                del piece  # (while the next one is read it would be one more)
            ends = None if life is None else self._clock.time() + life
            return upload.name(place, key, kind, ends)
        except BaseException:
            upload.abandon()
            raise

    def open(self, key: str) -> SharedFile:
        """The file under *key*, to read; :class:`FileNotFoundError` where there is none."""
        place, store = self._key(key), self._store
        stored = self._stored(store, place)
        if stored is None:
            raise FileNotFoundError(f"there is no shared file {key!r}")

        def still() -> bool:
            now = self._stored(store, place)
            return now is not None and now.id == stored.id

        return SharedFile(store, stored, still)

    def stat(self, key: str) -> FileInfo | None:
        """What is known of the file under *key*; ``None`` where there is none."""
        stored = self._stored(self._store, self._key(key))
        return None if stored is None else stored.info

    @staticmethod
    def _stored(store: ClusterStore, place: str) -> StoredFile | None:
        record = store.get(place)
        return None if record is None else StoredFile.decode(record.value)

    def delete(self, key: str) -> bool:
        """*key* is gone when this returns; says whether it was there.

        Between our read and our write it may be replaced: then that one is deleted.
        """
        place, store = self._key(key), self._store
        while (record := store.get(place)) is not None:
            changes: list[Change] = [Unchanged(place, record.value), Delete(place)]
            changes += unnaming(self._deployment, record, self._clock.time())
            with suppress(Conflict):
                store.append([], changes)
                return True
        return False

    def infos(self) -> Iterator[FileInfo]:
        """What is known of every file, in the order of :meth:`keys`."""
        for _, record in self._store.walk(self._prefix):
            yield StoredFile.decode(record.value).info

    def keys(self) -> Iterator[str]:
        """Every key, in a stable order; pages are read as needed."""
        for info in self.infos():
            yield info.key


def every_file(store: ClusterStore, deployment: str) -> Iterator[tuple[str, FileInfo]]:
    """Name and what is known of each file of *deployment*."""
    mine = file_prefix(deployment, "").removesuffix("/")
    for key, record in store.walk("file/"):
        if key.startswith(mine):
            yield (
                unquote(key.removeprefix(mine).split("/")[0]),
                StoredFile.decode(record.value).info,
            )


def in_pieces(data: bytes | bytearray | memoryview | Readable) -> Iterator[bytes]:
    """*data* in pieces, of which one is held at a time; and none by what gives them."""
    if isinstance(data, bytes | bytearray | memoryview):
        view = memoryview(data).cast("B")
        return (bytes(view[start : start + PIECE]) for start in range(0, len(view), PIECE))
    read = getattr(data, "read", None)
    if read is None:
        raise TypeError("a shared file is made of bytes, or of a stream opened in binary mode")
    return iter(lambda: _filled(read), b"")


def _filled(read: Callable[[int], Any]) -> bytes:
    """The next piece of a stream, which may give less than it is asked for."""
    first = _some(read, PIECE)
    if len(first) in (0, PIECE):
        return first  # (not copied)
    piece = bytearray(first)
    while len(piece) < PIECE and (some := _some(read, PIECE - len(piece))):
        piece += some
    return bytes(piece)


def _some(read: Callable[[int], Any], wanted: int) -> bytes:
    some = read(wanted)
    if not some and not isinstance(some, str):
        return b""
    if not isinstance(some, bytes | bytearray | memoryview):
        raise TypeError("the stream gives text: open it in binary mode")
    some = bytes(some)
    if len(some) > wanted:
        raise ValueError(f"the stream gave {len(some)} bytes when it was asked for {wanted}")
    return some
