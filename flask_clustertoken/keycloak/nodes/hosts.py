"""Hosts: the machines that are registered as nodes of the client at Keycloak.

A *host* is registered, by one of its workers, before its first login is served; it is
unregistered by its last worker. Workers come and go all the time. Each stands in the cluster
store with a short life that it prolongs itself, so a killed one is forgotten by itself.
Off unless ``register-node-at-startup`` is set, as in Keycloak's own adapters.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...authority import TokenAuthority
from ...backoff import Backoff
from ...errors import ClusterTokenError
from ..options import Options
from ..protocol.provider import Provider
from ..sessions.labels import Keys

logger = logging.getLogger("flask_clustertoken.keycloak")

#: Seconds between two signs of life of a worker, and for which one counts.
SIGN_EVERY, SIGN_LASTS = 10.0, 40.0
#: Seconds between two registrations where ``register-node-period`` does not say.
PERIOD = 600.0
#: Seconds to wait after a failure, at first and at most.
FIRST_PAUSE, LAST_PAUSE = 1.0, 300.0
#: Seconds that a login waits for its host to be registered.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Host:
    """A host that the cluster knows as registered, and how many live workers it has."""

    name: str
    registered_at: float
    workers: int


class Hosts:
    """Register, unregister and list hosts; by hand and by :class:`Registrar`."""

    def __init__(self, authority: TokenAuthority, options: Options, keys: Keys) -> None:
        self._authority = authority
        self._keys = keys
        period = options.register_node_period
        self.period = float(period) if period > 0 else PERIOD

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


class Registrar:
    """One worker's part: keeps its host registered. A step function and a thread around it."""

    def __init__(
        self, authority: TokenAuthority, options: Options, hosts: Hosts, provider: Provider
    ) -> None:
        self._authority = authority
        self._hosts = hosts
        self._provider = provider
        self.host = options.node_host
        self._worker = secrets.token_hex(12)
        self._backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        self._again_at = float("-inf")
        self._done = threading.Event()
        self._leaving = threading.Event()
        self._stepping = threading.Lock()
        #: The process that this belongs to: a fork's child has another.
        self.pid = os.getpid()

    def step(self) -> float:
        """Do what is due; returns the seconds after which to call again. Never raises."""
        with self._stepping:
            if self._leaving.is_set():
                return SIGN_EVERY
            try:
                self._hosts.sign(self.host, self._worker)
                self._register_if_due()
            except Exception as error:
                # (Also what nobody thought of: the thread has to go on for the others.)
                return self._failed(error)
            return min(SIGN_EVERY, self._hosts.period)

    def _register_if_due(self) -> None:
        clock = self._authority.clock
        if clock.monotonic() < self._again_at:
            return
        at = self._hosts.registered_at(self.host)
        # A worker that starts together with others leaves it to whoever was first.
        if at is None or not 0 <= clock.time() - at < self._hosts.period * 0.9:
            self._hosts.add(self._provider, self.host)
            logger.info("registered this host as node %s at Keycloak", self.host)
        self._backoff.reset()
        self._done.set()

    def _failed(self, error: Exception) -> float:
        logger.warning("this host could not be registered as node %s: %s", self.host, error)
        pause = self._backoff.next()
        self._again_at = self._authority.clock.monotonic() + pause
        return min(pause, SIGN_EVERY)

    def start(self) -> None:
        threading.Thread(target=self._run, name="clustertoken-node", daemon=True).start()

    def _run(self) -> None:
        while not self._leaving.wait(self.step()):
            pass

    def before_login(self) -> None:
        """Wait a moment until the host is registered: Keycloak drops the host of a login that
        it does not know, and would then never call it."""
        if not self._done.wait(PATIENCE):
            # Once is enough: what is wrong may stay so, and a login works all the same.
            self._done.set()
            logger.warning("a login begins though host %s is not registered yet", self.host)

    def leave(self) -> None:
        """This worker goes; the last one of its host unregisters it."""
        if self.pid != os.getpid() or self._leaving.is_set():
            return
        self._leaving.set()
        with self._stepping:
            try:
                if not self._hosts.leave(self.host, self._worker):
                    return
                self._hosts.remove(self._provider, self.host)
                if self._hosts.workers(self.host):
                    # One started while we left, and may have found it registered still.
                    self._hosts.add(self._provider, self.host)
            except ClusterTokenError as error:
                logger.warning("this host could not be unregistered: %s", error)
