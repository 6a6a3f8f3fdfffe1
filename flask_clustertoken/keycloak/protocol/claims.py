"""Claims: what a signed text of Keycloak's must say before it is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from ..errors import NotGenuine
from ..options import KeycloakOptions

#: Seconds by which Keycloak's clock may differ from ours.
LEEWAY = 30

#: The member of ``events`` that makes a logout token (OpenID Connect Back-Channel Logout 1.0).
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

#: No time lies behind this one.
LATEST_TIME = 2**33

#: Seconds that a message may claim to stay valid: for so long its id has to be remembered.
LONGEST_VALIDITY = 3600


def _number(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise NotGenuine(f"{name} is missing or no number")
    try:
        number = float(found)
    except OverflowError:
        number = inf
    if not isfinite(number):
        # (1e999 in JSON is read as infinity, and NaN is later than nothing.)
        raise NotGenuine(f"{name} is no number that can be meant")
    return number


def time_in(claims: Mapping[str, Any], name: str) -> float | None:
    """The time *name* says, if it says one."""
    try:
        found = _number(claims, name)
    except NotGenuine:
        return None
    return found if 0 <= found < LATEST_TIME else None


def _spelled(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotGenuine(f"{name} holds a character that cannot be spelled") from error
    return text


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _audience(claims: Mapping[str, Any]) -> list[str]:
    found = claims.get("aud")
    return [found] if isinstance(found, str) else _texts(found)


def _text(claims: Mapping[str, Any], name: str, limit: int = 1024) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not found or len(found) > limit:
        raise NotGenuine(f"{name} is missing or no text")
    return _spelled(found, name)


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
    _text(claims, "sub")


# -- access token ----------------------------------------------------------------------


def check_access_token(
    claims: Mapping[str, Any], *, issuer: str, options: KeycloakOptions, now: float
) -> None:
    """Raise :class:`NotGenuine` unless *claims* are an access token's that we accept."""
    if claims.get("iss") != issuer:
        raise NotGenuine("issued by somebody else")
    if claims.get("typ") != "Bearer":
        raise NotGenuine("it is no access token")
    _text(claims, "sub")
    if _number(claims, "exp") + LEEWAY <= now:
        raise Expired("the access token is over")
    if _number(claims, "iat") > now + LEEWAY:
        raise NotGenuine("issued in the future")
    if "nbf" in claims and _number(claims, "nbf") > now + LEEWAY:
        raise NotGenuine("not valid yet")
    if claims.get("sid") is not None:
        _text(claims, "sid")
    ours = options.client_id
    if (
        options.verify_token_audience
        and ours not in _audience(claims)
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
        return tuple(sorted(_texts(holder.get("roles")))) if isinstance(holder, Mapping) else ()

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


# -- logout token ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """What an OpenID Connect logout token asks for."""

    id: str
    subject: str | None
    sid: str | None
    expires_at: float


def read_logout_token(
    header: Mapping[str, Any], claims: Mapping[str, Any], *, issuer: str, client_id: str, now: float
) -> LogoutToken:
    """In the order of section 2.6; raises :class:`NotGenuine`."""
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ.lower() not in (
        "", "jwt", "logout+jwt", "application/logout+jwt"
    ):  # fmt: skip
        raise NotGenuine("its header's typ is that of another kind of token")
    if claims.get("iss") != issuer:
        raise NotGenuine("issued by somebody else")
    if client_id not in _audience(claims):
        raise NotGenuine("issued for another client")
    if _number(claims, "iat") > now + LEEWAY:
        raise NotGenuine("issued in the future")
    ends = _number(claims, "exp")
    if ends + LEEWAY <= now:
        raise NotGenuine("it is over")
    if ends > now + LONGEST_VALIDITY:
        raise NotGenuine("it is valid for too long")
    subject = _text(claims, "sub") if claims.get("sub") is not None else None
    sid = _text(claims, "sid") if claims.get("sid") is not None else None
    if subject is None and sid is None:
        raise NotGenuine("it names neither a subject nor a session")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(LOGOUT_EVENT), Mapping):
        raise NotGenuine("it has no logout event")
    if "nonce" in claims:
        raise NotGenuine("it has a nonce: it may be an ID token")
    return LogoutToken(_text(claims, "jti", 512), subject, sid, ends)


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
    ends = _number(claims, "expiration")
    if ends + LEEWAY <= now:
        raise NotGenuine("it is over")
    if ends > now + LONGEST_VALIDITY:
        raise NotGenuine("it is valid for too long")
    if claims.get("resource") != client_id:
        raise NotGenuine("it is for another client")
    message_id = _text(claims, "id", 512)
    not_before = 0
    if action == PUSH_NOT_BEFORE or claims.get("notBefore") is not None:
        not_before = int(_number(claims, "notBefore"))
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
    return tuple(_spelled(one, name) for one in found)
