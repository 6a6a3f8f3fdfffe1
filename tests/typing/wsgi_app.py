"""A WSGI app as its author types it; only read, by mypy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask_clustertoken import ClusterTokenMiddleware, Refusal, Settings, Token, TokenAuthority
from flask_clustertoken.wsgi import RequestToken

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    request_token: RequestToken = environ["clustertoken"]
    found: Token | Refusal = request_token.token
    if isinstance(found, Refusal):
        start_response("401 Unauthorized", [("Content-Type", "text/plain")])
        return [found.reason.encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [found.subject.encode()]


def verify(text: str, environ: dict[str, Any]) -> Token | Refusal | None:
    return Refusal("expired") if text == "old" else None


application = ClusterTokenMiddleware(site, store="memory:", lifetime=3600, token_store="cookie")
application.bearer_verifiers.append(verify)
server_sees: WSGIApplication = application

authority = TokenAuthority(Settings(store="memory:"))
shared = ClusterTokenMiddleware(site, authority)
authority.revoke_all().confirm()
