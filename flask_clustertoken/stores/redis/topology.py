"""Which server is the primary: the one that was named, or the one that the Sentinels name.

A Sentinel that is cut off together with an old primary goes on naming that one. What keeps a
node beside it from vouching is not the Sentinel but the replicas that do not answer. So where no
Sentinel answers at all, the one that was named last is tried.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ...errors import StoreUnavailable
from .driver import Contact, Deadline
from .place import Host, Options, RedisPlace, named

_log = logging.getLogger(__name__)

#: Seconds that one Sentinel has for its answer, before the next is asked.
SENTINEL_PATIENCE = 1.0


def signing_on(options: Options, username: str | None, password: str | None) -> dict[str, Any]:
    """What the driver is told to connect with."""
    said: dict[str, Any] = {"username": username, "password": password, "tls": options.tls}
    if options.tls:
        said |= {
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": options.ca,
            "ssl_certfile": options.cert,
            "ssl_keyfile": options.key,
        }
    return said


class Topology:
    """The servers of a store."""

    def __init__(self, place: RedisPlace, options: Options) -> None:
        self.place = place
        self._options = options
        self._sentinels = list(place.hosts)
        #: Replicas of the primary, the most that a Sentinel has told of.
        self.known_replicas = 0
        self._learnt = False
        self._named: Host | None = None

    @property
    def acknowledging(self) -> int:
        """How many replicas must have a write before it counts."""
        if self._options.replicas is not None:
            return self._options.replicas
        return (self.known_replicas + 1) // 2

    @property
    def moves(self) -> bool:
        """Whether another server may take the primary's place."""
        return bool(self.place.master)

    def learn(self, deadline: Deadline) -> None:
        """Ask the Sentinels once how many replicas there are, before that number is used."""
        if self.moves and not self._learnt:
            self._ask_sentinels(deadline)
            self._learnt = True

    def connect(self, deadline: Deadline) -> Contact:
        """A connection to what is said to be the primary."""
        place, options = self.place, self._options
        host = self._primary(deadline) if place.master else place.hosts[0]
        said = signing_on(
            options, options.username or place.username, options.password or place.password
        )
        return Contact(host, deadline, db=place.db, **said)

    def _primary(self, deadline: Deadline) -> Host:
        """The server that a Sentinel names; where none answers, the one that was named last."""
        last = self._named
        if last is None:
            return self._ask_sentinels(deadline)
        try:
            # (The other half of the time is for that one.)
            return self._ask_sentinels(Deadline(deadline.left() / 2))
        except StoreUnavailable as error:
            _log.info("%s; the last one known is %s", error, named(last))
            return last

    def _ask_sentinels(self, deadline: Deadline) -> Host:
        trouble: list[str] = []
        cause: Exception | None = None
        for sentinel in list(self._sentinels):
            try:
                patience = Deadline(min(SENTINEL_PATIENCE, deadline.left()))
                found = self._ask_sentinel(sentinel, patience)
            except (StoreUnavailable, TimeoutError) as error:
                cause = error
                trouble.append(f"{named(sentinel)} does not answer")
                continue
            if found is not None:
                # The one that answers is asked first the next time.
                self._sentinels = [sentinel, *(one for one in self._sentinels if one != sentinel)]
                self._named = found
                return found
            trouble.append(f"{named(sentinel)} knows no {self.place.master!r}")
        raise StoreUnavailable(f"no Sentinel names the primary: {', '.join(trouble)}") from cause

    def _ask_sentinel(self, sentinel: Host, deadline: Deadline) -> Host | None:
        options = self._options
        said = signing_on(options, options.sentinel_username, options.sentinel_password)
        contact = Contact(sentinel, deadline, **said)
        try:
            (answer,) = contact.ask(deadline, ("SENTINEL", "MASTER", self.place.master))
        finally:
            contact.close()
        if not isinstance(answer, list):
            return None
        told = _pairs(answer)
        self.known_replicas = max(self.known_replicas, int(told.get("num-slaves", 0)))
        return told["ip"], int(told["port"])


def _pairs(answer: list[bytes]) -> Mapping[str, str]:
    texts = [one.decode(errors="replace") for one in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))
