"""Revocation: ``/revoke``, by which a service ends a token that it holds (RFC 7009)."""

from __future__ import annotations

from typing import Any

from ..authority import TokenAuthority
from ..tokens import Token
from .callers import ApiCallers
from .confirming import confirmed
from .introspection import kind_of
from .options import GatewayOptions
from .replies import Reply, unavailable

#: The scope that a caller needs.
SCOPE = "revoke"

_DONE = Reply(200)


class RevocationEndpoint:
    """Ends the token whose text is sent; 200 once no node accepts it any more."""

    def __init__(
        self, authority: TokenAuthority, options: GatewayOptions, callers: ApiCallers
    ) -> None:
        self._authority = authority
        self._timeout = options.confirm_timeout
        self._callers = callers

    def __call__(self, environ: dict[str, Any]) -> Reply:
        form = self._callers.form(environ, SCOPE)
        if isinstance(form, Reply):
            return form
        text = form["token"]
        authority = self._authority
        found = authority.authenticate(text, kind_of(authority, text))
        if isinstance(found, Token):
            token = found
            return confirmed(lambda: authority.end(token), self._timeout, _DONE)
        if found.reason in ("stale", "locked", "unproven", "unbound"):
            # It may be good again: a lock is taken away, a node becomes fresh; or it is good where
            # its device is.
            token_id = found.token_id
            if token_id is None:
                return unavailable("The token cannot be checked at the moment, so it stands.")
            return confirmed(lambda: authority.revoke_ids([token_id]), self._timeout, _DONE)
        # RFC 7009, 2.2: what is no token, or none any more, is as the caller wants it.
        return _DONE
