"""Current: what views ask of their request; the access token, the roles, a logout at both ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import current_app, request
from werkzeug.wrappers import Response

from ..extension import NotEnough, require_token, stands_open
from .state import current_state
from .web import logout_response

View = TypeVar("View", bound=Callable[..., Any])


def keycloak_token() -> str:
    """A valid access token of Keycloak for whoever is logged in with this request.

    Refreshed where it is over or lives less than ``token-minimum-time-to-live`` more, by one
    request at a time for each login over the whole cluster. With a bearer token of Keycloak's
    it is that one. Raises

    * :class:`~flask_clustertoken.keycloak.NoProviderTokens`: nobody is logged in with Keycloak,
      or the login was ended while this request was on its way;
    * :class:`~flask_clustertoken.keycloak.SessionEnded`: Keycloak's session is over, and the
      login has just been ended on every node (both answer 401, or go to the login page);
    * :class:`~flask_clustertoken.keycloak.KeycloakUnavailable`: it does not answer (503); the
      login stays as it is.
    """
    return current_state().tokens.access_token()


def keycloak_roles() -> frozenset[str]:
    """The roles of whoever is logged in: by the last refreshed access token, else as at login.

    Realm roles, or the client's own with ``use-resource-role-mappings``.
    """
    return current_state().roles.current()


def keycloak_logout(target: str | None = None) -> Response:
    """Log out here and at Keycloak; return it from a view.

    The browser goes by way of Keycloak's logout page to *target*, a page of this origin.
    """
    return logout_response(current_state(), target)


def role_required(*roles: str) -> Callable[[View], View]:
    """Protect a view: logged in, and with all of *roles*. Below ``@app.route``."""
    if not roles or not all(isinstance(one, str) for one in roles):
        raise TypeError('role_required takes the names of roles: @role_required("editor")')

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if request.method != "OPTIONS":
                require_token()
                if not set(roles) <= keycloak_roles() and not stands_open():
                    raise NotEnough(description=f"This needs the role {' and '.join(roles)}.")
            return current_app.ensure_sync(view)(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate
