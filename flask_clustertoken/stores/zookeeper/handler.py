"""What kazoo is given to work with: threads or greenlets, and connected sockets."""

from __future__ import annotations

import select
import socket
import ssl
import sys
from collections.abc import Sequence
from typing import Any

from ...errors import ConfigurationError
from .address import ZooKeeperOptions


def make_handler(options: ZooKeeperOptions, patience: float) -> Any:
    """kazoo's handler for the threads that this process really has, with our own sockets.

    A connection is given up after *patience* seconds.
    """
    handler = _handler()
    context = _context(options) if options.tls else None

    def create_connection(address: tuple[str, int], hostname: str = "", **_: Any) -> socket.socket:
        return _connected(address, hostname, patience, context)

    handler.create_connection = create_connection
    return handler


def _handler() -> Any:
    if "gevent" in sys.modules:
        from gevent.monkey import is_module_patched

        if is_module_patched("socket"):
            from kazoo.handlers.gevent import SequentialGeventHandler

            return SequentialGeventHandler()
    eventlet = sys.modules.get("eventlet")
    if eventlet is not None and eventlet.patcher.is_monkey_patched("socket"):
        from kazoo.handlers.eventlet import SequentialEventletHandler

        return SequentialEventletHandler()
    from kazoo.handlers.threading import SequentialThreadingHandler

    handler = SequentialThreadingHandler()
    if hasattr(select, "poll"):
        handler.select = _polled
    return handler


def _polled(
    read: Sequence[Any], write: Sequence[Any], _: Sequence[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Which of *read* and *write* are ready, as ``select.select`` says it, for descriptors of any
    number. (None stands in both.) :class:`ValueError` for one that is closed.

    kazoo's thread asks that five times for each call: twice before it sends, and for each piece of
    an answer. Its own way makes a selector of the system's each time, with five system calls; this
    is one, and takes a quarter of the time (measured).
    """
    poll = select.poll()
    for one in read:
        poll.register(one, select.POLLIN)
    for one in write:
        poll.register(one, select.POLLOUT)
    # (An error or the other end's closing counts as ready: reading or writing then says so.)
    ready = dict(poll.poll(None if timeout is None else 1000 * max(0.0, timeout)))
    if ready and select.POLLNVAL in ready.values():
        raise ValueError("a descriptor that is closed")
    return (
        [one for one in read if ready.get(one.fileno())],
        [one for one in write if ready.get(one.fileno())],
        [],
    )


def _context(options: ZooKeeperOptions) -> ssl.SSLContext:
    """Chain and name are checked; a named authority is the only one that is trusted.

    kazoo's own would check no name unless told, would trust the system's authorities as well,
    and would leave a socket open for each server that it refuses.
    """
    from kazoo.version import __version__ as kazoo

    if tuple(map(int, kazoo.split(".")[:2])) < (2, 11):
        # Older ones hand on the address alone, and the name could not be checked.
        raise ConfigurationError(
            "STORE_OPTIONS",
            f"'tls' needs kazoo 2.11 or later, {kazoo} is installed.",
            "Install it with: pip install --upgrade kazoo",
        )
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.cert and options.key:
            context.load_cert_chain(options.cert, options.key)
    except OSError as error:
        raise ConfigurationError(
            "STORE_OPTIONS",
            "the files named by ca, cert and key cannot be used.",
            "They are PEM files that this process may read; the key has no password.",
        ) from error
    return context


def _connected(
    address: tuple[str, int], hostname: str, patience: float, context: ssl.SSLContext | None
) -> socket.socket:
    sock = socket.create_connection(address, patience)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(sock, server_hostname=hostname) if context else sock
    except BaseException:
        sock.close()
        raise
