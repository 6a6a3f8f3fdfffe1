"""Bearer: Keycloak's own access tokens, beside the API tokens of this library."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ...authority import TokenAuthority
from ...errors import StoreError
from ...oidc import NotGenuine, time_in
from ...tokens import UNNUMBERED, Refusal, Token, subject_tag
from ...wsgi import BearerVerifier
from ..errors import KeycloakUnavailable
from ..nodes import NotBefore
from ..options import KeycloakOptions
from ..protocol import Provider
from ..protocol.claims import Expired, check_access_token, roles_in
from ..sessions import labels, state_in


def bearer_verifier(
    provider_of: Callable[[], Provider],
    not_before: NotBefore,
    authority: TokenAuthority,
    options: KeycloakOptions,
) -> BearerVerifier:
    """Judges a text of ``Authorization: Bearer``: a token, a refusal, or "not mine"."""

    def verify(text: str, environ: dict[str, Any]) -> Token | Refusal | None:
        if text.count(".") != 2 or not text.startswith("ey"):
            return None
        found = judged(text)
        if isinstance(found, Token):
            state_in(environ).bearer = text
        return found

    def judged(text: str) -> Token | Refusal:
        try:
            provider = provider_of()
            pushes = not_before.changes
            _, claims = provider.keys.verify(text)
            check_access_token(
                claims, issuer=provider.issuer, options=options, now=authority.clock.time()
            )
            found = authority.judge_foreign(_token(claims, provider.issuer, options))
            # Only now does this node know of every not-before that was pushed.
            if found and pushes != not_before.changes:
                # With such a push Keycloak says that keys may be withdrawn: this one, perhaps.
                provider.keys.verify(text)
            if found and claims["iat"] < not_before.remembered().for_bearers:
                why = "issued before the not-before that Keycloak pushed"
                return Refusal("revoked", why, found.id, found.subject)
        except Expired as error:
            return Refusal("expired", str(error))
        except NotGenuine as error:
            return Refusal("invalid", str(error))
        except (KeycloakUnavailable, StoreError) as error:
            return Refusal("stale", str(error), cause=error)
        return found

    return verify


def _token(claims: dict[str, Any], issuer: str, options: KeycloakOptions) -> Token:
    subject = claims["sub"]
    sid = claims.get("sid")
    principal = claims.get(options.principal_attribute)
    scope = claims.get("scope")
    issued_at = int(claims["iat"])
    auth_time = time_in(claims, "auth_time")
    named = {
        name: claims[name]
        for name in ("name", "preferred_username", "email", "azp")
        if isinstance(claims.get(name), str)
    }
    return Token(
        id=_id(subject, str(claims.get("jti") or json.dumps(claims, sort_keys=True))),
        subject=subject,
        kind="api",
        issued_at=issued_at,
        authenticated_at=int(auth_time) if auth_time is not None else issued_at,
        expires_at=int(claims["exp"]),
        claims={"principal": str(principal or subject), **named, **roles_in(claims).to_claims()},
        labels=(labels.sid_label(issuer, sid),) if isinstance(sid, str) and sid else (),
        scopes=tuple(scope.split()) if isinstance(scope, str) else (),
        name="keycloak",
        created_by=issuer,
        since=UNNUMBERED,
    )


def _id(subject: str, jti: str) -> str:
    """The form of our own ids, so that it can be revoked like one of ours."""
    raw = subject_tag(subject) + sha256(jti.encode()).digest()[:16]
    return base64.urlsafe_b64encode(raw).decode()
