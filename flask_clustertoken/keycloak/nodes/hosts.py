"""Hosts: the machines that are registered as nodes of the client at Keycloak.

A *host* is registered, by one of its workers, before its first login is served; it is
unregistered by its last worker. Workers come and go all the time. Each stands in the cluster
store with a short life that it prolongs itself, so a killed one is forgotten by itself.
Off unless ``register-node-at-startup`` is set, as in Keycloak's own adapters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...authority import TokenAuthority
from ..options import KeycloakOptions
from ..protocol import Provider
from ..sessions import Keys

#: Seconds between two signs of life of a worker, and for which one counts.
SIGN_EVERY, SIGN_LASTS = 10.0, 40.0
#: Seconds between two registrations where ``register-node-period`` does not say.
REGISTRATION_PERIOD = 600.0


@dataclass(frozen=True, slots=True)
class Host:
    """A host that the cluster knows as registered, and how many live workers it has."""

    name: str
    registered_at: float
    workers: int


class Hosts:
    """Register, unregister and list hosts; by hand and by the registrar."""

    def __init__(self, authority: TokenAuthority, options: KeycloakOptions, keys: Keys) -> None:
        self._authority = authority
        self._keys = keys
        period = options.register_node_period
        self.period = float(period) if period > 0 else REGISTRATION_PERIOD

    def add(self, provider: Provider, host: str) -> None:
        """Register *host* now. Raises a ``KeycloakError`` or a ``StoreError``."""
        provider.register_node(host)
        now = self._authority.clock.time()
        self._authority.store.put(self._keys.registered(host), _host(host, now), None)

    def remove(self, provider: Provider, host: str) -> None:
        """Unregister *host*, which may be unknown. Raises as :meth:`add` does."""
        # The record first: a worker that comes meanwhile misses it and registers again.
        self._authority.store.delete(self._keys.registered(host))
        provider.unregister_node(host)

    def registered_at(self, host: str) -> float | None:
        """When *host* was registered last (wall clock); ``None``: it is not."""
        record = self._authority.store.get(self._keys.registered(host))
        return None if record is None else float(json.loads(record.value)["at"])

    def listed(self) -> Iterator[Host]:
        """The registered hosts, as the cluster store knows them."""
        for _, record in self._authority.store.walk(self._keys.hosts):
            data = json.loads(record.value)
            yield Host(data["host"], data["at"], self.workers(data["host"]))

    def workers(self, host: str) -> int:
        """How many live workers of *host* have given a sign of life lately."""
        return sum(1 for _ in self._signs(host))

    def _signs(self, host: str) -> Iterator[str]:
        found = self._authority.store.walk(self._keys.workers(host))
        return (key for key, record in found if not _is_dead(record.value))

    def sign(self, host: str, worker: str) -> None:
        """This worker of *host* is alive."""
        ends = self._authority.clock.time() + SIGN_LASTS
        self._authority.store.put(self._keys.workers(host) + worker, _process(), ends)

    def leave(self, host: str, worker: str) -> bool:
        """This worker goes; says whether it was the last one of *host*."""
        self._authority.store.delete(self._keys.workers(host) + worker)
        return self.workers(host) == 0


def _host(name: str, at: float) -> bytes:
    return json.dumps({"host": name, "at": at}).encode()


def _machine() -> str:
    """The same for all processes that see each other's process ids; empty: not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process() -> bytes:
    return json.dumps({"machine": _machine(), "pid": os.getpid()}).encode()


def _is_dead(sign: bytes) -> bool:
    """Whether a killed process of this machine left *sign*: nobody prolongs it any more."""
    said = json.loads(sign)
    if not said["machine"] or said["machine"] != _machine():
        return False
    try:
        os.kill(said["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
