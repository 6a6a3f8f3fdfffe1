"""Authorization: by what a transmitter knows us where we ask it for something (RFC 6750)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock
from ..oidc import Calls

#: Seconds before its end from which on an access token is not used any more.
SPARE = 30.0

#: Seconds for which one is used that does not say for how long it is good.
UNSAID = 300.0


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client of the transmitter's authorization server (RFC 6749, 4.4). ``repr`` hides it."""

    client_id: str
    client_secret: str = field(repr=False)
    scope: str = "ssf.read ssf.manage"
    #: Left out: where the document of *issuer* (OpenID Connect Discovery) says.
    token_endpoint: str = ""
    #: Left out: the transmitter.
    issuer: str = ""


#: An access token, what gives one, or what one is got with.
Credentials = str | Callable[[], str] | ClientCredentials


class AccessTokens:
    """Gives the header of a request, with a token that is good; safe for threads."""

    def __init__(
        self, credentials: Credentials, calls: Calls, transmitter: str, clock: Clock
    ) -> None:
        self._credentials = credentials
        self._calls = calls
        self._transmitter = transmitter
        self._clock = clock
        self._text, self._until = "", float("-inf")
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Raises :class:`~flask_clustertoken.oidc.ProviderUnavailable` where none can be had."""
        given = self._credentials
        if isinstance(given, str):
            return {"Authorization": f"Bearer {given}"}
        if not isinstance(given, ClientCredentials):
            return {"Authorization": f"Bearer {given()}"}
        if self._clock.monotonic() >= self._until:
            self._fetch(given)
        return {"Authorization": f"Bearer {self._text}"}

    def forget(self) -> None:
        """The last one was refused: get another before the next request."""
        self._until = float("-inf")

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _fetch(self, given: ClientCredentials) -> None:
        with self._lock:
            began = self._clock.monotonic()
            if began < self._until:
                return
            answer = self._calls.call(
                "POST",
                given.token_endpoint or self._endpoint(given),
                "the access token",
                form={"grant_type": "client_credentials", "scope": given.scope},
                auth=(given.client_id, given.client_secret),
            )
            text = answer.data.get("access_token") if isinstance(answer.data, Mapping) else None
            if answer.status != 200 or not isinstance(text, str) or not text:
                raise self._calls.peer.trouble(
                    f"the access token was refused ({answer.status}{_code(answer.data)})"
                )
            lasts = answer.data.get("expires_in")
            if isinstance(lasts, bool) or not isinstance(lasts, int | float) or lasts <= 0:
                lasts = UNSAID
            self._text = text
            self._until = began + max(lasts - SPARE, lasts / 2)

    def _endpoint(self, given: ClientCredentials) -> str:
        issuer = given.issuer or self._transmitter
        said = self._calls.get(
            f"{issuer.rstrip('/')}/.well-known/openid-configuration", "discovery of token_endpoint"
        )
        found = said.get("token_endpoint")
        if said.get("issuer") != issuer or not isinstance(found, str):
            raise self._calls.peer.trouble("no token_endpoint is known; set it in the credentials")
        return found


def _code(said: Any) -> str:
    """The OAuth error in an answer, for a log line; never what else there is."""
    code = said.get("error") if isinstance(said, Mapping) else None
    fits = isinstance(code, str) and len(code) <= 60 and code.replace("_", "").isalnum()
    return f", {code}" if fits else ""
