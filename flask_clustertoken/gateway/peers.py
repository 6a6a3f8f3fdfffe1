"""Peers: who speaks to the gateway, and whether it is a proxy that may speak for others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ..audit import address_of
from .options import PREFIX, UNIX

logger = logging.getLogger("flask_clustertoken.gateway")

#: Addresses that are remembered with what was said of them.
REMEMBERED = 1024


class Peers:
    """Knows the proxies by their addresses. Nothing a request says of itself counts."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(one) for one in trusted if one != UNIX
        ]
        self._unix = UNIX in trusted
        self._known: dict[str, bool] = {}

    def trusts(self, environ: dict[str, Any]) -> bool:
        """Whether the request was sent by a proxy that may say what it was."""
        address: str = environ.get("REMOTE_ADDR") or ""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[address] = self._judge(address)
        return found

    def _judge(self, text: str) -> bool:
        if not text:
            return self._unix
        address = address_of(text)
        return address is not None and any(address in one for one in self._networks)


@lru_cache(maxsize=1000)
def tell_of_stranger(address: str) -> None:
    """Once for each: whoever sends such requests should not fill the log."""
    logger.warning(
        "%s says what an original request was, and is not believed: if that is your proxy, add it "
        "to %sTRUSTED. Until then each request counts as one that changes something.",
        ascii(address[:64]) if address else "whoever comes by the Unix socket",
        PREFIX,
    )
