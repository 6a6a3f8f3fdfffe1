"""Scratch: what the adapter remembers within one request.

In the request's environ and not in ``flask.g``: that belongs to the app context, which a test or
a command may keep open over the requests of several people.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import has_request_context, request

from ..sessions.vault import ProviderTokens

_ENVIRON_KEY = "clustertoken.keycloak.scratch"


@dataclass(slots=True)
class Scratch:
    """By a login's label where it concerns one: a request may end one login and make another."""

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


def scratch() -> Scratch:
    """That of the current request; one that is forgotten at once where there is none."""
    if not has_request_context():
        return Scratch()
    found = request.environ.get(_ENVIRON_KEY)
    if not isinstance(found, Scratch):
        found = request.environ[_ENVIRON_KEY] = Scratch()
    return found
