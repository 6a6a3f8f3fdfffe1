"""Registrar: a worker keeps its host registered as a node of the client at Keycloak."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable

from ...authority import TokenAuthority
from ...backoff import Backoff
from ...errors import ClusterTokenError, ConfigurationError, NoThread
from ..errors import KeycloakError
from ..options import KeycloakOptions
from ..protocol import Provider
from .hosts import SIGN_EVERY, Hosts

logger = logging.getLogger(__name__)

#: Seconds to wait after a failure, at first and at most.
REGISTRATION_PAUSE, LONGEST_REGISTRATION_PAUSE = 1.0, 300.0
#: Seconds that a login waits for its host to be registered.
REGISTRATION_PATIENCE = 5.0


class Registrar:
    """One worker's part: keeps its host registered. A step function and a thread around it."""

    def __init__(
        self, authority: TokenAuthority, options: KeycloakOptions, hosts: Hosts, provider: Provider
    ) -> None:
        self._authority = authority
        self._hosts = hosts
        self._provider = provider
        self.host = options.node_host
        self._worker = secrets.token_hex(12)
        self._backoff = Backoff(REGISTRATION_PAUSE, LONGEST_REGISTRATION_PAUSE)
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
        if not self._done.wait(REGISTRATION_PATIENCE):
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


class NodeRegistration:
    """Gives each process of an app a registrar, where ``register-node-at-startup`` is set.

    *provider* gives Keycloak; outside a request, as the options alone say.
    """

    def __init__(
        self,
        authority: TokenAuthority,
        options: KeycloakOptions,
        hosts: Hosts,
        provider: Callable[[], Provider],
    ) -> None:
        self._authority = authority
        self._options = options
        self._hosts = hosts
        self._provider = provider
        self.registrar: Registrar | None = None
        self._late = False

    def join(self) -> None:
        """This process is a node of the cluster now. A fork's child has a registrar of its own."""
        if not self._options.register_node_at_startup or not self._authority.active:
            return
        if self.registrar is not None and self.registrar.pid == os.getpid():
            return
        try:
            provider = self._provider()
        except KeycloakError as error:
            logger.warning("this host is not registered as a node: %s", error)
            return
        except ConfigurationError as error:
            logger.error("this host is not registered as a node: %s", error)
            return
        registrar = Registrar(self._authority, self._options, self._hosts, provider)
        try:
            registrar.start()
        except RuntimeError:
            if not self._late:
                logger.warning("%s", NoThread("registering this host as a node"))
            self._late = True
            return
        self.registrar, self._late = registrar, False

    def join_late(self) -> None:
        """After each step of the follower: join, where there was no thread for it before."""
        if self._late:
            self.join()

    def before_login(self) -> None:
        """See :meth:`Registrar.before_login`."""
        if self.registrar is not None:
            self.registrar.before_login()

    def leave(self) -> None:
        """See :meth:`Registrar.leave`."""
        if self.registrar is not None:
            self.registrar.leave()
