"""A ZooKeeper client that survives, and answers or fails by a deadline.

kazoo's own synchronous calls can block for ever while the line is down, its back-off grows
to an hour, its connection thread can end for good, and it does not notice a fork. So here:
every call is asynchronous and waited for until a deadline, nothing is queued while there is no
line, the back-off is our own and capped, and a client that is dead is thrown away and made anew.
Not one that only waits for slow servers: a new one would cost them a session more. This file,
:mod:`.handler` and :mod:`.living` know kazoo, which is imported at the first call.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...backoff import Backoff
from ...errors import ClusterTokenError, StoreUnavailable, ValueTooLarge
from .address import EnsembleAddress, ZooKeeperOptions
from .codec import Packed
from .handler import make_handler
from .living import begin, discard, no_thread

_log = logging.getLogger(__name__)

# kazoo writes requests with their data, and session passwords, at its lower levels, and a
# warning for each attempt to connect: we say once that the line was lost.
_kazoo_log = logging.getLogger("flask_clustertoken.kazoo")
_kazoo_log.setLevel(logging.ERROR)

#: Requests that are under way at once. kazoo tells its thread of each by one byte through a
#: pair of sockets, and the sender would block for good if some hundreds were not taken up.
WINDOW = 128

#: Seconds between two rounds through the servers, at first and at most.
RECONNECT, LONGEST_RECONNECT = 0.1, 2.0

#: Seconds that a client lives before it is replaced as well, after the first and at most.
REPLACE, LONGEST_REPLACE = 2.0, 60.0

#: Bytes that one request may have; the server's limit (jute.maxbuffer) is 1,048,575.
REQUEST_LIMIT = 1_000_000


class Refused(Enum):
    """What ZooKeeper may answer instead of what was asked for: answers, not trouble."""

    ABSENT = "NoNodeError"
    PRESENT = "NodeExistsError"
    CHANGED = "BadVersionError"
    NOT_EMPTY = "NotEmptyError"


_REFUSALS = {one.value: one for one in Refused}

# What kazoo raises where the connection or its session ended under a call.
_LOST = {
    "ConnectionLoss",
    "ConnectionClosedError",
    "SessionExpiredError",
    "SessionMovedError",
    "OperationTimeoutError",
    "RequestTimeoutError",
    "ThrottledOpError",
}


class LineLost(StoreUnavailable):
    """The connection broke while a call was under way: whether it was carried out is unknown."""


class Rejected(Exception):
    """A transaction was not carried out because *op* could not be."""

    def __init__(self, op: Op, why: Refused) -> None:
        self.op = op
        self.why = why
        super().__init__(f"{op.what} {op.path}: {why.name}")


@dataclass(frozen=True, slots=True)
class Op:
    """One part of a transaction: ``create``, ``set``, ``delete`` or ``check``."""

    what: str
    path: str
    data: bytes | Packed = b""
    version: int = -1


class CallDeadline:
    """The moment by which a call has ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never less than nothing."""
        return max(0.0, self._end - time.monotonic())


class Late(TimeoutError):
    """No answer came within the deadline."""


Request = Callable[[Any], Any]


class Line:
    """This process's connection to the ensemble; made at the first call.

    *changed* is called with "connected?" on each change of the connection's state, from a
    thread of kazoo's: it may send requests but never wait for one.
    """

    def __init__(
        self,
        address: EnsembleAddress,
        options: ZooKeeperOptions,
        timeout: float,
        changed: Callable[[bool], None],
    ) -> None:
        self._address = address
        self._options = options
        self._timeout = timeout
        self._changed = changed
        self._lock = threading.Lock()
        self._zk: Any = None
        self._live: Any = None
        self._born = 0.0
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._closed = False
        #: When the client last did something: an answer, a new state, an attempt to connect.
        self._sign = 0.0
        self._pauses = Backoff(RECONNECT, LONGEST_RECONNECT)
        self._replacing = Backoff(REPLACE, LONGEST_REPLACE)
        self._put_up_with = 0.0
        #: There was no thread for a client: none is made until then.
        self._build_at, self._building = 0.0, Backoff(RECONNECT, LONGEST_RECONNECT)
        #: Seconds of failures without a sign of life after which a client is replaced.
        self.patience = max(10.0, 2 * options.session_timeout)

    # -- life --------------------------------------------------------------------------

    def abandon(self) -> None:
        """In a fork's child: take kazoo's exit handlers off; its threads are not here."""
        zk, self._zk = self._zk, None
        if zk is not None:
            atexit.unregister(zk.handler.stop)

    def close(self, patience: float = 2.0) -> None:
        with self._lock:
            self._closed = True
            zk, self._zk = self._zk, None
        if zk is not None:
            try:
                discard(zk).join(patience)
            except StoreUnavailable as error:
                _log.warning("the ZooKeeper client was not stopped: %s", error)

    def _build(self) -> None:
        """A new client, connecting in the background."""
        if time.monotonic() < self._build_at:
            raise no_thread()
        from kazoo.client import KazooClient
        from kazoo.protocol.states import Callback, KazooState
        from kazoo.retry import KazooRetry
        from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

        options = self._options
        # kazoo would try each server for a whole session time-out: one that swallows packets
        # would hold up the others for as long.
        share = max(1.0, options.session_timeout / len(self._address.hosts))
        handler = make_handler(options, share)
        self._pace(handler)
        # (kazoo's own pauses grow with what was drawn before; each is one call of sleep_func.)
        retry = {"max_tries": -1, "delay": 0.1, "backoff": 1, "max_jitter": 0.0, "max_delay": 0.1}
        zk = KazooClient(
            hosts=self._address.servers,
            timeout=options.session_timeout,
            handler=handler,
            connection_retry=KazooRetry(sleep_func=handler.sleep_func, **retry),
            command_retry=KazooRetry(sleep_func=handler.sleep_func, **retry),
            auth_data=[options.auth] if options.auth else None,
            sasl_options=dict(options.sasl) if options.sasl else None,
            default_acl=CREATOR_ALL_ACL if options.acl == "creator" else OPEN_ACL_UNSAFE,
            read_only=False,
            use_ssl=options.tls,
            logger=_kazoo_log,
        )

        def listener(state: Any) -> None:
            # On the connection's own thread: leave a note for another and return.
            if self._zk is zk:
                connected = state == KazooState.CONNECTED
                self._sign = time.monotonic()
                if connected:
                    self._failing_since = None
                    self._replacing.reset()
                    self._pauses.reset()
                    _log.info("connected to ZooKeeper")
                elif not self._closed:
                    _log.warning("the connection to ZooKeeper was lost")
                handler.dispatch_callback(Callback("session", self._changed, (connected,)))

        zk.add_listener(listener)
        self._zk, self._born = zk, time.monotonic()
        try:
            self._live = begin(zk)
        except StoreUnavailable:
            self._zk = None
            self._build_at = time.monotonic() + self._building.next()
            raise
        self._building.reset()

    def _pace(self, handler: Any) -> None:
        """Let *handler*'s client make its rounds at our pace, and show that it does."""
        sleep, connect = handler.sleep_func, handler.create_connection
        pauses = self._pauses = Backoff(RECONNECT, LONGEST_RECONNECT)

        def pause(_seconds: float) -> None:
            left = pauses.next()
            while left > 0 and self._pauses is pauses and not self._closed:
                self._sign = time.monotonic()
                sleep(min(0.1, left))
                left -= 0.1

        def attempt(*args: Any, **more: Any) -> Any:
            if self._pauses is pauses:
                self._sign = time.monotonic()
            return connect(*args, **more)

        handler.sleep_func, handler.create_connection = pause, attempt

    def _current(self) -> Any:
        """The client to use now: the one there is, unless it is of no more use."""
        with self._lock:
            if self._closed:
                raise ClusterTokenError("this store handle was closed")
            if self._zk is None:
                self._build()
            elif self._useless():
                _log.warning("the connection to ZooKeeper is of no more use: making a new one")
                discard(self._zk)
                self._zk = None
                self._put_up_with = self._replacing.next()
                self._build()
            return self._zk

    def _useless(self) -> bool:
        """Whether it is dead: it ended, or nothing is heard of it while calls fail."""
        now = time.monotonic()
        age, state = now - self._born, str(self._zk.client_state)
        if age < self._put_up_with:
            return False
        if state == "AUTH_FAILED":
            return age > 1.0
        if state == "CLOSED":
            # Its thread ended. (Or no server's name can be resolved yet: that is how it begins.)
            return age > self._options.session_timeout
        since = self._failing_since
        heard = max(self._born, self._sign)
        return since is not None and self._failed_at - max(since, heard) > self.patience

    def _connected(self, deadline: CallDeadline) -> Any:
        """The client once it is connected to a server that can write."""
        while True:
            zk = self._zk
            if zk is None or self._closed or self._failing_since is not None or not zk.connected:
                zk = self._current()
            if zk.connected and str(zk.client_state) == "CONNECTED":
                return zk
            since = self._fails()
            # The first that wait may hope; while the ensemble stays away, nobody is held up.
            if deadline.left() == 0 or time.monotonic() - since > self._timeout:
                raise StoreUnavailable(
                    f"no ZooKeeper server can be reached: {self._address.servers}"
                ) from Late("not connected")
            if zk.connected:
                time.sleep(min(0.05, deadline.left()))
            else:
                self._live.wait(min(0.25, deadline.left()))

    def _fails(self) -> float:
        """Take note of a failure; since when there was nothing else, one soon after the other."""
        now, since = time.monotonic(), self._failing_since
        if since is None or now - self._failed_at > self.patience:
            since = self._failing_since = now
        self._failed_at = now
        return since

    # -- calls -------------------------------------------------------------------------

    def ask(self, deadline: CallDeadline, *requests: Request) -> list[Any]:
        """Send *requests* in order through one client and wait for every answer.

        An answer is what kazoo gives, or a :class:`Refused`. Raises :class:`LineLost` or
        :class:`StoreUnavailable` if one of them got no answer.
        """
        return self._ask(self._connected(deadline), deadline, requests)

    def ask_many(self, deadline: CallDeadline, requests: Sequence[Request]) -> list[Any]:
        """As :meth:`ask`, for any number of requests that need not go through one client."""
        answers: list[Any] = []
        for start in range(0, len(requests), WINDOW):
            answers += self.ask(deadline, *requests[start : start + WINDOW])
        return answers

    def multi(self, deadline: CallDeadline, ops: Sequence[Op], *behind: Request) -> list[Any]:
        """Carry out all of *ops* in one step, or raise :class:`Rejected` and none of them.

        What is asked *behind* goes with it, and is answered as of then: its answers follow.
        """
        size = sum(len(op.data) + len(op.path) + 64 for op in ops)
        if size > REQUEST_LIMIT:
            # The server would cut the connection without a word.
            raise ValueTooLarge("one step", size, REQUEST_LIMIT, "Do it in smaller steps.")
        results, *more = self.ask(deadline, lambda zk: _transaction(zk, ops), *behind)
        if isinstance(results, Refused):
            raise StoreUnavailable("ZooKeeper did not take a transaction")
        trouble: Exception | None = None
        for op, result in zip(ops, results, strict=False):
            if isinstance(result, Exception):
                name = type(result).__name__
                if name in _REFUSALS:
                    raise Rejected(op, _REFUSALS[name])
                if trouble is None or name not in ("RolledBackError", "RuntimeInconsistency"):
                    trouble = result
        if trouble is not None or len(results) != len(ops):
            raise StoreUnavailable("ZooKeeper refused a transaction") from trouble
        return [*results, *more]

    def _ask(self, zk: Any, deadline: CallDeadline, requests: Sequence[Request]) -> list[Any]:
        sent = [request(zk) for request in requests]
        answers = []
        if sent:
            # (Answers come in the order of asking: woken once is enough.)
            sent[-1].wait(deadline.left())
        for one in sent:
            # Not get(timeout): gevent's time-out is no Exception.
            if not one.ready():
                one.wait(deadline.left())
            if not one.ready():
                self._fails()
                raise StoreUnavailable(
                    f"ZooKeeper did not answer within {deadline.seconds:g} s"
                ) from Late("no answer")
            answers.append(self._answer(one))
        self._failing_since, self._sign = None, time.monotonic()
        return answers

    def _answer(self, result: Any) -> Any:
        # Looked at, not raised: the error would hold this frame, which holds the result, which
        # holds the error; and what the caller was just writing with them, until a collection.
        error = result.exception
        if error is None:
            return result.value
        name = type(error).__name__
        if name in _REFUSALS:
            return _REFUSALS[name]
        if name in _LOST:
            self._fails()
            raise LineLost("the connection to ZooKeeper broke during a call") from error
        if name in ("NoAuthError", "AuthFailedError", "InvalidACLError"):
            raise StoreUnavailable(
                "ZooKeeper refused: these credentials may not do that there"
            ) from error
        raise StoreUnavailable(f"ZooKeeper could not do it: {name}") from error

    def post(self, request: Request) -> None:
        """Send without waiting and without learning what came of it, if there is a line."""
        zk = self._zk
        if zk is not None and zk.connected:
            request(zk)


def _transaction(zk: Any, ops: Sequence[Op]) -> Any:
    from kazoo.protocol.serialization import CheckVersion, Create, Delete, SetData

    # (Not by the calls that add to it: they would take each of our paths apart, twice, and have
    # no data but bytes.)
    transaction, acl = zk.transaction(), zk.default_acl
    add = transaction.operations.append
    for op in ops:
        if op.what == "create":
            add(Create(op.path, op.data, acl, 0))
        elif op.what == "set":
            add(SetData(op.path, op.data, op.version))
        elif op.what == "delete":
            add(Delete(op.path, op.version))
        else:
            add(CheckVersion(op.path, op.version))
    return transaction.commit_async()
