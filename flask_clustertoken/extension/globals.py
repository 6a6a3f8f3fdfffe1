"""``current_token``: whoever is logged in with this request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import current_app, has_request_context, request

from ..tokens import MISSING, Refusal, Token, TokenKind
from ..wsgi import ENVIRON_KEY, RequestToken
from .acting import acting
from .state import current_state, this_request

_USER_KEY = "clustertoken.user"


def current() -> Token | Refusal:
    """The request's token, or why there is none. Outside a request there is none."""
    try:
        request_token = this_request().environ.get(ENVIRON_KEY)
    except RuntimeError:
        request_token = None
    if isinstance(request_token, RequestToken):
        return request_token.look()
    token = acting.get()
    return token if token is not None else MISSING


class CurrentToken:
    """The request's token; falsy when nobody is logged in, and then its fields are ``None``.

    The first look at it, once a request, judges what the request carries. Never raises for a
    store in trouble: then it is falsy and :attr:`refusal` says ``stale``.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return isinstance(current(), Token)

    def __repr__(self) -> str:
        return f"<current_token {current()!r}>"

    @property
    def token(self) -> Token | None:
        """The :class:`~flask_clustertoken.tokens.Token` itself."""
        found = current()
        return found if isinstance(found, Token) else None

    @property
    def refusal(self) -> Refusal | None:
        """Why what was presented was not accepted; ``None`` when somebody is logged in."""
        found = current()
        return found if isinstance(found, Refusal) else None

    def still(self, strict: bool = False) -> bool:
        """Whether the token is good now: asks the view once more, with *strict* the store.

        For what an app does long after its first look: behind a body that came slowly, between
        the pieces of a stream. Once it is not good any more, ``current_token`` is falsy for the
        rest of the request. Never raises for a store in trouble (:attr:`refusal`: ``stale``).
        """
        try:
            request_token = this_request().environ.get(ENVIRON_KEY)
        except RuntimeError:
            request_token = None
        return (
            request_token.still(strict) if isinstance(request_token, RequestToken) else bool(self)
        )

    @property
    def id(self) -> str | None:
        return token.id if isinstance(token := current(), Token) else None

    @property
    def subject(self) -> str | None:
        return token.subject if isinstance(token := current(), Token) else None

    @property
    def kind(self) -> TokenKind | None:
        return token.kind if isinstance(token := current(), Token) else None

    @property
    def bound(self) -> bool:
        """Whether the login is bound to a device."""
        return token.bound if isinstance(token := current(), Token) else False

    @property
    def device(self) -> str | None:
        """What the login was made on; ``""``: not known."""
        return token.device if isinstance(token := current(), Token) else None

    @property
    def claims(self) -> Mapping[str, Any]:
        return token.claims if isinstance(token := current(), Token) else {}

    @property
    def labels(self) -> tuple[str, ...]:
        return token.labels if isinstance(token := current(), Token) else ()

    @property
    def scopes(self) -> tuple[str, ...]:
        return token.scopes if isinstance(token := current(), Token) else ()

    @property
    def issued_at(self) -> int | None:
        return token.issued_at if isinstance(token := current(), Token) else None

    @property
    def authenticated_at(self) -> int | None:
        return token.authenticated_at if isinstance(token := current(), Token) else None

    @property
    def expires_at(self) -> int | None:
        return token.expires_at if isinstance(token := current(), Token) else None

    @property
    def user(self) -> Any:
        """What the ``user_loader`` gives for this token, asked once a request; else ``None``."""
        token = self.token
        if token is None or not has_request_context():
            return None
        # In the request's own dictionary: `g` is shared by all requests that a test makes
        # within one application context.
        loaded_for, user = request.environ.get(_USER_KEY, (None, None))
        if loaded_for != token.id:
            load = current_state().callbacks.load_user
            user = current_app.ensure_sync(load)(token) if load is not None else None
            request.environ[_USER_KEY] = (token.id, user)
        return user


#: Whoever is logged in with this request; also in templates.
current_token = CurrentToken()
