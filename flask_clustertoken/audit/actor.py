"""Actor: on whose behalf something is done just now, as far as whoever does it can say."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from ..cluster import this_host

#: Bits of an address that say in which network it is, and not who in it.
NETWORK_BITS = {4: 24, 6: 48}

#: Where Linux says who signed in, whatever he has become since; and its word for nobody.
SIGNED_IN = Path("/proc/self/loginuid")
NOBODY_SIGNED_IN = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way.

    *subject* and *token_id* are of the token that the request carried; *by* says how it came:
    ``request``, ``console``, ``command``, or ``node`` where nobody asked. *operator* is the account
    of the system that typed a command (:func:`at_the_shell`). *network* is where the request came
    from, shortened.
    """

    by: str = "node"
    subject: str = ""
    token_id: str = ""
    operator: str = ""
    network: str = ""


NOBODY = Actor()

#: (A call, so that a request on which nothing happens has nobody looked up.)
_doer: ContextVar[Callable[[], Actor] | None] = ContextVar("clustertoken_actor", default=None)


@contextmanager
def done_by(who: Callable[[], Actor]) -> Iterator[None]:
    """What is done within is done by *who*; asked only where there is something to write down."""
    before = _doer.set(who)
    try:
        yield
    finally:
        _doer.reset(before)


def current_actor() -> Actor | None:
    """Who acts in this context; ``None`` where nobody said so."""
    who = _doer.get()
    return None if who is None else who()


def at_the_shell() -> Actor:
    """Whoever typed the command that this process is, by his account of the system.

    As the system itself knows it: the environment says what anybody likes. Where somebody else
    signed in, and ``sudo`` or ``su`` made him this account, both are named: ``alice as app@web1``.
    """
    number = os.getuid()
    account, signed_in = _account(number), _signed_in()
    if signed_in not in (None, number):
        account = f"{_account(signed_in)} as {account}"
    return Actor(by="command", operator=f"{account}@{this_host()}")


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # an id without a name, as in a container
        return str(number)


def _signed_in() -> int | None:
    try:
        number = int(SIGNED_IN.read_text())
    except (OSError, ValueError):
        return None
    return None if number == NOBODY_SIGNED_IN else number


def network_of(address: str) -> str:
    """The network of *address*: its first 24 bits, or 48 of IPv6; ``""`` for what is no address.

    Shortened so that it tells places apart and not people, as web analytics does it.
    """
    found = address_of(address)
    if found is None:
        return ""
    return str(ip_network(f"{found}/{NETWORK_BITS[found.version]}", strict=False))


def address_of(peer: str) -> IPv4Address | IPv6Address | None:
    """The address that a server calls its *peer* by (``REMOTE_ADDR``); ``None``: it is none.

    A socket for both families shows a peer of the old one as ``::ffff:192.0.2.7``: that is
    192.0.2.7.
    """
    try:
        found = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
