"""redis-py's connections, with a deadline for each call and without its retries.

Only the connection is used: the driver's client retries what failed (ten times since its
version 8), and a retried write is a second execution. Its time-outs are for one operation each;
here every read and write has what is left of the call's time.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from ...errors import StoreUnavailable
from ..deadline import Deadline as Deadline
from .place import Host, named

#: Bytes that are read at once.
_READ_SIZE = 16 * 1024

Command = Sequence[str | bytes | int]


class Until:
    """The deadline of the call that a connection is used for at the moment."""

    def __init__(self) -> None:
        self.deadline = Deadline(0)


class TimedSocket:
    """A socket whose every operation has what is left of the call's time."""

    def __init__(self, sock: Any, until: Until) -> None:
        self._sock = sock
        self._until = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _timed(self) -> Any:
        self._sock.settimeout(self._until.deadline.left())
        return self._sock

    def recv(self, *args: Any) -> Any:
        return self._timed().recv(*args)

    def recv_into(self, *args: Any) -> Any:
        return self._timed().recv_into(*args)

    def sendall(self, *args: Any) -> Any:
        return self._timed().sendall(*args)


@cache
def _connection_class(tls: bool) -> Any:
    from redis.connection import Connection, SSLConnection

    base: Any = SSLConnection if tls else Connection

    class TimedConnection(base):  # type: ignore[misc]
        def __init__(self, until: Until, **options: Any) -> None:
            self.until = until
            super().__init__(**options)

        def _connect(self) -> Any:
            return TimedSocket(super()._connect(), self.until)

    return TimedConnection


PASSWORD_WANTED = "the Redis server asks for a password: give it in the URL or in STORE_OPTIONS"


class Lost(StoreUnavailable):
    """The connection ended, or the time; whether the server did it is unknown.

    *broken*: the server, or something between, ended it. *sent*: something had been sent.
    """

    broken: bool = False
    sent: bool = True


class Contact:
    """One connection to one server."""

    def __init__(self, host: Host, deadline: Deadline, **options: Any) -> None:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.host = host
        self._until = Until()
        self._until.deadline = deadline
        try:
            self._line = _connection_class(bool(options.pop("tls", False)))(
                self._until,
                host=host[0],
                port=host[1],
                socket_timeout=deadline.left(),
                socket_connect_timeout=deadline.left(),
                retry=Retry(NoBackoff(), 0),
                # (Beside what it has read already, three times over while it looks for the end.)
                socket_read_size=_READ_SIZE,
                protocol=2,
                **options,
            )
            self._line.connect()
        except Exception as error:
            raise self._trouble(error, sent=False) from error

    @property
    def usable(self) -> bool:
        """Whether it is still there, as far as this end knows: nothing unasked has come."""
        sock = self._line._sock
        if sock is None:
            return False
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    def ask(self, deadline: Deadline, *commands: Command) -> list[Any]:
        """The answers to *commands*, which are sent at once; a refusal is an answer too."""
        self._until.deadline = deadline
        try:
            self._line.send_packed_command(self._line.pack_commands(commands), check_health=False)
            return [self._answer() for _ in commands]
        except Exception as error:
            self._line.disconnect()
            raise self._trouble(error, sent=True) from error

    def say(self, deadline: Deadline, command: Command) -> None:
        """Send a command whose answers come whenever they come."""
        self._until.deadline = deadline
        try:
            self._line.send_packed_command(self._line.pack_commands([command]), check_health=False)
        except Exception as error:
            raise self._trouble(error, sent=True) from error

    def hear(self, deadline: Deadline) -> Any:
        """The next answer."""
        self._until.deadline = deadline
        try:
            return self._answer()
        except Exception as error:
            self._line.disconnect()
            raise self._trouble(error, sent=True) from error

    def _answer(self) -> Any:
        from redis.exceptions import ResponseError

        try:
            return self._line.read_response(disconnect_on_error=False)
        except ResponseError as error:
            return error

    def silent_for(self, seconds: float) -> bool:
        """Wait until something comes, at most *seconds*."""
        sock = self._line._sock
        if sock is None:
            raise StoreUnavailable("the connection was closed")
        if self._buffered(sock):
            return False
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(seconds * 1000)

    def _buffered(self, sock: Any) -> bool:
        """Whether something has been read from the system and not been taken yet."""
        return bool(getattr(sock, "pending", int)())

    def close(self) -> None:
        self._line.disconnect()

    def interrupt(self) -> None:
        """End it from another thread than the one that uses it, which notices and closes it."""
        sock = self._line._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _trouble(self, error: Exception, sent: bool) -> StoreUnavailable:
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as Late

        if not isinstance(error, RedisError | OSError):
            raise error
        where = named(self.host)
        if isinstance(error, Late | TimeoutError):
            lost = Lost(f"the Redis server {where} did not answer in time")
        else:
            # (Of the driver's texts, none repeats a password; a server's refusal may name a user.)
            lost = Lost(f"the Redis server {where} cannot be reached or refused: {error}")
            if "uthentication required" in str(error):
                # (By Valkey, and Redis from 7.2, as soon as the driver says its name.)
                lost = Lost(f"{PASSWORD_WANTED} ({where})")
            lost.broken = True
        lost.sent = sent
        return lost
