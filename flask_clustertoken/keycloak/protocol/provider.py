"""Provider: one realm at one address. Discovery, keys, and every call that we make to it.

Authlib builds and sends what OAuth 2.0 and OpenID Connect define (authorization URL with
PKCE, token requests, the ways in which a client authenticates); requests carries it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ... import forks
from ...backoff import Backoff
from ...clock import Clock
from ...oidc import Remembered, SigningKeys, equip
from ..errors import KEYCLOAK, KeycloakRefused, KeycloakUnavailable, SessionEnded
from ..options import KeycloakOptions

#: Seconds for which discovery's answer is believed without asking again.
DISCOVERY_LIFETIME = 86_400.0
#: Seconds between two attempts while it cannot be read.
DISCOVERY_PAUSE = 1.0
#: Seconds after a time-out in which nothing is asked that can wait; more after each further one,
#: up to as many again as the second says.
SILENCE, LONGER_SILENCE = 10.0, 60.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What discovery says."""

    issuer: str
    authorization: str
    token: str
    end_session: str
    jwks: str


@dataclass(frozen=True, slots=True)
class TokenSet:
    """A token response. Its ``repr`` hides the texts."""

    access_token: str
    refresh_token: str
    id_token: str
    #: Seconds; 0: not said.
    expires_in: int
    not_before: int

    def __repr__(self) -> str:
        return f"TokenSet(expires_in={self.expires_in}, <hidden>)"


