"""Keycloak: the adapter object. It builds the parts for an app and stands between them."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import Any

from flask import Flask, current_app, has_request_context, request
from werkzeug.wrappers import Response

from ..authority import TokenAuthority
from ..errors import ConfigurationError, MissingDriver, StoreError
from ..events import LoginEnding, NodeFresh, NodeLeaving, TokenRenewed, TokenRevoked
from ..extension import AppState, current_handle, state_of
from ..tokens import UNNUMBERED, Token, new_id
from .errors import KeycloakError, NoProviderTokens, SessionEnded
from .nodes.background import Background
from .nodes.hosts import Hosts, Registrar
from .nodes.notbefore import NotBefore
from .options import Options, from_config
from .protocol import claims
from .protocol.origins import Origins
from .protocol.provider import Provider, Providers
from .sessions import labels
from .sessions.companion import Companion, fits
from .sessions.endings import Endings
from .sessions.labels import Keys
from .sessions.sealing import Sealer
from .sessions.vault import ProviderTokens, Vault
from .web import bearer
from .web.login import Arrival, PendingCookie
from .web.receiver import Receiver
from .web.scratch import scratch

logger = logging.getLogger("flask_clustertoken.keycloak")

EXTENSION_KEY = "keycloak"

#: Seconds for which this process goes by the roles that it has seen last.
ROLES_REMEMBERED = 10.0
_ROLES_LIMIT = 10_000


class Keycloak:
    """``Keycloak(app)`` after ``ClusterToken(app)``, or ``init_app(app)``, for any number of apps.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where an option is missing,
    unknown or contradicts another. Calls nobody before the first request.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the app's options, add the adapter's addresses, and listen to the core."""
        for package in ("authlib", "joserfc", "cryptography", "requests"):
            if find_spec(package) is None:
                raise MissingDriver("Keycloak", package, "keycloak")
        if EXTENSION_KEY in app.extensions:
            raise ConfigurationError("init_app", "this app has a Keycloak already.")
        core = state_of(app)
        options = from_config(
            app.config,
            root=app.root_path,
            instance=app.instance_path,
            token_store=core.settings.token_store,
        )
        for name, remedy in options.not_honoured.items():
            logger.warning("keycloak.json: %s is not honoured; %s", name, remedy)
        adapter = Adapter(app, core, options)
        app.extensions[EXTENSION_KEY] = adapter
        adapter.attach(app)


class Adapter:
    """The parts of one app, found in ``app.extensions["keycloak"]``."""

    def __init__(self, app: Flask, core: AppState, options: Options) -> None:
        self.app = app
        self.core = core
        self.options = options
        self.authority: TokenAuthority = core.authority
        keys = Keys(options.realm, options.client_id)
        sealer = Sealer(self.authority.keys)
        self.providers = Providers(options, self.authority.clock)
        self.origins = Origins(app, options, self.providers)
        self.not_before = NotBefore(self.authority, keys, self.providers.forget_keys)
        self.receiver = Receiver(self.authority, options, keys, self.not_before)
        self.vault = Vault(self.authority, options, keys, sealer)
        self.companion = Companion(core.settings, sealer)
        self.hosts = Hosts(self.authority, options, keys)
        self.background = Background()
        self.endings = Endings(self)
        self.pending = PendingCookie(
            core.settings,
            lambda: request.script_root + options.url_prefix,
            sealer,
            self.authority.clock,
        )
        self.registrar: Registrar | None = None
        self._is_complete = False
        self._roles: dict[str, tuple[float, claims.Roles]] = {}

    def attach(self, app: Flask) -> None:
        """Everything by which the app and the core know of us."""
        from .commands import attach_commands
        from .web.views import ANSWERS, exempt_from_csrf, make_blueprint, unauthorized

        app.register_blueprint(make_blueprint(self))
        exempt_from_csrf(app)
        app.before_request(self._complete)
        app.before_request(self._refresh_always)
        app.after_request(self._send_cookies)
        for error, answer in ANSWERS.items():
            app.register_error_handler(error, answer)
        self.core.middleware.bearer_verifiers.append(bearer.verifier(self))
        # (Of this app: the extension may serve others, which have no Keycloak.)
        self.core.handle_unauthorized = unauthorized
        events = self.authority.events
        events.listen(LoginEnding, self.endings.login_ending)
        events.listen(TokenRevoked, self.endings.login_ended)
        events.listen(TokenRenewed, self.endings.token_renewed)
        events.listen(NodeFresh, self._joined)
        events.listen(NodeLeaving, self._leaving)
        attach_commands(app)

    def _complete(self) -> None:
        """With the first request: what was added to the app after us has to know of us too.

        (Its own hooks run after this one, since they were added later.)
        """
        if not self._is_complete:
            from .web.views import exempt_from_csrf

            exempt_from_csrf(self.app)
            self._is_complete = True

    def provider(self) -> Provider:
        """Keycloak, as this request reaches it. Raises :class:`KeycloakUnavailable` where the
        request names a host that is not ours."""
        return self.origins.provider()

    # -- coming and going of the process -----------------------------------------------

    def _joined(self, _: NodeFresh) -> None:
        if not self.options.register_node_at_startup or not self.authority.active:
            return
        if self.registrar is None or self.registrar.pid != os.getpid():
            try:
                provider = self.provider()
            except KeycloakError as error:
                logger.warning("this host is not registered as a node: %s", error)
                return
            except ConfigurationError as error:
                logger.error("this host is not registered as a node: %s", error)
                return
            self.registrar = Registrar(self.authority, self.options, self.hosts, provider)
            self.registrar.start()

    def _leaving(self, _: NodeLeaving) -> None:
        self.background.drain()
        if self.registrar is not None:
            self.registrar.leave()

    # -- a login's tokens --------------------------------------------------------------

    def keep(self, arrival: Arrival) -> dict[str, Any]:
        """Before the login is issued: put the tokens where they belong; gives its claims."""
        label = labels.login_label(arrival.labels)
        assert label is not None
        tokens = ProviderTokens.of(arrival.tokens, self.authority.clock.time())
        with_roles = {**arrival.claims, **arrival.roles.to_claims()}
        if self.vault.where == "cookie" and self._set_companion(label, tokens):
            # The roles are in the companion too, so they may be left out where they are many.
            return with_roles if fits(with_roles) else dict(arrival.claims)
        self.vault.keep(label, tokens)
        return with_roles if self.vault.where == "session" or fits(with_roles) else arrival.claims

    def unkeep(self, arrival: Arrival) -> None:
        """The login was not issued after all."""
        scratch().cookies = None
        label = labels.login_label(arrival.labels)
        assert label is not None
        try:
            self.vault.drop(label)
        except StoreError:
            logger.info("the sealed tokens of a login that was not made stay until they expire")

    def is_revoked(self, arrival: Arrival) -> bool:
        """Whether its labels are, so that no login with them can be made any more."""
        now = int(self.authority.clock.time())
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
        return self.authority.verdict.ended(probe) is not None

    def _set_companion(self, label: str, tokens: ProviderTokens, persistent: bool = True) -> bool:
        headers = self.companion.headers(request.environ, label, tokens, persistent=persistent)
        if headers is None:
            scratch().cookies = self.companion.clearing(request.environ)
            return False
        scratch().cookies = headers
        scratch().tokens[label] = tokens
        return True

    def _send_cookies(self, response: Response) -> Response:
        handle = current_handle()
        if handle is not None and handle.looked and scratch().cookies is None:
            self.endings.ask_before_renewal()
        for header in scratch().cookies or ():
            response.headers.add("Set-Cookie", header)
            response.headers["Cache-Control"] = "no-store"
        return response

    def login(self) -> tuple[Token, str]:
        """The request's login and its label. Raises :class:`NoProviderTokens`."""
        handle = current_handle()
        token = handle.token if handle is not None else None
        if isinstance(token, Token) and token.kind == "login":
            label = labels.login_label(token.labels)
            if label is not None:
                return token, label
        raise NoProviderTokens("nobody is logged in with Keycloak")

    def cookie_tokens(self, label: str) -> ProviderTokens | None:
        """What the browser carries, or what this request has put there already."""
        if self.vault.where != "cookie" or not has_request_context():
            return None
        found = scratch().tokens.get(label)
        return found if found is not None else self.companion.read(request.environ, label)

    def current_tokens(self) -> ProviderTokens | None:
        """The tokens of the request's login as they are; nothing is refreshed."""
        _, label = self.login()
        return self.cookie_tokens(label) or self.vault.read(label)

    def access_token(self, *, forced: bool = False, voluntary: bool = False) -> str:
        """See :func:`~flask_clustertoken.keycloak.keycloak_token`."""
        presented = bearer.presented(request.environ)
        if presented is not None:
            return presented
        token, label = self.login()
        done = scratch().refreshed.get(label)
        if done is not None:
            return done
        cookie = self.cookie_tokens(label)
        try:
            tokens = self.vault.refresh(
                self.provider(),
                token,
                label,
                cookie,
                least=float(self.options.token_minimum_time_to_live),
                forced=forced or self.options.always_refresh_token,
                voluntary=voluntary,
            )
        except SessionEnded:
            self.endings.end_login(token, label)
            raise
        if cookie is not None and tokens.number != cookie.number:
            self._took_over(token, label, tokens)
        scratch().refreshed[label] = tokens.access_token
        self._remember_roles(label, tokens)
        return tokens.access_token

    def _took_over(self, token: Token, label: str, tokens: ProviderTokens) -> None:
        if not self._set_companion(label, tokens, token.persistent):
            # It has outgrown the cookies: from here on the store keeps it.
            self.vault.keep_on(label, tokens)

    def _refresh_always(self) -> None:
        if not self.options.always_refresh_token or request.blueprint == "keycloak":
            return
        if request.endpoint in (None, "static"):
            return
        try:
            self.login()
        except NoProviderTokens:
            return
        try:
            self.access_token(forced=True, voluntary=True)
        except SessionEnded:
            handle = current_handle()
            if handle is not None:
                # Looks again: the login was good a moment ago.
                handle.policy(strict=True)
        except (KeycloakError, StoreError) as error:
            # No reason to throw anybody out before the login's own end.
            logger.warning("the token was not refreshed on this request: %s", error)

    # -- roles -------------------------------------------------------------------------

    def roles(self) -> frozenset[str]:
        """The current roles: of a bearer token, of the last refreshed access token, or as at
        login."""
        handle = current_handle()
        token = handle.token if handle is not None else None
        if not isinstance(token, Token):
            return frozenset()
        at_login = claims.roles_from_claims(token.claims)
        label = labels.login_label(token.labels)
        if token.kind == "login" and label is not None:
            found = self._refreshed_roles(label)
            if found is not None:
                return found.mine(self.options)
        return at_login.mine(self.options) if at_login is not None else frozenset()

    def _refreshed_roles(self, label: str) -> claims.Roles | None:
        cookie = self.cookie_tokens(label)
        if cookie is not None:
            return _roles_of(cookie)
        now = self.authority.clock.monotonic()
        until, roles = self._roles.get(label, (float("-inf"), None))
        if roles is not None and now < until:
            return roles
        try:
            tokens = self.vault.read(label)
        except StoreError:
            return roles
        if tokens is None:
            return None
        return self._remember_roles(label, tokens)

    def _remember_roles(self, label: str, tokens: ProviderTokens) -> claims.Roles:
        roles = _roles_of(tokens)
        if len(self._roles) >= _ROLES_LIMIT:
            self._roles.clear()
        until = self.authority.clock.monotonic() + ROLES_REMEMBERED
        self._roles[label] = (until, roles)
        return roles


def _roles_of(tokens: ProviderTokens) -> claims.Roles:
    """The roles in an access token that was verified when it came."""
    return claims.roles_in(bearer.unverified_claims(tokens.access_token))


def current_adapter() -> Adapter:
    """The adapter of the current app; :class:`RuntimeError` where there is none."""
    found = current_app.extensions.get(EXTENSION_KEY)
    if not isinstance(found, Adapter):
        raise RuntimeError("Keycloak was not initialised for this app; call Keycloak(app) first")
    return found
