"""Introspection: ``/introspect``, by which a service asks what a token is good for (RFC 7662)."""

from __future__ import annotations

from math import floor
from typing import Any

from ..authority import TokenAuthority
from ..tokens import Refusal, Token, TokenKind
from .callers import ApiCallers
from .options import GatewayOptions
from .replies import Reply, unavailable

#: The scope that a caller needs.
SCOPE = "introspect"

#: Of what is refused nothing more is said, whatever the reason: RFC 7662, 2.2.
_INACTIVE = Reply(200, {"active": False})


class Introspection:
    """Says what a text is good for, and for how long that may be believed."""

    def __init__(
        self, authority: TokenAuthority, options: GatewayOptions, callers: ApiCallers
    ) -> None:
        self._authority = authority
        self._longest = options.max_age
        self._callers = callers

    def __call__(self, environ: dict[str, Any]) -> Reply:
        form = self._callers.form(environ, SCOPE)
        if isinstance(form, Reply):
            return form
        text = form["token"]
        # The lease's end is taken first: what is judged behind it holds until then at least.
        lease_end = self._lease_end()
        # (Of a login that is bound to a device both texts are needed: one alone is a copy's.)
        proofs = [form["bound_token"]] if form.get("bound_token") else []
        kind = kind_of(self._authority, text)
        found = self._authority.authenticate(text, kind, proofs=proofs)
        if isinstance(found, Refusal):
            if found.reason == "stale":
                return unavailable("The token cannot be checked at the moment.")
            return _INACTIVE
        proving, until = self._authority.proving, float("inf")
        if found.bound:
            until = proving.proven_until(found, proofs)
        elif proving.required:
            until = proving.unbound_until(found)
        return self._active(found, lease_end, until)

    def _lease_end(self) -> float:
        follower = self._authority.following
        return float("-inf") if follower is None else follower.lease_end

    def _active(self, token: Token, lease_end: float, until: float) -> Reply:
        clock = self._authority.clock
        left = min(lease_end - clock.monotonic(), until - clock.time())
        if token.expires_at is not None:
            left = min(left, token.expires_at - clock.time())
        if self._longest is not None:
            left = min(left, self._longest)
        # (Whole seconds, and downwards: the way to the caller takes a moment, too.)
        seconds = floor(left) if left >= 1 else 0
        kept = f"private, max-age={seconds}" if seconds else "no-store"
        return Reply(200, _said_of(token), (("Cache-Control", kept),))


def kind_of(authority: TokenAuthority, text: str) -> TokenKind:
    return "api" if authority.wire.looks_like_api(text) else "login"


def _said_of(token: Token) -> dict[str, Any]:
    """RFC 7662, 2.2. The app's claims stand apart: one of them may be called ``active``."""
    said: dict[str, Any] = {
        "active": True,
        "sub": token.subject,
        "jti": token.id,
        "iat": token.issued_at,
        "auth_time": token.authenticated_at,
        "kind": token.kind,
        "claims": token.claims,
    }
    if token.bound:
        said["bound"] = True
    if token.expires_at is not None:
        said["exp"] = token.expires_at
    if token.kind == "api":
        said |= {"token_type": "Bearer", "scope": " ".join(token.scopes), "name": token.name}
    return said