class Provider:
    """Keycloak's realm as seen from here. Safe for threads; opens nothing before its first call."""

    def __init__(self, options: KeycloakOptions, *, front: str, back: str, clock: Clock) -> None:
        self.options = options
        #: The address that browsers use, and the one that we use.
        self.front, self.back = front, back
        self._endpoints = Remembered(
            KEYCLOAK,
            "discovery",
            self._discover,
            clock=clock,
            lifetime=DISCOVERY_LIFETIME,
            pause=DISCOVERY_PAUSE,
        )
        self._session: Any = None
        self._clock = clock
        self._silent_until = float("-inf")
        self._silences = Backoff(SILENCE, LONGER_SILENCE, free=1)
        self.keys = SigningKeys(
            KEYCLOAK,
            self._fetch_keys,
            clock=clock,
            pause=options.min_time_between_jwks_requests,
            lifetime=options.public_key_cache_ttl,
        )

    def forget(self) -> None:
        """In a fork's child: the parent's connections and locks are not ours."""
        self._session = None
        self._endpoints.forget_locks()
        self.keys.forget_locks()

    # -- discovery ---------------------------------------------------------------------

    @property
    def realm_url(self) -> str:
        return f"{self.back}/realms/{quote(self.options.realm, safe='')}"

    def endpoints(self) -> Endpoints:
        """What discovery says, read once a day. Raises :class:`KeycloakUnavailable`."""
        return self._endpoints.get()

    def _discover(self) -> Endpoints:
        said = self._get(f"{self.realm_url}/.well-known/openid-configuration", "discovery")
        names = {
            "issuer": "issuer",
            "authorization": "authorization_endpoint",
            "token": "token_endpoint",
            "end_session": "end_session_endpoint",
            "jwks": "jwks_uri",
        }
        found = {key: said.get(name) for key, name in names.items()}
        if not all(isinstance(one, str) and one.startswith("http") for one in found.values()):
            raise KeycloakUnavailable("what answers at auth-server-url is no Keycloak realm")
        issuer = str(found["issuer"])
        if unquote(urlsplit(issuer).path.rpartition("/")[2]) != self.options.realm:
            raise KeycloakUnavailable("discovery names the issuer of another realm")
        endpoints = Endpoints(**{key: str(one) for key, one in found.items()})
        if self.front == self.back:
            return endpoints
        # Browsers go to the front, we to the back, whatever address discovery was asked at.
        return Endpoints(
            issuer,
            self._at(self.front, endpoints.authorization),
            self._at(self.back, endpoints.token),
            self._at(self.front, endpoints.end_session),
            self._at(self.back, endpoints.jwks),
        )

    def _at(self, base: str, url: str) -> str:
        _, separator, rest = url.partition("/realms/")
        return f"{base}/realms/{rest}" if separator else url

    @property
    def issuer(self) -> str:
        return self.endpoints().issuer

    def _fetch_keys(self) -> Any:
        return self._get(self.endpoints().jwks, "its list of keys")

    def _get(self, url: str, what: str) -> dict[str, Any]:
        from requests import RequestException

        try:
            answer = self._oauth().request("GET", url, withhold_token=True)
            answer.raise_for_status()
            found = answer.json()
        except (RequestException, ValueError) as error:
            raise KEYCLOAK.failed(what, error) from error
        if not isinstance(found, dict):
            raise KeycloakUnavailable(f"Keycloak: {what} is no JSON object")
        return found

    # -- OAuth -------------------------------------------------------------------------

    def _oauth(self) -> Any:
        """Authlib's client. One for all threads: nothing of a request is kept in it."""
        if self._session is None:
            from authlib.integrations.requests_client import OAuth2Session

            class Client(OAuth2Session):  # type: ignore[misc]
                """Each answer is handed on and forgotten; cookies are not kept."""

                def parse_response_token(self, resp: Any) -> Any:
                    found = resp.json()
                    if not isinstance(found, dict):
                        raise ValueError("no JSON object")
                    if "error" in found:
                        raise self.oauth_error_class(
                            error=found["error"], description=found.get("error_description")
                        )
                    resp.raise_for_status()
                    return found

            options = self.options
            session = Client(
                options.client_id,
                options.secret or None,
                token_endpoint_auth_method=options.client_auth,
                code_challenge_method="S256",
                scope=options.scope,
            )
            if options.client_auth == "client_secret_jwt":
                from authlib.oauth2.rfc7523 import ClientSecretJWT

                session.register_client_auth_method(
                    ClientSecretJWT(self.realm_url, alg=options.secret_algorithm)
                )
            equip(session, options)
            from http.cookiejar import DefaultCookiePolicy

            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._session = session
        return self._session

    def authorization_url(
        self, redirect_uri: str, *, state: str, nonce: str, verifier: str, **more: str
    ) -> str:
        """Where to send a browser that shall log in."""
        url, _ = self._oauth().create_authorization_url(
            self.endpoints().authorization,
            state=state,
            code_verifier=verifier,
            redirect_uri=redirect_uri,
            nonce=nonce,
            **more,
        )
        return str(url)

    def exchange(
        self, code: str, *, redirect_uri: str, verifier: str, session: Mapping[str, str]
    ) -> TokenSet:
        """The tokens for *code*. *session*: ``client_session_state`` and ``…_host``."""
        return self._tokens(
            "the exchange of the code",
            lambda client: client.fetch_token(
                self.endpoints().token,
                grant_type="authorization_code",
                code=code,
                redirect_uri=redirect_uri,
                code_verifier=verifier,
                **session,
            ),
        )

    def refresh(self, refresh_token: str, *, session: Mapping[str, str]) -> TokenSet:
        """New tokens. Raises :class:`SessionEnded` where Keycloak does not know the session."""
        return self._tokens(
            "the refresh",
            # (Authlib's refresh_token() answers by way of an attribute that threads share.)
            lambda client: client.fetch_token(
                self.endpoints().token,
                grant_type="refresh_token",
                refresh_token=refresh_token,
                **session,
            ),
        )

    @property
    def silent(self) -> bool:
        """Whether Keycloak did not answer a moment ago, so that the next one would wait too."""
        return self._clock.monotonic() < self._silent_until

    def _tokens(self, what: str, call: Any) -> TokenSet:
        from authlib.integrations.base_client import OAuthError
        from requests import ConnectionError, RequestException, Timeout

        try:
            said = call(self._oauth())
            self._silent_until = float("-inf")
            self._silences.reset()
        except OAuthError as error:
            raise _refused(str(error.error), str(error.description or "")) from error
        except (RequestException, ValueError, TypeError) as error:
            if isinstance(error, (ConnectionError, Timeout)):
                silence = SILENCE + self._silences.next()
                self._silent_until = self._clock.monotonic() + silence
            raise KEYCLOAK.failed(what, error) from error
        return _token_set(said, what)

    def end_session(self, refresh_token: str) -> None:
        """End the session at Keycloak. It calls every client's logout URL before it answers."""
        self._post(
            f"{self.realm_url}/protocol/openid-connect/logout",
            "the logout",
            refresh_token=refresh_token,
        )

    def register_node(self, host: str) -> None:
        self._node("register-node", host)

    def unregister_node(self, host: str) -> None:
        self._node("unregister-node", host)

    def _node(self, action: str, host: str) -> None:
        self._post(
            f"{self.realm_url}/clients-managements/{action}", action, client_cluster_host=host
        )

    def _post(self, url: str, what: str, **form: str) -> None:
        from requests import RequestException

        client = self._oauth()
        try:
            auth = client.client_auth(client.token_endpoint_auth_method)
            answer = client.request("POST", url, withhold_token=True, data=form, auth=auth)
        except (RequestException, ValueError) as error:
            raise KEYCLOAK.failed(what, error) from error
        if answer.status_code in (200, 204):
            return
        try:
            said = answer.json()
            code, description = said["error"], said.get("error_description")
        except (ValueError, KeyError, TypeError):
            raise KeycloakUnavailable(f"Keycloak: {what} answered {answer.status_code}") from None
        raise _refused(str(code), str(description or ""))


