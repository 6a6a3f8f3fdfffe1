"""Reading a shared file: piece by piece, each held against its digest before a byte is given."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ..errors import FileChanged, StoreDamaged
from ..stores.base import ClusterStore
from .fileinfo import PIECE, FileInfo, StoredFile
from .pieces import piece_key

#: Bytes that are handed on at once.
_BUFFER = 32 * 1024


class _Pieces(io.RawIOBase):
    """The bytes behind a :class:`SharedFile`. Holds one piece."""

    def __init__(self, store: ClusterStore, stored: StoredFile, still: Callable[[], bool]) -> None:
        super().__init__()
        self._store, self._stored, self._still = store, stored, still
        self._at = 0
        self._number, self._piece = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stored.info.size}
        if start[whence] + offset < 0:
            raise ValueError("a position before the beginning")
        self._at = start[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._stored.info.size:
            return 0
        number, within = divmod(self._at, PIECE)
        some = self._load(number)[within : within + len(buffer)]
        buffer[: len(some)] = some
        self._at += len(some)
        return len(some)

    def _load(self, number: int) -> bytes:
        if number != self._number:
            self._number, self._piece = -1, b""
            record = self._store.get(piece_key(self._stored.id, number))
            if record is None and not self._still():
                raise FileChanged(
                    f"{self._stored.info.key!r} was replaced or deleted while it was read, and "
                    "its old content is gone: open it again"
                )
            if record is None or sha256(record.value).digest() != self._stored.digest(number):
                raise StoreDamaged(
                    f"piece {number + 1} of {self._stored.pieces} of the shared file "
                    f"{self._stored.info.key!r} "
                    + ("is missing" if record is None else "is not what was stored")
                    + ": store it again, or delete it"
                )
            self._number, self._piece = number, record.value
        return self._piece


class SharedFile(io.BufferedReader):
    """A shared file that is open: the whole of one version, whatever is stored meanwhile.

    A binary stream that can be read in parts and sought in. Reading raises
    :class:`~flask_clustertoken.errors.StoreDamaged` before it gives a byte that was not stored,
    :class:`~flask_clustertoken.errors.FileChanged` where the file was replaced or deleted more
    than five minutes ago, and :class:`~flask_clustertoken.errors.StoreUnavailable`.
    """

    def __init__(self, store: ClusterStore, stored: StoredFile, still: Callable[[], bool]) -> None:
        #: What it is.
        self.info: FileInfo = stored.info
        super().__init__(_Pieces(store, stored, still), _BUFFER)
