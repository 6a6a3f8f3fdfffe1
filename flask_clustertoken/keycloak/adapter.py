"""Keycloak: what an app is given to. It builds the parts, and says to the app and the core."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from flask import Flask

from ..errors import ConfigurationError, MissingDriver
from ..events import LoginEnding, NodeFresh, NodeLeaving, TokenRenewed, TokenRevoked
from ..extension import AppState, state_of
from .commands import attach_commands
from .nodes import Hosts, NodeRegistration, NotBefore
from .options import KeycloakOptions, from_config
from .protocol import Background, Origins, Providers
from .sessions import (
    CarriedTokens,
    CompanionCookie,
    Keys,
    LogoutSync,
    ProviderTokenStore,
    Sealer,
    SessionRoles,
    SessionTokens,
    TokenRefresher,
)
from .state import EXTENSION_KEY, KeycloakState
from .web import (
    RefusalAnswers,
    RequestHooks,
    bearer_verifier,
    exempt_from_csrf,
    make_blueprint,
)

logger = logging.getLogger(__name__)


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
        state = build_state(app, core, options)
        app.extensions[EXTENSION_KEY] = state
        listen(state)
        attach(app, state)


def build_state(app: Flask, core: AppState, options: KeycloakOptions) -> KeycloakState:
    """The parts for *app*, from the bottom up. Calls nobody."""
    authority = core.authority
    keys, sealer = Keys(options.realm, options.client_id), Sealer(authority.keys)
    providers, background = Providers(options, authority.clock), Background()
    origins = Origins(app, options, providers)
    hosts = Hosts(authority, options, keys)
    store = ProviderTokenStore(authority, keys, sealer)
    refresher = TokenRefresher(authority, options, keys, store)
    carried = CarriedTokens(store.where, CompanionCookie(core.settings, sealer))
    roles = SessionRoles(options, authority.clock, store, carried)
    tokens = SessionTokens(authority, options, origins.provider, store, refresher, carried, roles)
    return KeycloakState(
        core=core,
        authority=authority,
        options=options,
        keys=keys,
        sealer=sealer,
        providers=providers,
        origins=origins,
        background=background,
        not_before=NotBefore(authority, keys, providers.forget_keys),
        hosts=hosts,
        registration=NodeRegistration(authority, options, hosts, origins.provider),
        provider_tokens=store,
        refresher=refresher,
        carried=carried,
        roles=roles,
        tokens=tokens,
        logout_sync=LogoutSync(
            authority, options, origins.provider, background, store, refresher, carried, tokens
        ),
    )


def listen(state: KeycloakState) -> None:
    """Hear from the core how its logins and this process come and go."""

    def joined(_: NodeFresh) -> None:
        state.registration.join()

    def leaving(_: NodeLeaving) -> None:
        state.background.drain()
        state.registration.leave()

    events = state.authority.events
    events.listen(LoginEnding, state.logout_sync.login_ending)
    events.listen(TokenRevoked, state.logout_sync.login_ended)
    events.listen(TokenRenewed, state.logout_sync.token_renewed)
    events.listen(NodeFresh, joined)
    # What got no thread, tries again.
    state.authority.runtime.after_step += [state.registration.join_late, state.background.start]
    events.listen(NodeLeaving, leaving)


def attach(app: Flask, state: KeycloakState) -> None:
    """Everything by which the app knows of us."""
    hooks, refusals = RequestHooks(app, state), RefusalAnswers(state.options)
    app.register_blueprint(make_blueprint(app, state))
    exempt_from_csrf(app)
    app.before_request(hooks.complete)
    app.before_request(hooks.refresh_always)
    app.after_request(hooks.send_cookies)
    for error, answer in refusals.by_error().items():
        app.register_error_handler(error, answer)
    state.core.middleware.bearer_verifiers.append(
        bearer_verifier(state.origins.provider, state.not_before, state.authority, state.options)
    )
    # (Of this app: the extension may serve others, which have no Keycloak.)
    state.core.handle_unauthorized = refusals.unauthorized
    attach_commands(app)
