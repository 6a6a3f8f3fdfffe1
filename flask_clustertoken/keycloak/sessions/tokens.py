"""Session tokens: the provider's tokens of the login that a request has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import request

from ...authority import TokenAuthority
from ...errors import StoreError
from ...extension import current_request_token
from ...tokens import UNNUMBERED, Token, new_id
from ..errors import NoProviderTokens, SessionEnded
from ..options import KeycloakOptions
from ..protocol import Provider
from . import labels
from .arrival import Arrival
from .carried import CarriedTokens
from .companion import fits
from .refresher import TokenRefresher
from .request_state import request_state, state_in
from .roles import SessionRoles
from .token_store import ProviderTokens, ProviderTokenStore

logger = logging.getLogger(__name__)


class SessionTokens:
    """Puts the tokens of a login where they belong, and hands out those of the request's.

    *provider* gives Keycloak as the current request reaches it.
    """

    def __init__(
        self,
        authority: TokenAuthority,
        options: KeycloakOptions,
        provider: Callable[[], Provider],
        store: ProviderTokenStore,
        refresher: TokenRefresher,
        carried: CarriedTokens,
        roles: SessionRoles,
    ) -> None:
        self._authority = authority
        self._options = options
        self._provider = provider
        self._store = store
        self._refresher = refresher
        self._carried = carried
        self._roles = roles

    # -- a login that is made, or ends -------------------------------------------------

    def keep(self, arrival: Arrival) -> dict[str, Any]:
        """Before the login is issued: put the tokens where they belong; gives its claims."""
        label = labels.login_label(arrival.labels)
        assert label is not None
        tokens = ProviderTokens.of(arrival.tokens, self._authority.clock.time())
        with_roles = {**arrival.claims, **arrival.roles.to_claims()}
        if self._store.where == "cookie" and self._carried.send(label, tokens):
            # The roles are in the companion too, so they may be left out where they are many.
            return with_roles if fits(with_roles) else dict(arrival.claims)
        self._store.keep(label, tokens)
        return with_roles if self._store.where == "session" or fits(with_roles) else arrival.claims

    def unkeep(self, arrival: Arrival) -> None:
        """The login was not issued after all."""
        request_state().cookies = None
        label = labels.login_label(arrival.labels)
        assert label is not None
        try:
            self._store.drop(label)
        except StoreError:
            logger.info("the sealed tokens of a login that was not made stay until they expire")

    def is_revoked(self, arrival: Arrival) -> bool:
        """Whether its labels are, so that no login with them can be made any more."""
        now = int(self._authority.clock.time())
        probe = Token(
            id=new_id(arrival.subject),
            subject=arrival.subject,
            kind="login",
            issued_at=now,
            authenticated_at=now,
            expires_at=None,
            labels=arrival.labels,
            since=UNNUMBERED,
        )
        return self._authority.verdict.ended(probe) is not None

    def end_login(self, token: Token, label: str) -> None:
        """Keycloak does not know the session any more: our login ends, on every node.

        By its id and not by its label: the same session may go on at Keycloak (a refresh token
        was used twice), and a label could never log in again.
        """
        self._authority.revoke_ids([token.id])
        self._store.drop(label)

    # -- the request's login -----------------------------------------------------------

    def login(self) -> tuple[Token, str]:
        """The request's login and its label. Raises :class:`NoProviderTokens`."""
        request_token = current_request_token()
        token = request_token.token if request_token is not None else None
        if isinstance(token, Token) and token.kind == "login":
            label = labels.login_label(token.labels)
            if label is not None:
                return token, label
        raise NoProviderTokens("nobody is logged in with Keycloak")

    def access_token(self, *, forced: bool = False, voluntary: bool = False) -> str:
        """See :func:`~flask_clustertoken.keycloak.keycloak_token`."""
        presented = state_in(request.environ).bearer
        if presented is not None:
            return presented
        token, label = self.login()
        done = request_state().refreshed.get(label)
        if done is not None:
            return done
        carried = self._carried.read(label)
        try:
            tokens = self._refresher.refresh(
                self._provider(),
                token,
                label,
                carried,
                least=float(self._options.token_minimum_time_to_live),
                forced=forced or self._options.always_refresh_token,
                voluntary=voluntary,
            )
        except SessionEnded:
            self.end_login(token, label)
            raise
        if carried is not None and tokens.number != carried.number:
            self._took_over(token, label, tokens)
        request_state().refreshed[label] = tokens.access_token
        self._roles.remember(label, tokens)
        return tokens.access_token

    def _took_over(self, token: Token, label: str, tokens: ProviderTokens) -> None:
        if not self._carried.send(label, tokens, persistent=token.persistent):
            # It has outgrown the cookies: from here on the store keeps it.
            self._store.keep_on(label, tokens)
