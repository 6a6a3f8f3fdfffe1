"""Ports for servers of this run."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from collections import deque
from collections.abc import Sequence

#: Ports that are kept for whoever was given them: some of a test listen only seconds later.
_MOST_KEPT = 64

#: The descriptors by which they are kept, the oldest first.
_kept: deque[int] = deque()


def spare_ports(count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
    """Ports that nobody listens on at the moment, on each of *hosts* (addresses of loopback).

    From below those that Linux gives to whoever connects (32768 and up): one of them may be some
    connection's own end a second later, and then nobody can listen there. On Linux no other
    process that asks here is given one of the last 64 that this one was given.
    """
    found: set[int] = set()
    while len(found) < count:
        # (Not by ``random``, which tests seed: all at the same time would choose the same.)
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError):
            for host in hosts:
                with socket.socket() as one:
                    one.bind((host, port))
            _keep(port)
            found.add(port)
    return list(found)


def _keep(port: int) -> None:
    """Raises OSError where another process keeps it."""
    if sys.platform != "linux":
        return
    # (A name that the kernel gives once, and takes back when its process ends.)
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0clustertoken-port-{port}")
    except OSError:
        name.close()
        raise
    _kept.append(name.detach())
    while len(_kept) > _MOST_KEPT:
        os.close(_kept.popleft())
