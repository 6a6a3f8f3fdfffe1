"""An issuer of our own: signs whatever a test wants, and answers whatever it says.

Keycloak never sends what is wrong. For that, a realm of ours with a real HTTP server and real
keys stands in its place.
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

Answer = Callable[[Request], Response]


_KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})


def _b64(data: Any) -> bytes:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class Issuer:
    """The realm ``demo`` at :attr:`url`. ``with Issuer() as issuer:``"""

    def __init__(self) -> None:
        self.key = _KEY
        #: What is listed; another key may sign.
        self.listed = [self.key]
        #: What the token endpoint answers; by default an error.
        self.token: Answer = lambda request: self.json({"error": "invalid_grant"}, 400)
        #: What the list of keys is answered with.
        self.certs: Answer = lambda request: self.json(KeySet(self.listed).as_dict(private=False))
        #: Replaces every answer (a server that has gone mad).
        self.mad: Answer | None = None
        self.asked: list[str] = []
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/demo"

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @staticmethod
    def json(data: Any, status: int = 200) -> Response:
        return Response(json.dumps(data), status, mimetype="application/json")

    def _app(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        self.asked.append(request.path)
        return self._respond(request)(environ, start_response)

    def _respond(self, request: Request) -> Response:
        if self.mad is not None:
            return self.mad(request)
        oidc = f"{self.issuer}/protocol/openid-connect"
        if request.path.endswith("/.well-known/openid-configuration"):
            return self.json(
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{oidc}/auth",
                    "token_endpoint": f"{oidc}/token",
                    "end_session_endpoint": f"{oidc}/logout",
                    "jwks_uri": f"{oidc}/certs",
                }
            )
        if request.path.endswith("/certs"):
            return self.certs(request)
        if request.path.endswith("/token"):
            return self.token(request)
        return Response(status=204)

    # -- texts -------------------------------------------------------------------------

    def sign(self, claims: dict[str, Any], *, key: Any = None, **header: Any) -> str:
        key = key or self.key
        made = {"typ": "JWT", "alg": "RS256", "kid": key.kid, **header}
        made = {name: value for name, value in made.items() if value is not ...}
        odd = made.keys() - {"typ", "alg", "kid"}
        if odd or not all(isinstance(value, str) for value in made.values()):
            return self._sign_by_hand(made, claims, key)
        # (By hand: joserfc's own encoder cannot spell what a test wants to say.)
        said = json.dumps(claims).encode()
        return jws.serialize_compact(made, said, key, algorithms=["RS256", "RS512"])

    def _sign_by_hand(self, header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        """With a header that no library makes."""
        signed = b".".join([_b64(header), _b64(claims)])
        signature = key.private_key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return b".".join([signed, _b64(signature)]).decode()

    def forge_none(self, claims: dict[str, Any]) -> str:
        """``alg: none``, without a signature."""
        return b".".join([_b64({"alg": "none", "kid": "one"}), _b64(claims), b""]).decode()

    def forge_symmetric(self, claims: dict[str, Any]) -> str:
        """HS256 with the public key as the secret: what a careless verifier accepts."""
        public = self.key.as_pem(private=False)
        # (joserfc refuses to make such a key; an attacker does not ask it.)
        signed = b".".join([_b64({"alg": "HS256", "kid": "one", "typ": "JWT"}), _b64(claims)])
        return b".".join([signed, _b64(hmac.digest(public, signed, "sha256"))]).decode()

    def admin_message(self, kind: str = "LOGOUT", /, **changes: Any) -> dict[str, Any]:
        """The claims of a good one; a change to ``...`` leaves the claim out."""
        claims = {
            "id": f"message-{time.time_ns()}",
            "expiration": int(time.time()) + 30,
            "resource": "app",
            "action": kind,
        }
        if kind == "LOGOUT":
            claims |= {"adapterSessionIds": ["state-1"], "notBefore": 0}
            claims |= {"keycloakSessionIds": ["sid-1"]}
        if kind == "PUSH_NOT_BEFORE":
            claims["notBefore"] = int(time.time())
        claims |= changes
        return {name: value for name, value in claims.items() if value is not ...}

    def logout_token(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good one; a change to ``...`` leaves the claim out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "app",
            "iat": now,
            "exp": now + 120,
            "jti": f"jti-{time.time_ns()}",
            "sub": "alice",
            "sid": "sid-1",
            "typ": "Logout",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
        claims |= changes
        return {name: value for name, value in claims.items() if value is not ...}

    def access_token(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "account",
            "azp": "app",
            "sub": "alice",
            "sid": "sid-1",
            "typ": "Bearer",
            "iat": now,
            "exp": now + 300,
            "jti": f"jti-{time.time_ns()}",
            "scope": "openid profile",
            "preferred_username": "alice",
            "realm_access": {"roles": ["editor"]},
            "resource_access": {"app": {"roles": ["cook"]}},
        }
        claims |= changes
        return {name: value for name, value in claims.items() if value is not ...}

    def id_token(self, nonce: str, /, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "app",
            "azp": "app",
            "sub": "alice",
            "sid": "sid-1",
            "typ": "ID",
            "iat": now,
            "exp": now + 300,
            "auth_time": now - 5,
            "nonce": nonce,
            "name": "Alice Anders",
        }
        claims |= changes
        return {name: value for name, value in claims.items() if value is not ...}
