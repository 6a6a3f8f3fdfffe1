"""Transmitter: what is spoken with one (OpenID SSF 1.0): its document, keys, streams and polls."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from .. import forks
from ..clock import Clock
from ..oidc import Calls, Peer, ProviderUnavailable, Reach, Remembered, Said, SigningKeys, in_clear
from .authorization import AccessTokens, Credentials

#: Seconds for which the document is believed without asking again, and between two attempts.
DOCUMENT_LIFETIME, DOCUMENT_PAUSE = 3600.0, 1.0

#: Where the document is: as SSF 1.0 says, behind the issuer as some have it, and as it was called
#: before (SSE, and RISC: Google's is there).
_PLACES = ("ssf-configuration", "sse-configuration", "risc-configuration")


class StreamGone(ProviderUnavailable):
    """The transmitter does not know the stream (any more)."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: tokens by their ids, and whether there are more."""

    sets: Mapping[str, str]
    more: bool


class Transmitter:
    """One transmitter, by its issuer's name. Safe for threads; asks nobody before its first use.

    *credentials* ``None``: nothing of it can be managed or polled.
    """

    def __init__(
        self, issuer: str, *, clock: Clock, reach: Reach, credentials: Credentials | None
    ) -> None:
        self.issuer = issuer
        self._calls = Calls(Peer(issuer), reach)
        self._document = Remembered(
            self._calls.peer,
            "its configuration",
            self._discover,
            clock=clock,
            lifetime=DOCUMENT_LIFETIME,
            pause=DOCUMENT_PAUSE,
        )
        self.keys = SigningKeys(self._calls.peer, self._fetch_keys, clock=clock, unnamed=True)
        self._access = credentials and AccessTokens(credentials, self._calls, issuer, clock)
        _all.add(self)

    @property
    def peer(self) -> Peer:
        return self._calls.peer

    def forget(self) -> None:
        """In a fork's child: the parent's locks are not ours."""
        self._document.forget_locks()
        self.keys.forget_locks()
        if self._access:
            self._access.forget_locks()

    # -- discovery ---------------------------------------------------------------------

    def _discover(self) -> Mapping[str, Any]:
        for address in _addresses(self.issuer):
            answer = self._calls.call("GET", address, "its configuration")
            if answer.status == 200 and isinstance(answer.data, Mapping):
                if answer.data.get("issuer") == self.issuer:
                    return answer.data
                raise self.peer.trouble(
                    f"its configuration names another issuer "
                    f"({str(answer.data.get('issuer'))[:200]!r}); set transmitter to exactly that, "
                    "if that is who is meant"
                )
            if answer.status not in (200, 400, 404, 405):
                raise self.peer.trouble(f"its configuration was answered with {answer.status}")
        raise self.peer.trouble("it has no configuration of shared signals")

    def _fetch_keys(self) -> Mapping[str, Any]:
        return self._calls.get(self._named("jwks_uri") or "", "its list of keys")

    def _named(self, name: str) -> str | None:
        """The address that its document calls *name*, if there is one."""
        found = self._document.get().get(name)
        if found is None:
            return None
        if not isinstance(found, str) or not found.startswith(("https://", "http://")):
            raise self.peer.trouble(f"its configuration names no usable {name}")
        return found

    @property
    def can_verify(self) -> bool:
        """Whether it can be asked for a verification event."""
        return bool(self._access) and self._named("verification_endpoint") is not None

    @property
    def can_manage(self) -> bool:
        """Whether its streams can be made and read."""
        return bool(self._access) and self._named("configuration_endpoint") is not None

    @property
    def default_subjects(self) -> str:
        """Of whom its streams tell unless they say else: ``ALL``, ``NONE``, or it does not say."""
        return str(self._document.get().get("default_subjects", ""))

    # -- its management API (SSF 1.0, 8.1) -----------------------------------------------

    def streams(self) -> list[Mapping[str, Any]]:
        """The streams that there are for us."""
        said = self._ask("GET", self._endpoint("configuration_endpoint"), "the list of its streams")
        # (Before the final specification the one stream was answered by itself.)
        listed = said if isinstance(said, list) else [said]
        return [one for one in listed if isinstance(one, Mapping) and one.get("stream_id")]

    def create(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a stream; what it became."""
        return self._stream(
            self._ask("POST", self._endpoint("configuration_endpoint"), "a new stream", wanted)
        )

    def update(self, stream_id: str, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change what *wanted* names; what it became. :class:`StreamGone` where there is none."""
        return self._stream(
            self._ask(
                "PATCH",
                self._endpoint("configuration_endpoint"),
                "the change of the stream",
                {"stream_id": stream_id, **wanted},
            )
        )

    def delete(self, stream_id: str) -> None:
        """Take it away; fine where there is none."""
        address = self._endpoint("configuration_endpoint")
        query = urlencode({"stream_id": stream_id})
        try:
            self._ask("DELETE", f"{address}?{query}", "the end of the stream")
        except StreamGone:
            return

    def status(self, stream_id: str) -> str:
        """``enabled``, ``paused`` or ``disabled``; ``""`` where it does not say."""
        address = self._named("status_endpoint")
        if address is None:
            return ""
        query = urlencode({"stream_id": stream_id})
        said = self._ask("GET", f"{address}?{query}", "the stream's status")
        found = said.get("status") if isinstance(said, Mapping) else None
        return found if isinstance(found, str) and len(found) <= 40 else ""

    def set_status(self, stream_id: str, status: str) -> None:
        body = {"stream_id": stream_id, "status": status}
        self._ask("POST", self._endpoint("status_endpoint"), "the change of status", body)

    def verify(self, stream_id: str, state: str) -> None:
        """Ask for a verification event that says *state*."""
        body = {"stream_id": stream_id, "state": state}
        self._ask("POST", self._endpoint("verification_endpoint"), "the verification", body)

    def _stream(self, said: Any) -> Mapping[str, Any]:
        if not isinstance(said, Mapping) or not isinstance(said.get("stream_id"), str):
            raise self.peer.trouble("what it answers is no stream")
        return said

    # -- poll (RFC 8936) -----------------------------------------------------------------

    def poll(
        self, url: str, *, most: int, ack: Sequence[str], errors: Mapping[str, Mapping[str, str]]
    ) -> Polled:
        """Take what there is, at once, and say what was done with what came before."""
        body: dict[str, Any] = {"maxEvents": most, "returnImmediately": True}
        if ack:
            body["ack"] = list(ack)
        if errors:
            body["setErrs"] = dict(errors)
        said = self._ask("POST", url, "the poll", body)
        if not isinstance(said, Mapping):
            raise self.peer.trouble("the poll was answered with no JSON object")
        sets = said.get("sets", {})
        if not isinstance(sets, Mapping):
            raise self.peer.trouble("the poll was answered with no sets")
        return Polled(
            {jti: text for jti, text in sets.items() if isinstance(text, str)},
            said.get("moreAvailable") is True,
        )

    # -- one request -----------------------------------------------------------------------

    def _endpoint(self, name: str) -> str:
        found = self._named(name)
        if found is None:
            raise self.peer.trouble(f"its configuration names no {name}")
        return found

    def _ask(self, method: str, url: str, what: str, body: Any = None) -> Any:
        if not self._access:
            raise self.peer.trouble(f"{what} needs credentials")
        if in_clear(url):
            raise self.peer.trouble(f"{what} would send the access token without encryption")
        answer = self._calls.call(method, url, what, body, headers=self._access.headers())
        if answer.status == 401:
            # (Perhaps it was withdrawn: once more, with another one.)
            self._access.forget()
            answer = self._calls.call(method, url, what, body, headers=self._access.headers())
        return self._checked(answer, what)

    def _checked(self, answer: Said, what: str) -> Any:
        if answer.status in (200, 201, 202, 204):
            return answer.data
        if answer.status == 404:
            raise StreamGone(f"{self.issuer}: {what} was answered with 404")
        raise self.peer.trouble(f"{what} was answered with {answer.status}")


def _addresses(issuer: str) -> Iterator[str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    for place in _PLACES:
        yield urlunsplit((parts.scheme, parts.netloc, f"/.well-known/{place}{path}", "", ""))
        if path:
            yield urlunsplit((parts.scheme, parts.netloc, f"{path}/.well-known/{place}", "", ""))


_all: weakref.WeakSet[Transmitter] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
