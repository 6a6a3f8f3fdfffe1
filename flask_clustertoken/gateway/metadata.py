"""Metadata: where everything is, under the names of RFC 8414."""

from __future__ import annotations

from typing import Any

from .callers import METHODS
from .options import GatewayOptions
from .original import origin_of
from .peers import Peers
from .replies import Reply
from .signed import TYPE

PATH = "/.well-known/oauth-authorization-server"


class Metadata:
    """Says where to ask. Without ``URL`` by the host that this very request names."""

    def __init__(self, options: GatewayOptions, peers: Peers) -> None:
        self._url = options.url
        self._signed = bool(options.issuer)
        self._peers = peers

    def __call__(self, environ: dict[str, Any]) -> Reply:
        base = self._url or origin_of(environ, self._peers.trusts(environ))
        said: dict[str, Any] = {
            "issuer": base,
            # (Required by RFC 8414, 2; nobody is authorised here.)
            "response_types_supported": [],
            "grant_types_supported": [],
            "scopes_supported": ["introspect", "revoke"],
            "introspection_endpoint": f"{base}/introspect",
            "introspection_endpoint_auth_methods_supported": METHODS,
            "revocation_endpoint": f"{base}/revoke",
            "revocation_endpoint_auth_methods_supported": METHODS,
            "global_token_revocation_endpoint": f"{base}/global-token-revocation",
            "global_token_revocation_endpoint_auth_methods_supported": [
                *METHODS,
                *([TYPE] if self._signed else []),
            ],
        }
        return Reply(200, said)
