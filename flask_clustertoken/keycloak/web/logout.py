"""Logout: at both ends, by way of the browser (RP-initiated logout)."""

from __future__ import annotations

import logging
from urllib.parse import urlencode

from flask import redirect, request
from werkzeug.wrappers import Response

from ...errors import StoreError
from ...extension import own_request_token, safe_target
from ..errors import KeycloakUnavailable
from ..sessions import request_state
from ..state import KeycloakState

logger = logging.getLogger(__name__)


def logout_response(state: KeycloakState, target: str | None = None) -> Response:
    """Log out, and what to answer the browser with: RP-initiated logout at Keycloak."""
    target = safe_target(target, request.script_root + state.options.after_logout)
    by_redirect = state.options.logout == "session"
    mine = request_state()
    mine.by_redirect = by_redirect
    try:
        own_request_token().logout()
    except StoreError:
        # The answer is 503, so no browser ends the session: we do.
        if by_redirect and mine.ended is not None:
            state.logout_sync.end_session(mine.ended_tokens)
        raise
    if not by_redirect or mine.ended is None:
        return redirect(target, 303)
    ended = mine.ended_tokens
    # (A target names its whole path, as url_for() does: what the app is mounted at is in it.)
    # (A target of the realm's other hosts is a whole URL.)
    back = request.host_url.rstrip("/") + target if target.startswith("/") else target
    fields = {"client_id": state.options.client_id, "post_logout_redirect_uri": back}
    # (Without the hint Keycloak asks the person, and ends the session of this browser.)
    if ended is not None and ended.id_token:
        fields["id_token_hint"] = ended.id_token
    try:
        return redirect(f"{state.provider().endpoints().end_session}?{urlencode(fields)}", 303)
    except KeycloakUnavailable as error:
        logger.warning("logged out here, but not at Keycloak: %s", error)
        return redirect(target, 303)
