"""Views: the adapter's addresses. People's are here: login, callback, logout."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Blueprint, Flask, current_app, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ...errors import RevokedMeanwhile, StoreError
from ...extension import (
    OPEN,
    NodeNotFresh,
    TokenMissing,
    client_of,
    current_handle,
    own_handle,
    safe_target,
    way_to,
)
from ...tokens import Refusal
from ..errors import (
    KeycloakRefused,
    KeycloakUnavailable,
    NoProviderTokens,
    NotGenuine,
    SessionEnded,
)
from ..protocol.claims import LOGOUT, PUSH_NOT_BEFORE, TEST_AVAILABILITY
from ..sessions.vault import ProviderTokens
from .login import TARGET_LIMIT, Arrival, Pending, arrive, begin
from .messages import ServersViews
from .pages import MEANINGS, KeycloakDown, KeycloakSaysNo, NotOurLogin, by_browser, home, onward
from .scratch import scratch

if TYPE_CHECKING:
    from ..adapter import Adapter

logger = logging.getLogger("flask_clustertoken.keycloak")

#: The blueprint's name: ``url_for("keycloak.login")``.
NAME = "keycloak"

#: The endpoints that Keycloak itself calls.
FOR_KEYCLOAK = ("k_logout", "k_push_not_before", "k_test_available", "backchannel_logout")

View = Callable[[], ResponseReturnValue]

#: By which Keycloak's Java adapters tell a program from a person.
_PROGRAM = (
    ("X-Requested-With", "xmlhttprequest"),
    ("Faces-Request", "partial/"),
    ("SOAPAction", ""),
)


def make_blueprint(adapter: Adapter) -> Blueprint:
    """The routes of *adapter*'s app, below ``KEYCLOAK_URL_PREFIX``."""
    blueprint = Blueprint(NAME, __name__, url_prefix=adapter.options.url_prefix)
    people, server = PeoplesViews(adapter), ServersViews(adapter)

    def add(path: str, name: str, view: View, *methods: str) -> None:
        # A function of its own each: Flask-WTF exempts views by their name.
        def answer() -> ResponseReturnValue:
            return view()

        answer.__name__ = name
        setattr(answer, OPEN, True)
        blueprint.add_url_rule(path, name, answer, methods=methods, strict_slashes=True)

    if not adapter.options.bearer_only:
        add("/login", "login", people.login, "GET")
        add("/callback", "callback", people.callback, "GET")
        add("/logout", "logout", people.logout, "POST")
    add("/k_logout", "k_logout", lambda: server.admin(LOGOUT), "POST")
    add("/k_push_not_before", "k_push_not_before", lambda: server.admin(PUSH_NOT_BEFORE), "POST")
    add("/k_test_available", "k_test_available", lambda: server.admin(TEST_AVAILABILITY), "POST")
    add("/backchannel-logout", "backchannel_logout", server.logout_token, "POST")
    return blueprint


def exempt_from_csrf(app: Flask) -> None:
    """Let Keycloak's messages pass Flask-WTF: they carry a signature instead of a cookie."""
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        for name in FOR_KEYCLOAK:
            csrf.exempt(app.view_functions[f"{NAME}.{name}"])


# -- for people ------------------------------------------------------------------------


