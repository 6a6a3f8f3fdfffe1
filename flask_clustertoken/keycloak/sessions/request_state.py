"""Request state: what the adapter remembers within one request.

In the request's environ and not in ``flask.g``: that belongs to the app context, which a test or
a command may keep open over the requests of several people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import has_request_context, request

from .token_store import ProviderTokens

_ENVIRON_KEY = "clustertoken.keycloak.request"


@dataclass(slots=True)
class RequestState:
    """By a login's label where it concerns one: a request may end one login and make another."""

    #: The access token of Keycloak's that this request was accepted with, as a bearer.
    bearer: str | None = None
    #: The companion cookies to send; ``None``: the browser keeps what it has.
    cookies: list[str] | None = None
    #: Tokens that go to the browser with this response.
    tokens: dict[str, ProviderTokens] = field(default_factory=dict)
    #: Access tokens that were handed out.
    refreshed: dict[str, str] = field(default_factory=dict)
    #: Whether the browser will be sent to Keycloak's logout page.
    by_redirect: bool = False
    #: The login that this request is just ending, until the store knows of it.
    ending: str | None = None
    #: The login that this request ended, and its tokens as far as they are known.
    ended: str | None = None
    ended_tokens: ProviderTokens | None = None


def state_in(environ: dict[str, Any]) -> RequestState:
    """That of the request with this *environ*."""
    found = environ.get(_ENVIRON_KEY)
    if not isinstance(found, RequestState):
        found = environ[_ENVIRON_KEY] = RequestState()
    return found


def request_state() -> RequestState:
    """That of the current request; one that is forgotten at once where there is none."""
    return state_in(request.environ) if has_request_context() else RequestState()
