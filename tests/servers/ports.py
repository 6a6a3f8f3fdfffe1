"""Ports for servers of this run."""

from __future__ import annotations

import contextlib
import secrets
import socket


def spare_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on at the moment.

    From below those that Linux gives to whoever connects (32768 and up): one of them may be some
    connection's own end a second later, and then nobody can listen there.
    """
    found: set[int] = set()
    while len(found) < count:
        # (Not by ``random``, which tests seed: all at the same time would choose the same.)
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)
