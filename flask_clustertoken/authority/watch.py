"""Watch: one connection that ends with the token it was opened with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, TypeVar

from ..tokens import Refusal, Token

Chunk = TypeVar("Chunk")
OnEnd = Callable[[Refusal], object]


class ListOfOpen(Protocol):
    """Where a connection is known from :meth:`open` to :meth:`close`."""

    def open(self, watch: Watch) -> None: ...

    def look(self, watch: Watch) -> None: ...

    def close(self, watch: Watch) -> None: ...


class Watch:
    """One connection that ends with its token: ``with`` it, or :meth:`open` and :meth:`close`.

    *on_end* is called once, with the :class:`~flask_clustertoken.tokens.Refusal` that a request
    would get now; in a thread that nobody waits for, and outside of any request. It is not begun
    after :meth:`close`, but may be under way then.
    """

    __slots__ = ("_list", "_on_end", "_over", "asking", "checked", "ended", "ends_at", "token")

    def __init__(self, token: Token, on_end: OnEnd | None, of: ListOfOpen) -> None:
        #: The token, with the latest expiry that is known of it.
        self.token = token
        #: Why the token is over; ``None`` while it is good, as far as this process knows.
        self.ended: Refusal | None = None
        self._list = of
        self._on_end = on_end
        self._over: threading.Event | None = None
        # The list's own notes: the view's generation at which nothing ended the token, when time
        # ends it (wall clock), and whether its record is being asked for.
        self.checked = 0
        self.ends_at = 0.0
        self.asking = False

    def open(self) -> Watch:
        """From here on, once. A token that is over already ends at once.

        Raises :class:`~flask_clustertoken.errors.NoThread` where nobody could look after it: then
        it was not opened, and whoever comes later may be.
        """
        if self._over is not None:
            raise RuntimeError("this was opened before; each connection has a watch of its own")
        self._over = threading.Event()
        self._list.open(self)
        return self

    def look(self) -> None:
        """Look now whether the token is over: :attr:`ended` says so."""
        if self.ended is None:
            self._list.look(self)

    def close(self) -> None:
        """The connection was closed. Twice is fine."""
        self._on_end = None
        self._list.close(self)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the token is over; whether it is. Instead of ``time.sleep``."""
        if self._over is None:
            raise RuntimeError("open it first: with tokens.watching(token) as watch")
        return self._over.wait(seconds)

    def __enter__(self) -> Watch:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wake(self) -> bool:
        """For the list, which has said why it is over; whether somebody is to be told."""
        if self._over is not None:
            self._over.set()
        return self._on_end is not None

    def tell(self, refusal: Refusal) -> None:
        """For the list: call whoever is to be told, unless the connection was closed."""
        if (on_end := self._on_end) is not None:
            on_end(refusal)


class WhileValid(Iterator[Chunk]):
    """*chunks*, as long as the token of *watch* is good; then what *last* makes of the refusal.

    Nothing that *chunks* gives after the end is passed on. While it makes us wait nothing is
    passed on either, the last chunk included: let it give something (a comment, a ping) now and
    then. It is closed at the end of either.
    """

    def __init__(
        self, watch: Watch, chunks: Iterable[Chunk], last: Callable[[Refusal], Chunk] | None
    ) -> None:
        self._watch = watch
        self._chunks = chunks
        self._last = last
        self._left = iter(chunks)
        self._done = False
        # From here on, and not only with the first chunk: the answer may renew the login that
        # it begins with.
        watch.open()

    def __next__(self) -> Chunk:
        if self._done:
            raise StopIteration
        watch, last = self._watch, self._last
        if watch.ended is None:
            try:
                chunk = next(self._left)
            except BaseException as error:
                if isinstance(error, StopIteration):
                    # (A source that watches the token itself stops when it ends.)
                    watch.look()
                if not isinstance(error, StopIteration) or watch.ended is None:
                    self.close()
                    raise
            else:
                if watch.ended is None:
                    return chunk
        self.close()
        if last is None:
            raise StopIteration
        return last(watch.ended)

    def close(self) -> None:
        """Nothing is asked for any more. Twice is fine."""
        self._done = True
        self._watch.close()
        chunks, self._chunks = self._chunks, ()
        if (close := getattr(chunks, "close", None)) is not None:
            close()

    def __del__(self) -> None:
        # An answer that was never begun is closed by nobody (that to a HEAD, for one).
        self._watch.close()
