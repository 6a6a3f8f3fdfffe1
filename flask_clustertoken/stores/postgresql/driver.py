"""libpq's connection, as psycopg gives it, with a deadline for each call.

Only ``psycopg.pq`` is used. No setting of a server is a deadline (a frozen one keeps none), the
driver's own time-outs are for one operation each, and what it does at an interrupt, it cancels: a
commit whose wait for a standby was cancelled answers that it is done. Here every wait has what is
left of the call's time, and then the socket is closed.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import MissingDriver, StoreUnavailable
from ..deadline import Deadline
from .place import Host, named


class Binary(NamedTuple):
    """A parameter in the server's own form, and the number of its type."""

    type: int
    raw: bytes


Value = str | bytes | Binary
Row = tuple[Any, ...]
#: A statement's text and its parameters.
Ask = tuple[str, Sequence[Value]]

_TEXT, BYTEA, BYTEAS = 25, 17, 1001

#: How a column's value is read, by the number of its type. (Others are not asked for.)
_READ: Mapping[int, Callable[[bytes], Any]] = {
    16: lambda raw: raw == b"\x01",
    17: bytes,
    20: lambda raw: struct.unpack("!q", raw)[0],
    23: lambda raw: struct.unpack("!i", raw)[0],
    25: bytes.decode,
    701: lambda raw: struct.unpack("!d", raw)[0],
}


class LineCut(StoreUnavailable):
    """The connection ended, or the time; whether the server did it is unknown.

    *broken*: the server, or something between, ended it. *connecting*: nothing had been asked.
    """

    broken: bool = False
    connecting: bool = False


class StatementRefused(StoreUnavailable):
    """The server refused a statement; nothing of its transaction was done.

    *state* is the SQLSTATE, five letters or digits.
    """

    def __init__(self, state: str, said: str) -> None:
        super().__init__(f"the PostgreSQL server refused: {said} ({state})")
        self.state = state
        self.said = said