class PeoplesViews:
    """Login, callback, logout."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def login(self) -> ResponseReturnValue:
        """To Keycloak's login page; ``next`` names the page to come back to."""
        adapter = self._adapter
        if client_of(request.environ) in ("follower", "frame"):
            # A script cannot follow to another origin: the browser itself has to come here.
            page = make_response(by_browser())
            page.headers["Cache-Control"] = "no-store"
            return page
        # The first login of all may be the first use of the store, and make the key that seals.
        adapter.authority.follower()
        if adapter.registrar is not None:
            adapter.registrar.before_login()
        target = safe_target(request.args.get("next"), home())
        if len(target) > TARGET_LIMIT:
            target = home()
        callback = url_for(f"{NAME}.callback", _external=True)
        pending = begin(target, callback, adapter.authority.clock)
        try:
            url = adapter.provider().authorization_url(
                callback, state=pending.state, nonce=pending.nonce, verifier=pending.verifier
            )
        except KeycloakUnavailable as error:
            logger.warning("a login could not begin: %s", error)
            raise KeycloakDown from error
        answer = redirect(url, 303)
        mine = adapter.pending.header(pending)
        if not adapter.pending.fits(request.cookies, mine):
            mine = adapter.pending.header(replace(pending, target=home()))
        for header in [*adapter.pending.surplus(request.cookies, mine), mine]:
            answer.headers.add("Set-Cookie", header)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def callback(self) -> ResponseReturnValue:
        """Where Keycloak sends the browser back to."""
        state = request.args.get("state", "")
        self._adapter.authority.follower()
        pending = self._adapter.pending.read(request.environ, state)
        if pending is None:
            if self._logged_in():
                # The back button, or a tab too many: what was wanted is there already.
                return redirect(home(), 303)
            raise NotOurLogin
        try:
            answer = make_response(self._arrived(pending))
        except HTTPException as error:
            answer = make_response(current_app.handle_user_exception(error))
        ours = self._adapter.pending
        crowded_out = ours.crowded_out(request.cookies, state, scratch().cookies or [])
        for header in [ours.clearing(state), *crowded_out]:
            answer.headers.add("Set-Cookie", header)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _logged_in(self) -> bool:
        try:
            self._adapter.login()
        except NoProviderTokens:
            return False
        return True

    def _arrived(self, pending: Pending) -> ResponseReturnValue:
        adapter = self._adapter
        code = request.args.get("code", "")
        error = request.args.get("error")
        if error is not None or not code:
            raise _said_no(error or "no code")
        # Before the exchange: a logout that falls between here and the login wins.
        since = own_handle().begin()
        try:
            provider = adapter.provider()
            issuer = request.args.get("iss")
            if issuer is not None and issuer != provider.issuer:
                raise NotGenuine("the answer was sent by another issuer (RFC 9207)")
            arrival = arrive(
                provider,
                adapter.options,
                pending,
                code,
                not_before=adapter.not_before.stored().assigned,
                now=adapter.authority.clock.time(),
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
        if adapter.core.settings.cookie_samesite == "Strict":
            # The redirect would belong to the navigation that Keycloak began, and the browser
            # would leave the cookie out: to Keycloak again, and so on. A page begins a new one.
            return onward(pending.target)
        return redirect(pending.target, 303)

    def _log_in(self, arrival: Arrival, since: int) -> None:
        adapter = self._adapter
        made = adapter.keep(arrival)
        try:
            own_handle().login(
                arrival.subject,
                made,
                since=since,
                labels=arrival.labels,
                authenticated_at=arrival.authenticated_at,
            )
        except RevokedMeanwhile as error:
            adapter.unkeep(arrival)
            if adapter.is_revoked(arrival):
                # Its label stays so. A session that lives on at Keycloak would log in with the
                # same one again and again, so it ends there too. (A mark covers this login only.)
                adapter.endings.end_session(ProviderTokens.of(arrival.tokens, 0.0))
            raise KeycloakSaysNo(
                description="This login was ended while it was being made. Please log in again."
            ) from error
        except Exception:
            adapter.unkeep(arrival)
            raise

    def logout(self) -> ResponseReturnValue:
        """Ends the login here and, by way of the browser, the session at Keycloak."""
        return logout_response(self._adapter, request.form.get("next"))


def logout_response(adapter: Adapter, target: str | None = None) -> Response:
    """Log out, and what to answer the browser with: RP-initiated logout at Keycloak."""
    target = safe_target(target, request.script_root + adapter.options.after_logout)
    by_redirect = adapter.options.logout == "session"
    mine = scratch()
    mine.by_redirect = by_redirect
    try:
        own_handle().logout()
    except StoreError:
        # The answer is 503, so no browser ends the session: we do.
        if by_redirect and mine.ended is not None:
            adapter.endings.end_session(mine.ended_tokens)
        raise
    if not by_redirect or mine.ended is None:
        return redirect(target, 303)
    ended = mine.ended_tokens
    # (A target names its whole path, as url_for() does: what the app is mounted at is in it.)
    # (A target of the realm's other hosts is a whole URL.)
    back = request.host_url.rstrip("/") + target if target.startswith("/") else target
    fields = {"client_id": adapter.options.client_id, "post_logout_redirect_uri": back}
    # (Without the hint Keycloak asks the person, and ends the session of this browser.)
    if ended is not None and ended.id_token:
        fields["id_token_hint"] = ended.id_token
    try:
        return redirect(f"{adapter.provider().endpoints().end_session}?{urlencode(fields)}", 303)
    except KeycloakUnavailable as error:
        logger.warning("logged out here, but not at Keycloak: %s", error)
        return redirect(target, 303)


def _said_no(code: str) -> KeycloakSaysNo | KeycloakDown:
    if code in ("temporarily_unavailable", "server_error"):
        return KeycloakDown()
    if code in MEANINGS:
        return KeycloakSaysNo(description=MEANINGS[code])
    shown = code if code.replace("_", "").isalnum() and len(code) <= 40 else "unknown error"
    return KeycloakSaysNo(description=f"Keycloak refused the login ({shown}).")


def unauthorized(refusal: Refusal) -> ResponseReturnValue:
    """What a protected view answers where nobody is logged in: Keycloak's login page, or 401."""
    from ..adapter import EXTENSION_KEY, Adapter

    adapter = current_app.extensions.get(EXTENSION_KEY)
    by_bearer = request.headers.get("Authorization", "")[:7].lower() == "bearer "
    if (
        not isinstance(adapter, Adapter)
        or adapter.options.bearer_only
        or by_bearer
        or (adapter.options.autodetect_bearer_only and _is_program())
    ):
        raise TokenMissing(refusal)
    refused = TokenMissing(refusal)
    way = way_to(f"{NAME}.login", refused)
    if way is None:
        raise refused
    return way


def _is_program() -> bool:
    return any(
        name in request.headers and request.headers[name].lower().startswith(value)
        for name, value in _PROGRAM
    )


# -- errors of keycloak_token() that a view lets pass ----------------------------------


def _not_logged_in(error: Exception) -> ResponseReturnValue:
    handle = current_handle()
    if handle is not None:
        handle.policy(strict=True)
    try:
        return unauthorized(Refusal("revoked" if isinstance(error, SessionEnded) else "missing"))
    except HTTPException as answer:
        return answer


def _unavailable(error: Exception) -> ResponseReturnValue:
    logger.warning("Keycloak's token was asked for in vain: %s", error)
    return NodeNotFresh(None, "Keycloak does not answer at the moment. Please try again.")


ANSWERS: dict[type[Exception], Callable[[Exception], ResponseReturnValue]] = {
    SessionEnded: _not_logged_in,
    NoProviderTokens: _not_logged_in,
    KeycloakUnavailable: _unavailable,
    KeycloakRefused: _unavailable,
}
