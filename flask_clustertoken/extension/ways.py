"""Ways: how each kind of client gets from a page that it may not see to the login view."""

from __future__ import annotations

import logging

from flask import redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError
from werkzeug.wrappers import Response

from .clients import Client, client_of, is_safe
from .redirects import login_url, own_page, page_in_here

logger = logging.getLogger("flask_clustertoken")


def way_to(endpoint: str, error: HTTPException) -> Response | None:
    """What leads whoever is refused with *error* to the login view *endpoint*.

    ``None`` where nothing does, and *error* is the answer: for scripts, to which a page is of no
    use; where the login view itself was refused, which would lead in a circle; and where its
    address cannot be built.
    """
    client = client_of(request.environ)
    if client == "script" or _leads_to_itself(endpoint):
        return None
    try:
        url = login_url(endpoint, _page(client))
    except BuildError as problem:
        logger.error(
            "CLUSTERTOKEN_LOGIN_VIEW: the address of %r cannot be built from here, so the answer "
            "is 401. Let @app.url_defaults give the values that it needs. (%s)",
            endpoint,
            problem,
        )
        return None
    if client in ("htmx", "boosted"):
        # It would follow a redirect itself, and put the login page into a part of the page.
        answer: Response = error.get_response(request.environ)
        answer.headers["HX-Redirect"] = url
        return answer
    # (303: a form's POST becomes a GET of the login page.)
    answer = redirect(url, 302 if is_safe(request.environ) else 303)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _page(client: Client) -> str | None:
    """Where to come back to: to what was asked for, if that is a page that can be asked for
    again; else to the page on which the person was, as far as it is known and of this origin.
    """
    if client in ("navigation", "follower", "boosted") and is_safe(request.environ):
        return own_page(request.environ)
    if client in ("htmx", "boosted"):
        return page_in_here(request.headers.get("HX-Current-URL"))
    return page_in_here(request.headers.get("Referer"))


def _leads_to_itself(endpoint: str) -> bool:
    if endpoint.startswith("."):
        endpoint = f"{request.blueprint}{endpoint}" if request.blueprint else endpoint[1:]
    if endpoint != request.endpoint:
        return False
    logger.error(
        "CLUSTERTOKEN_LOGIN_VIEW: %r needs a login itself, so nobody can log in there. Let it pass "
        "whatever protects it: a decorator, or a function of before_request.",
        endpoint,
    )
    return True
