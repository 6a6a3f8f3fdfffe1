"""Ports for servers of this run."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Sequence


def spare_ports(count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
    """Ports that nobody listens on at the moment, on each of *hosts* (addresses of loopback).

    From below those that Linux gives to whoever connects (32768 and up): one of them may be some
    connection's own end a second later, and then nobody can listen there.
    """
    found: set[int] = set()
    while len(found) < count:
        # (Not by ``random``, which tests seed: all at the same time would choose the same.)
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError):
            for host in hosts:
                with socket.socket() as one:
                    one.bind((host, port))
            found.add(port)
    return list(found)