class Session:
    """One connection to one server, used by one thread at a time.

    *pooled*: another program, as PgBouncer, stands between: the server's process is not the one
    that greeted us, and may be another one for each transaction. Nothing is left behind in it.
    """

    def __init__(self, host: Host, said: Mapping[str, str], deadline: Deadline) -> None:
        try:
            from psycopg import pq
        except ImportError as error:  # (psycopg without a libpq)
            raise MissingDriver("STORE", "psycopg with libpq", "postgresql") from error
        self.host = host
        self.pooled = True
        self._pq = pq
        self._prepared: dict[str, bytes] = {}
        self._warnings: list[str] = []
        self._count = 0
        trouble = _lost(host, "its name is not known")
        for address in _addresses(host):
            try:
                self._line = self._connected({**said, **address}, deadline)
                break
            except LineCut as cut:
                trouble = cut
                if deadline.over:
                    raise
        else:
            raise trouble
        self._line.notice_handler = self._notice
        self._line.nonblocking = 1
        self._line.enter_pipeline_mode()

    def _connected(self, said: Mapping[str, str], deadline: Deadline) -> Any:
        from psycopg import Error
        from psycopg.conninfo import make_conninfo

        pq = self._pq
        try:
            line = pq.PGconn.connect_start(make_conninfo("", **said).encode())
            state = line.connect_poll() if line.status != pq.ConnStatus.BAD else None
            while state in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
                writing = state == pq.PollingStatus.WRITING
                if not _ready(line.socket, deadline, writing=writing, reading=not writing):
                    line.finish()
                    raise _late(self.host)
                state = line.connect_poll()
        except Error as error:
            raise _lost(self.host, "libpq makes no connection with these options") from error
        if state != pq.PollingStatus.OK:
            told = line.error_message.decode(errors="replace").strip()
            line.finish()
            raise _lost(self.host, told)
        return line

    def find_out(self, pid: int) -> None:
        """Whether the server's process *pid* is the one that greeted us."""
        self.pooled = pid != self.greeted_by

    @property
    def greeted_by(self) -> int:
        """The process that greeted us, or what stood for it."""
        return int(self._line.backend_pid)

    @property
    def warned(self) -> bool:
        """Whether the server added a warning to its last answers."""
        return bool(self._warnings)

    @property
    def usable(self) -> bool:
        """Whether it is still there, as far as this end knows: nothing unasked has come."""
        return not self.closed and not _polled(self._line.socket, select.POLLIN, 0)

    @property
    def closed(self) -> bool:
        return bool(self._line.status == self._pq.ConnStatus.BAD)

    def ask(self, deadline: Deadline, *asked: Ask) -> list[list[Row]]:
        """The rows that each statement answers; all are sent at once, as one transaction.

        (Unless they say otherwise, with BEGIN and COMMIT.) Raises the first
        :class:`StatementRefused`, behind which nothing was done, or :class:`LineCut`.
        """
        from psycopg import Error

        self._warnings.clear()
        made: list[str] = []
        try:
            expected = [self._send(text, values, made) for text, values in asked]
            self._line.pipeline_sync()
            self._flush(deadline)
            answers, refusal = self._answers(deadline, expected)
        except Error as error:
            self.close()
            raise _lost(self.host, "the connection broke") from error
        except BaseException:
            # (Also what a greenlet is ended with: the rest of the answer would be the next one's.)
            self.close()
            raise
        if refusal is None:
            return answers
        for text in made:
            self._prepared.pop(text, None)
        if self._line.transaction_status != self._pq.TransactionStatus.IDLE:
            # (What failed behind a BEGIN of ours is undone, and its locks are let go of.)
            self.ask(deadline, ("ROLLBACK", ()))
        raise refusal

    def _send(self, text: str, values: Sequence[Value], made: list[str]) -> int:
        """How many answers it will have."""
        types, raw, formats = _as_parameters(values)
        if self.pooled:
            self._line.send_query_params(text.encode(), raw, types, formats, 1)
            return 1
        name = self._prepared.get(text)
        if name is not None:
            self._line.send_query_prepared(name, raw, formats, 1)
            return 1
        self._count += 1
        name = self._prepared[text] = b"ct%d" % self._count
        made.append(text)
        self._line.send_prepare(name, text.encode(), types)
        self._line.send_query_prepared(name, raw, formats, 1)
        return 2

    def _flush(self, deadline: Deadline) -> None:
        while self._line.flush():
            if not _ready(self._line.socket, deadline, reading=True, writing=True):
                raise _late(self.host)
            # (A server that answers before it has read everything must not wait for us.)
            if _polled(self._line.socket, select.POLLIN, 0):
                self._line.consume_input()

    def _answers(
        self, deadline: Deadline, expected: Sequence[int]
    ) -> tuple[list[list[Row]], StatementRefused | None]:
        status, refusal = self._pq.ExecStatus, None
        answers: list[list[Row]] = []
        for count in expected:
            rows: list[Row] = []
            for _ in range(count):
                result = self._result(deadline)
                while result is not None:
                    if result.status == status.FATAL_ERROR:
                        refusal = refusal or self._refusal(result)
                    elif result.status == status.TUPLES_OK:
                        rows += _rows(result)
                    result = self._result(deadline)
            answers.append(rows)
        while (result := self._result(deadline)) is None or result.status != status.PIPELINE_SYNC:
            if result is not None and result.status == status.FATAL_ERROR:
                # (The commit at the end of an implicit transaction.)
                refusal = refusal or self._refusal(result)
        return answers, refusal

    def _result(self, deadline: Deadline) -> Any:
        while self._line.is_busy():
            if not _ready(self._line.socket, deadline, reading=True):
                raise _late(self.host)
            self._line.consume_input()
        result = self._line.get_result()
        if result is None and self.closed:
            raise _lost(self.host, "the server closed the connection")
        return result

    def _refusal(self, result: Any) -> StatementRefused:
        field = self._pq.DiagnosticField
        state = (result.error_field(field.SQLSTATE) or b"").decode()
        said = (result.error_field(field.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if not state or state.startswith(("08", "57P")):
            # (Ended by an administrator, a shutdown or a crash; without a state libpq itself.)
            raise _lost(self.host, said or "the server closed the connection")
        return StatementRefused(state, said)

    def _notice(self, result: Any) -> None:
        field = self._pq.DiagnosticField
        if result.error_field(field.SEVERITY_NONLOCALIZED) == b"WARNING":
            said = result.error_field(field.MESSAGE_PRIMARY) or b""
            self._warnings.append(said.decode(errors="replace"))

    def notified(self, seconds: float) -> bool:
        """Wait for a notification, at most *seconds*."""
        from psycopg import Error

        if not _polled(self._line.socket, select.POLLIN, seconds):
            return False
        try:
            self._line.consume_input()
        except Error as error:
            raise _lost(self.host, "the connection broke") from error
        found = False
        while self._line.notifies() is not None:
            found = True
        return found

    def close(self) -> None:
        self._line.finish()

    def interrupt(self) -> None:
        """End it from another thread than the one that uses it, which notices and closes it."""
        try:
            with socket.socket(fileno=os.dup(self._line.socket)) as line:
                line.shutdown(socket.SHUT_RDWR)
        except Exception:  # (It was closed meanwhile.)
            return


def _as_parameters(values: Sequence[Value]) -> tuple[list[int], list[bytes], list[int]]:
    """Their types, what is sent, and which of it is in the server's own form."""
    types, raw, formats = [], [], []
    for one in values:
        if isinstance(one, str):
            types.append(_TEXT)
            raw.append(one.encode())
        else:
            types.append(one.type if isinstance(one, Binary) else BYTEA)
            raw.append(one.raw if isinstance(one, Binary) else one)
        formats.append(int(not isinstance(one, str)))
    return types, raw, formats


def _rows(result: Any) -> list[Row]:
    reads = [_READ[result.ftype(column)] for column in range(result.nfields)]
    return [
        tuple(
            None if (raw := result.get_value(row, column)) is None else read(raw)
            for column, read in enumerate(reads)
        )
        for row in range(result.ntuples)
    ]


def _addresses(host: Host) -> Iterator[dict[str, str]]:
    """What libpq is to connect to. It would look a name up itself, and gevent could not see it."""
    name, port = host
    if not name or name.startswith(("/", "@")):
        yield {"host": name, "port": str(port)} if name else {"port": str(port)}
        return
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError:
        return
    for address in dict.fromkeys(str(one[4][0]) for one in found):
        yield {"host": name, "hostaddr": address, "port": str(port)}


def _polled(descriptor: int, what: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, what)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _ready(
    descriptor: int, deadline: Deadline, *, reading: bool = False, writing: bool = False
) -> bool:
    """Wait for the socket; whether it came before the call's end."""
    what = (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0)
    return not deadline.over and _polled(descriptor, what, deadline.left())


def _late(host: Host) -> LineCut:
    return LineCut(f"the PostgreSQL server {named(host)} did not answer in time")


def _lost(host: Host, why: str) -> LineCut:
    # (libpq's texts name hosts and roles, never a password.)
    lost = LineCut(f"the PostgreSQL server {named(host)} cannot be reached or refused: {why}")
    lost.broken = True
    return lost
