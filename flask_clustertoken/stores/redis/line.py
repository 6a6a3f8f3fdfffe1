"""One process's connections to the primary, and scripts run over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ...errors import StoreUnavailable
from .driver import PASSWORD_WANTED, Command, Contact, Deadline, Lost
from .scripts import Script
from .topology import Topology

#: Connections that are kept while nobody uses them.
IDLE = 16

#: Seconds that the replicas have for their acknowledgement. With the second between two looks
#: of a node this is less than SETTLE_AFTER_FAILOVER: whoever is at an old primary finds out,
#: and publishes what it knows at the new one, before anybody vouches there.
PATIENCE = 3.0

#: Of a call's seconds, those that the replicas' acknowledgement leaves for the answer's way.
RESERVE = 0.1


class NotPrimary(StoreUnavailable):
    """The server is a replica now; nothing was done."""


class PrimaryLine:
    """Connections that are used by one thread at a time. Made in the process that uses it."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._idle: deque[Contact] = deque()

    def ask(self, deadline: Deadline, *commands: Command, again: bool = False) -> list[Any]:
        """The answers to *commands*, sent at once to the primary; a refusal is an answer too.

        *again*: it does no harm to send them twice, where a connection turns out to be gone.
        """
        contact, fresh = self._take(deadline)
        try:
            answers = contact.ask(deadline, *commands)
        except Lost as lost:
            # (The others are no better, and the next call asks anew who is the primary.)
            self.drop()
            if fresh or not lost.broken or not again:
                raise
            return self.ask(deadline, *commands)
        if len(self._idle) < IDLE:
            self._idle.append(contact)
        else:
            contact.close()
        return answers

    def run(
        self,
        deadline: Deadline,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        acknowledged: bool = False,
        again: bool = False,
    ) -> list[Any]:
        """What *script* answers.

        *acknowledged*: only once enough replicas have what it wrote. Raises
        :class:`NotPrimary` where the server is a replica.
        """
        wait = self.topology.acknowledging if acknowledged else 0
        told = (len(keys), *keys, *args)
        for name, what in (("EVALSHA", script.digest), ("EVAL", script.text)):
            commands: list[Command] = [(name, what, *told)]
            if wait:
                left = min(PATIENCE, max(0.05, deadline.left() - RESERVE))
                commands.append(("WAIT", wait, int(left * 1000)))
            answer, *waited = self.ask(deadline, *commands, again=again)
            if not isinstance(answer, Exception):
                if waited and answer[0] == b"ok":
                    self._count(waited[0], wait)
                return list(answer)
            if not str(answer).startswith("NOSCRIPT") and "NoScript" not in type(answer).__name__:
                raise refused(answer, script.name)
        raise StoreUnavailable(f"the Redis server forgets the script {script.name!r} at once")

    def _count(self, answer: Any, wanted: int) -> None:
        if isinstance(answer, Exception):
            raise refused(answer, "WAIT")
        if int(answer) < wanted:
            self.drop()
            raise StoreUnavailable(
                f"{answer} of the {wanted} replicas that must have it acknowledged a write in "
                "time: it may be lost in a fail-over, so it does not count"
            )

    def _take(self, deadline: Deadline) -> tuple[Contact, bool]:
        while True:
            try:
                contact = self._idle.pop()
            except IndexError:
                return self.topology.connect(deadline), True
            if contact.usable:
                return contact, False
            contact.close()

    def drop(self) -> None:
        """Close what nobody uses: the next call asks anew who is the primary."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def abandon(self) -> None:
        """In a fork's child: the sockets are the parent's too, so nothing is said over them."""
        self._idle = deque()


def refused(error: Exception, what: str) -> StoreUnavailable:
    """What a server's refusal means for the caller. (Its text names no value of ours.)"""
    text, kind = str(error), type(error).__name__
    if kind == "ReadOnlyError" or "READONLY" in text:
        found: StoreUnavailable = NotPrimary("the Redis server is a replica")
    elif "NOREPLICAS" in text or "enough good replicas" in text:
        found = StoreUnavailable(
            "the Redis server has too few replicas at the moment (min-replicas-to-write)"
        )
    elif "NOAUTH" in text or "uthentication required" in text or "unauthenticated" in text:
        found = StoreUnavailable(PASSWORD_WANTED)
    elif "OOM" in text or "used memory" in text:
        found = StoreUnavailable(
            "the Redis server is out of memory (maxmemory in its redis.conf): it takes nothing new"
        )
    elif "MOVED" in text or kind == "MovedError" or "CROSSSLOT" in text:
        found = StoreUnavailable(
            "the Redis server belongs to a Redis Cluster, which this store does not use"
        )
    else:
        found = StoreUnavailable(f"the Redis server refused {what!r}: {text}")
    found.__cause__ = error
    return found
