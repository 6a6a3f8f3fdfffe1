"""Arrival: somebody comes back from Keycloak's login page; all that they bring is verified."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...clock import Clock
from ...oidc import NotGenuine, time_in
from ...tokens import validation
from ..errors import KeycloakRefused
from ..options import KeycloakOptions
from ..protocol import Provider, TokenSet, claims
from ..protocol.claims import Roles
from . import labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login under way. Its ``repr`` hides what nobody else may know."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    target: str
    redirect_uri: str
    began_at: float


def begin(target: str, redirect_uri: str, clock: Clock) -> PendingLogin:
    """A new one; each value is random and used once."""
    state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    verifier = secrets.token_urlsafe(48)
    return PendingLogin(state, nonce, verifier, target, redirect_uri, clock.time())


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom Keycloak vouches for, with what our own login token is made of."""

    subject: str
    claims: dict[str, Any]
    labels: tuple[str, ...]
    authenticated_at: float | None
    tokens: TokenSet
    roles: Roles


def arrive(
    provider: Provider,
    options: KeycloakOptions,
    pending: PendingLogin,
    code: str,
    *,
    not_before: float,
    now: float,
) -> Arrival:
    """Exchange *code* and verify all that comes of it.

    Raises :class:`NotGenuine`, :class:`KeycloakRefused` or :class:`KeycloakUnavailable`.
    """
    session_state = secrets.token_urlsafe(18)
    fields = {"client_session_state": session_state, "client_session_host": options.node_host}
    tokens = provider.exchange(
        code, redirect_uri=pending.redirect_uri, verifier=pending.verifier, session=fields
    )
    identity = _identity(provider, options, pending, tokens, now)
    # A user's own not-before comes with the response, and concerns this user alone.
    if identity["iat"] < max(not_before, tokens.not_before):
        raise KeycloakRefused("stale", "the login is older than a not-before")
    access = _access(provider, options, tokens, identity["sub"], now)
    auth_time = time_in(identity, "auth_time")
    return Arrival(
        subject=identity["sub"],
        claims=_claims(identity, access, options),
        labels=_labels(provider.issuer, options.client_id, session_state, identity.get("sid")),
        authenticated_at=min(auth_time, now) if auth_time is not None else None,
        tokens=tokens,
        roles=claims.roles_in(access),
    )


def _identity(
    provider: Provider,
    options: KeycloakOptions,
    pending: PendingLogin,
    tokens: TokenSet,
    now: float,
) -> dict[str, Any]:
    """The claims of the ID token, which is for this very login."""
    header, identity = provider.keys.verify(tokens.id_token, urgent=True)
    claims.check_id_token(
        header,
        identity,
        issuer=provider.issuer,
        client_id=options.client_id,
        nonce=pending.nonce,
        access_token=tokens.access_token,
        now=now,
    )
    return identity


def _access(
    provider: Provider, options: KeycloakOptions, tokens: TokenSet, subject: str, now: float
) -> dict[str, Any]:
    """The claims of the access token, which is *subject*'s."""
    _, access = provider.keys.verify(tokens.access_token, urgent=True)
    # A lightweight access token names nobody. It came with this ID token, over our own line.
    access = {"sub": subject, **access}
    claims.check_access_token(
        access,
        issuer=provider.issuer,
        options=replace(options, verify_token_audience=False),
        now=now,
    )
    if access["sub"] != subject:
        raise NotGenuine("access token and ID token are of different people")
    return access


def _labels(issuer: str, client_id: str, session_state: str, sid: Any) -> tuple[str, ...]:
    """By what the login can be ended: Keycloak's session, where it names one, and our own."""
    own = labels.session_label(issuer, client_id, session_state)
    if not isinstance(sid, str) or not sid:
        logger.warning("the ID token names no session (sid): only k_logout can end this login")
        return (own,)
    made = (labels.sid_label(issuer, sid), own)
    try:
        validation.labels(made)
    except ValueError as error:
        raise NotGenuine(f"the session's id cannot be one ({error})") from error
    return made


def _claims(
    identity: Mapping[str, Any], access: Mapping[str, Any], options: KeycloakOptions
) -> dict[str, Any]:
    principal = identity.get(options.principal_attribute) or access.get(options.principal_attribute)
    found = {"principal": str(principal or identity["sub"])}
    for name in ("name", "preferred_username", "email"):
        if isinstance(identity.get(name), str):
            found[name] = identity[name]
    return found
