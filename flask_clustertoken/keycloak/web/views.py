"""Views: people's addresses. Login, callback, logout; and where all of them are."""

from __future__ import annotations

import logging
from dataclasses import replace

from flask import Blueprint, Flask, current_app, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ...errors import Locked, RevokedMeanwhile
from ...extension import OPEN, client_of, own_request_token, safe_target
from ...oidc import NotGenuine
from ..errors import KeycloakRefused, KeycloakUnavailable, NoProviderTokens
from ..protocol.claims import LOGOUT, PUSH_NOT_BEFORE, TEST_AVAILABILITY
from ..sessions import Arrival, PendingLogin, ProviderTokens, arrive, begin, request_state
from ..state import KeycloakState
from .logout import logout_response
from .messages import ServersViews
from .pages import (
    MEANINGS,
    KeycloakDown,
    KeycloakSaysNo,
    LoginLocked,
    NotOurLogin,
    by_browser,
    home,
    onward,
)
from .pending import TARGET_LIMIT, PendingCookie
from .receiver import Receiver
from .routes import NAME, View

logger = logging.getLogger(__name__)


def make_blueprint(app: Flask, state: KeycloakState) -> Blueprint:
    """The routes of *app*, below ``KEYCLOAK_URL_PREFIX``."""
    authority, options = state.authority, state.options
    blueprint = Blueprint(NAME, __name__, url_prefix=options.url_prefix)
    pending = PendingCookie(
        state.core.settings,
        lambda: request.script_root + options.url_prefix,
        state.sealer,
        authority.clock,
    )
    receiver = Receiver(authority, options, state.keys, state.not_before)
    people = PeoplesViews(state, pending)
    server = ServersViews(app, options, authority.clock, state.origins, receiver)

    def add(path: str, name: str, view: View, *methods: str) -> None:
        # A function of its own each: Flask-WTF exempts views by their name.
        def answer() -> ResponseReturnValue:
            return view()

        answer.__name__ = name
        setattr(answer, OPEN, True)
        blueprint.add_url_rule(path, name, answer, methods=methods, strict_slashes=True)

    if not options.bearer_only:
        add("/login", "login", people.login, "GET")
        add("/callback", "callback", people.callback, "GET")
        add("/logout", "logout", people.logout, "POST")
    add("/k_logout", "k_logout", lambda: server.admin(LOGOUT), "POST")
    add("/k_push_not_before", "k_push_not_before", lambda: server.admin(PUSH_NOT_BEFORE), "POST")
    add("/k_test_available", "k_test_available", lambda: server.admin(TEST_AVAILABILITY), "POST")
    add("/backchannel-logout", "backchannel_logout", server.logout_token, "POST")
    return blueprint