def _refused(code: str, description: str) -> KeycloakRefused:
    # What Keycloak says goes into a log line: one line, not long.
    code, description = (" ".join(one.split())[:200] for one in (code, description))
    if code == "invalid_grant":
        return SessionEnded(code, description)
    return KeycloakRefused(code, description)


def _token_set(said: Mapping[str, Any], what: str) -> TokenSet:
    def text(name: str) -> str:
        found = said.get(name, "")
        if not isinstance(found, str):
            raise KeycloakUnavailable(f"Keycloak: {what} gave a {name} that is no text")
        return found

    def number(name: str) -> int:
        found = said.get(name, 0)
        return int(found) if isinstance(found, int) and not isinstance(found, bool) else 0

    found = TokenSet(
        text("access_token"),
        text("refresh_token"),
        text("id_token"),
        number("expires_in"),
        number("not-before-policy"),
    )
    if not found.access_token:
        raise KeycloakUnavailable(f"Keycloak: {what} gave no access token")
    return found


#: Origins that one app is reached by: TRUSTED_HOSTS may name a whole domain.
ORIGINS_LIMIT = 32


class Providers:
    """The providers of one app: one, unless ``auth-server-url`` is relative."""

    def __init__(self, options: KeycloakOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._known: dict[tuple[str, str], Provider] = {}
        _all.add(self)

    def at(self, origin: str) -> Provider:
        """The provider for a request to *origin* (``scheme://host``, already trusted)."""
        options = self._options
        front, back = options.auth_server_url, options.backend_url
        if front.startswith("/"):
            front = (origin + front).rstrip("/")
        if back.startswith("/"):
            back = (origin + back).rstrip("/")
        back = back or front
        key = (front, back)
        found = self._known.get(key)
        if found is None:
            for oldest in list(self._known)[: len(self._known) - ORIGINS_LIMIT + 1]:
                self._known.pop(oldest, None)
            found = self._known[key] = Provider(options, front=front, back=back, clock=self._clock)
        return found

    def forget_keys(self) -> None:
        """Fetch the keys again at the next use: some may have been withdrawn."""
        for one in list(self._known.values()):
            one.keys.forget()

    def forget(self) -> None:
        for one in list(self._known.values()):
            one.forget()


_all: weakref.WeakSet[Providers] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
