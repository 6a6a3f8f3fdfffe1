"""Shared signals: a transmitter tells of ended sessions and accounts (OpenID SSF, CAEP, RISC)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Literal

from flask import Flask

from ..authority import TokenAuthority
from ..errors import ConfigurationError, MissingDriver
from ..extension import state_of
from ..oidc import checked_url, in_clear
from .acting import Acting
from .arguments import (
    checked_audience,
    checked_function,
    checked_limits,
    checked_seconds,
    checked_types,
    checked_urls,
)
from .authorization import Credentials
from .events import ENDS, TOLD
from .labels import login_labels
from .listening import Listening
from .push import PushAddress
from .receiving import Receiving
from .records import StreamRecords
from .routes import Addresses, checked_name
from .signals import stream_heard, stream_silent, tell
from .stream import Stream
from .subjects import Finder, FindSubject
from .transmitter import Transmitter
from .wanted import WantedStream

EXTENSION_KEY = "clustertoken_signals"


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What ``init_app`` built for one stream of one app."""

    transmitter: Transmitter
    records: StreamRecords
    listening: Listening


class SharedSignals:
    """Security events of *transmitter* end logins, and are told to the app as signals.

    ``SharedSignals(app, transmitter="https://login.example", credentials=…)`` after
    ``ClusterToken(app)``, or ``init_app(app)``; one for each stream, each with a *name* of its own.

    *transmitter*: its issuer, spelled as it spells it. *delivery* ``"poll"`` (RFC 8936): one node
    of the cluster asks it every *poll_every* seconds. ``"push"`` (RFC 8935): it sends to
    ``/<name>/events`` of this app, *push_url* as it reaches it, and each time with the header
    ``Authorization: <push_authorization>``.

    *credentials*: an access token, a function that gives one, or :class:`ClientCredentials`. With
    them the stream is made, kept as it should be, polled, and asked for a verification every
    *verify_every* seconds. Without, it is one that somebody has set up: it needs *audience* (whom
    its tokens are for). *stream_id* and *poll_url* name one that is there.

    *ends* are the types of event that end logins, *events* all that are asked for: lists of whole
    URIs, as in ``providers.ENDS`` and ``TOLD``. *about* lists other issuers of whose subjects and
    sessions it may speak, *find_subject* gives the app's own subject (or several) for a subject
    identifier; where it raises, the event comes again. *remember* (seconds or a ``timedelta``):
    for how long the ids of events are kept; older events are refused. *silent_after* seconds
    without a word it counts as silent: three missed verifications, unless said.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where an argument is wrong or
    missing, :class:`~flask_clustertoken.errors.MissingDriver` without the extra ``oidc``. Asks
    nobody before this process is a node of the cluster.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        transmitter: str,
        delivery: Literal["poll", "push"] = "poll",
        credentials: Credentials | None = None,
        audience: str | Collection[str] = (),
        push_url: str = "",
        push_authorization: str = "",
        stream_id: str = "",
        poll_url: str = "",
        ends: Collection[str] = ENDS,
        events: Collection[str] = ENDS | TOLD,
        about: Collection[str] = (),
        find_subject: FindSubject | None = None,
        name: str = "signals",
        url_prefix: str | None = None,
        remember: float | timedelta = timedelta(days=30),
        poll_every: float = 5.0,
        verify_every: float = 300.0,
        silent_after: float = 0.0,
        timeout: float = 10.0,
        ca_bundle: str = "",
        proxy_url: str = "",
    ) -> None:
        self.transmitter = checked_url("transmitter", transmitter)
        self.name = checked_name(name)
        self._url_prefix = url_prefix
        self._credentials = credentials
        self._audience = checked_audience(audience)
        self._about = checked_urls("about", about)
        self._find_subject: FindSubject | None = checked_function("find_subject", find_subject)
        self._ends = checked_types("ends", ends)
        seconds = remember.total_seconds() if isinstance(remember, timedelta) else remember
        self._remember = checked_seconds("remember", seconds, 3600)
        self._reach = checked_limits(timeout, proxy_url, ca_bundle, most=3600)
        self._wanted = WantedStream(
            name,
            delivery,
            checked_types("events", events) | self._ends,
            push_url=push_url,
            authorization=push_authorization,
            stream_id=stream_id,
            poll_url=poll_url,
            poll_every=checked_seconds("poll_every", poll_every, 1),
            verify_every=checked_seconds("verify_every", verify_every, 10),
            silent_after=checked_seconds("silent_after", silent_after, 0),
        )
        managed = credentials is not None
        self._wanted.check(managed=managed, audience=self._audience)
        if managed and in_clear(transmitter):
            raise ConfigurationError(
                "transmitter",
                "the credentials would be sent to it without encryption.",
                "Use https (plain http is for a transmitter on this host).",
            )
        if app is not None:
            self.init_app(app)

    def labels(self, userinfo: Mapping[str, Any]) -> tuple[str, ...]:
        """For ``login(…, labels=…)``: by what the transmitter can end this login.

        *userinfo*: the claims of the ID token, of *transmitter* or of an issuer in *about*; the
        same labels as :meth:`BackChannelLogout.labels` gives for it. Raises :class:`ValueError`.
        """
        known = (*self._about, self.transmitter)
        said = userinfo.get("iss", known[0])
        return login_labels(said if said in known else known[0], userinfo)

    def init_app(self, app: Flask) -> None:
        """Add the address for pushes to *app*, and begin when it becomes a node."""
        for package in ("joserfc", "cryptography", "requests"):
            if find_spec(package) is None:
                raise MissingDriver("SharedSignals", package, "oidc")
        parts = self._build(app, state_of(app).authority)
        app.extensions.setdefault(EXTENSION_KEY, {})[self.name] = parts
        parts.listening.attach()

    def _build(self, app: Flask, authority: TokenAuthority) -> StreamParts:
        clock, wanted = authority.clock, self._wanted
        transmitter = Transmitter(
            self.transmitter, clock=clock, reach=self._reach, credentials=self._credentials
        )
        records = StreamRecords(authority, self.name, self.transmitter, wanted.by)
        acting = Acting(
            app,
            authority,
            transmitter.peer,
            Finder(self.transmitter, self._about, self._find_subject),
            root=records.root,
            ends=self._ends,
            remember=self._remember,
        )
        receiving = Receiving(
            transmitter,
            records,
            acting,
            clock,
            audience=self._audience,
            remember=self._remember,
        )
        addresses = Addresses(self.name, self._url_prefix)
        if wanted.by == "push":
            pushed = PushAddress(app, transmitter, receiving, wanted.authorization)
            addresses.add("/events", "events", pushed.answer, "POST")
        addresses.register(app)

        def tell_silence(seconds: float | None) -> None:
            said = {"name": self.name, "transmitter": self.transmitter}
            if seconds is None:
                tell(stream_heard, app, **said)
            else:
                tell(stream_silent, app, **said, seconds=seconds)

        def make() -> Stream:
            return Stream(authority, transmitter, records, receiving, wanted, tell_silence)

        return StreamParts(transmitter, records, Listening(authority, make))


def stream_parts(app: Flask, name: str = "signals") -> StreamParts:
    """What was built for the stream *name* of *app*; :class:`RuntimeError` where there is none."""
    found = app.extensions.get(EXTENSION_KEY, {}).get(name)
    if not isinstance(found, StreamParts):
        raise RuntimeError(f"this app has no SharedSignals called {name!r}")
    return found