class PeoplesViews:
    """Login, callback, logout."""

    def __init__(self, parts: KeycloakState, pending: PendingCookie) -> None:
        self._parts = parts
        self._pending = pending

    def login(self) -> ResponseReturnValue:
        """To Keycloak's login page; ``next`` names the page to come back to."""
        parts = self._parts
        if client_of(request.environ) in ("follower", "frame"):
            # A script cannot follow to another origin: the browser itself has to come here.
            page = make_response(by_browser())
            page.headers["Cache-Control"] = "no-store"
            return page
        # The first login of all may be the first use of the store, and make the key that seals.
        parts.authority.follower()
        parts.registration.before_login()
        target = safe_target(request.args.get("next"), home())
        if len(target) > TARGET_LIMIT:
            target = home()
        callback = url_for(f"{NAME}.callback", _external=True)
        pending = begin(target, callback, parts.authority.clock)
        try:
            url = parts.provider().authorization_url(
                callback, state=pending.state, nonce=pending.nonce, verifier=pending.verifier
            )
        except KeycloakUnavailable as error:
            logger.warning("a login could not begin: %s", error)
            raise KeycloakDown from error
        answer = redirect(url, 303)
        mine = self._pending.header(pending)
        if not self._pending.fits(request.cookies, mine):
            mine = self._pending.header(replace(pending, target=home()))
        for header in [*self._pending.surplus(request.cookies, mine), mine]:
            answer.headers.add("Set-Cookie", header)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def callback(self) -> ResponseReturnValue:
        """Where Keycloak sends the browser back to."""
        state = request.args.get("state", "")
        self._parts.authority.follower()
        pending = self._pending.read(request.environ, state)
        if pending is None:
            if self._logged_in():
                # The back button, or a tab too many: what was wanted is there already.
                return redirect(home(), 303)
            raise NotOurLogin
        try:
            answer = make_response(self._arrived(pending))
        except HTTPException as error:
            answer = make_response(current_app.handle_user_exception(error))
        ours = self._pending
        crowded_out = ours.crowded_out(request.cookies, state, request_state().cookies or [])
        for header in [ours.clearing(state), *crowded_out]:
            answer.headers.add("Set-Cookie", header)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _logged_in(self) -> bool:
        try:
            self._parts.tokens.login()
        except NoProviderTokens:
            return False
        return True

    def _arrived(self, pending: PendingLogin) -> ResponseReturnValue:
        parts = self._parts
        code = request.args.get("code", "")
        error = request.args.get("error")
        if error is not None or not code:
            raise _said_no(error or "no code")
        # Before the exchange: a logout that falls between here and the login wins.
        since = own_request_token().begin()
        try:
            provider = parts.provider()
            issuer = request.args.get("iss")
            if issuer is not None and issuer != provider.issuer:
                raise NotGenuine("the answer was sent by another issuer (RFC 9207)")
            arrival = arrive(
                provider,
                parts.options,
                pending,
                code,
                not_before=parts.not_before.stored().assigned,
                now=parts.authority.clock.time(),
            )
        except KeycloakUnavailable as trouble:
            logger.warning("a login could not be finished: %s", trouble)
            raise KeycloakDown from trouble
        except KeycloakRefused as trouble:
            logger.info("a login was refused: %s", trouble)
            raise _said_no(trouble.code) from trouble
        except NotGenuine as trouble:
            logger.warning("a login was refused: %s", trouble)
            raise KeycloakSaysNo(
                description="What Keycloak answered could not be accepted. The log of this "
                "server says why."
            ) from trouble
        self._log_in(arrival, since)
        if parts.core.settings.cookie_samesite == "Strict":
            # The redirect would belong to the navigation that Keycloak began, and the browser
            # would leave the cookie out: to Keycloak again, and so on. A page begins a new one.
            return onward(pending.target)
        return redirect(pending.target, 303)

    def _log_in(self, arrival: Arrival, since: int) -> None:
        parts = self._parts
        made = parts.tokens.keep(arrival)
        try:
            own_request_token().login(
                arrival.subject,
                made,
                since=since,
                labels=arrival.labels,
                authenticated_at=arrival.authenticated_at,
            )
        except Locked as error:
            # No log-out: the session is Keycloak's, where the same person may use other apps.
            parts.tokens.unkeep(arrival)
            raise LoginLocked(error) from error
        except RevokedMeanwhile as error:
            parts.tokens.unkeep(arrival)
            if parts.tokens.is_revoked(arrival):
                # Its label stays so. A session that lives on at Keycloak would log in with the
                # same one again and again, so it ends there too. (A mark covers this login only.)
                parts.logout_sync.end_session(ProviderTokens.of(arrival.tokens, 0.0))
            raise KeycloakSaysNo(
                description="This login was ended while it was being made. Please log in again."
            ) from error
        except Exception:
            parts.tokens.unkeep(arrival)
            raise

    def logout(self) -> ResponseReturnValue:
        """Ends the login here and, by way of the browser, the session at Keycloak."""
        return logout_response(self._parts, request.form.get("next"))


def _said_no(code: str) -> KeycloakSaysNo | KeycloakDown:
    if code in ("temporarily_unavailable", "server_error"):
        return KeycloakDown()
    if code in MEANINGS:
        return KeycloakSaysNo(description=MEANINGS[code])
    shown = code if code.replace("_", "").isalnum() and len(code) <= 40 else "unknown error"
    return KeycloakSaysNo(description=f"Keycloak refused the login ({shown}).")
