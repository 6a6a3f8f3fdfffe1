"""Claims: what a signed text of Keycloak's must say before it is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...oidc import (
    LATEST_TIME,
    LEEWAY,
    LONGEST_VALIDITY,
    NotGenuine,
    audience_in,
    number_in,
    spelled,
    text_in,
    texts_in,
)
from ..options import KeycloakOptions

# -- ID token --------------------------------------------------------------------------


def check_id_token(
    header: Mapping[str, Any],
    claims: dict[str, Any],
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str,
    now: float,
) -> None:
    """Raise :class:`NotGenuine` unless *claims* are an ID token's for this very login."""
    from authlib.oidc.core import CodeIDToken
    from joserfc.errors import JoseError

    token = CodeIDToken(
        claims,
        dict(header),
        options={
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": client_id},
        },
        params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    try:
        token.validate(now=int(now), leeway=LEEWAY)
    except (JoseError, ValueError, TypeError) as error:
        raise NotGenuine(f"the ID token is not for this login ({error})") from error
    if claims.get("typ") != "ID":
        raise NotGenuine("it is no ID token")
    text_in(claims, "sub")


# -- access token ----------------------------------------------------------------------


def check_access_token(
    claims: Mapping[str, Any], *, issuer: str, options: KeycloakOptions, now: float
) -> None:
    """Raise :class:`NotGenuine` unless *claims* are an access token's that we accept."""
    if claims.get("iss") != issuer:
        raise NotGenuine("issued by somebody else")
    if claims.get("typ") != "Bearer":
        raise NotGenuine("it is no access token")
    text_in(claims, "sub")
    if number_in(claims, "exp") + LEEWAY <= now:
        raise Expired("the access token is over")
    if number_in(claims, "iat") > now + LEEWAY:
        raise NotGenuine("issued in the future")
    if "nbf" in claims and number_in(claims, "nbf") > now + LEEWAY:
        raise NotGenuine("not valid yet")
    if claims.get("sid") is not None:
        text_in(claims, "sid")
    ours = options.client_id
    if (
        options.verify_token_audience
        and ours not in audience_in(claims)
        and (claims.get("azp") != ours)
    ):
        raise NotGenuine("issued for another client")


def unverified_claims(text: str) -> dict[str, Any]:
    """The claims of an access token that came from Keycloak itself; nothing if it is opaque."""
    try:
        payload = text.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Expired(NotGenuine):
    """Genuine, and over."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Realm roles, and the roles of each client that the token was issued for."""

    realm: tuple[str, ...]
    clients: Mapping[str, tuple[str, ...]]

    def mine(self, options: KeycloakOptions) -> frozenset[str]:
        """The roles that the app's checks go by."""
        if options.use_resource_role_mappings:
            return frozenset(self.clients.get(options.client_id, ()))
        return frozenset(self.realm)

    def to_claims(self) -> dict[str, Any]:
        """As claims of our own token."""
        return {
            "realm_roles": list(self.realm),
            "client_roles": {name: list(roles) for name, roles in self.clients.items()},
        }


def roles_in(claims: Mapping[str, Any]) -> Roles:
    """The roles in an access token's *claims*; what has another form counts as none."""

    def of(holder: Any) -> tuple[str, ...]:
        return tuple(sorted(texts_in(holder.get("roles")))) if isinstance(holder, Mapping) else ()

    clients = claims.get("resource_access")
    found = clients.items() if isinstance(clients, Mapping) else ()
    return Roles(
        of(claims.get("realm_access")), {name: roles for name, one in found if (roles := of(one))}
    )


def roles_from_claims(claims: Mapping[str, Any]) -> Roles | None:
    """The roles in our own token's *claims*; ``None`` where they did not fit into it."""
    if "realm_roles" not in claims:
        return None
    clients = claims.get("client_roles", {})
    return Roles(
        tuple(claims["realm_roles"]), {name: tuple(roles) for name, roles in clients.items()}
    )


# -- admin messages --------------------------------------------------------------------

LOGOUT, PUSH_NOT_BEFORE, TEST_AVAILABILITY = "LOGOUT", "PUSH_NOT_BEFORE", "TEST_AVAILABILITY"


@dataclass(frozen=True, slots=True)
class AdminMessage:
    """What a message to the admin URL asks for."""

    id: str
    action: str
    expires_at: float
    #: Ids of sessions as we named them, and as Keycloak does; ``None``: it names none.
    adapter_sessions: tuple[str, ...] | None
    sessions: tuple[str, ...] | None
    not_before: int

    @property
    def for_all(self) -> bool:
        """Whether it logs everybody out."""
        return self.adapter_sessions is None and self.sessions is None


def read_admin_message(
    claims: Mapping[str, Any], *, action: str, client_id: str, now: float
) -> AdminMessage:
    """Raises :class:`NotGenuine`. *action* is what the address stands for: an access token,
    signed with the same key, has none."""
    if claims.get("action") != action:
        raise NotGenuine("it asks for another action")
    ends = number_in(claims, "expiration")
    if ends + LEEWAY <= now:
        raise NotGenuine("it is over")
    if ends > now + LONGEST_VALIDITY:
        raise NotGenuine("it is valid for too long")
    if claims.get("resource") != client_id:
        raise NotGenuine("it is for another client")
    message_id = text_in(claims, "id", 512)
    not_before = 0
    if action == PUSH_NOT_BEFORE or claims.get("notBefore") is not None:
        not_before = int(number_in(claims, "notBefore"))
        if not 0 <= not_before < LATEST_TIME:
            raise NotGenuine("notBefore is no time")
    return AdminMessage(
        message_id,
        action,
        ends,
        _session_ids(claims, "adapterSessionIds"),
        _session_ids(claims, "keycloakSessionIds"),
        not_before,
    )


def _session_ids(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    found = claims.get(name)
    if found is None:
        return None
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) > 10_000:
        raise NotGenuine(f"{name} is no list")
    if not all(isinstance(one, str) and 0 < len(one) <= 512 for one in found):
        raise NotGenuine(f"{name} holds what is no session's id")
    return tuple(spelled(one, name) for one in found)
