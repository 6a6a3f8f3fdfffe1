"""Logout token: what OpenID Connect Back-Channel Logout 1.0 sends, and what it must say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .claims import LEEWAY, LONGEST_VALIDITY, audience_in, number_in, text_in
from .errors import NotGenuine

#: The member of ``events`` that makes a logout token (section 2.4).
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

#: Seconds for which one is good that does not say until when. (``exp`` came with the errata of
#: December 2023: providers of before leave it out.)
VALID_WITHOUT_END = 600


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """What an OpenID Connect logout token asks for."""

    id: str
    subject: str | None
    sid: str | None
    expires_at: float


def read_logout_token(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    *,
    issuer: str,
    client_id: str,
    now: float,
    needs_end: bool = True,
) -> LogoutToken:
    """In the order of section 2.6; raises :class:`NotGenuine`.

    *needs_end* ``False``: one without ``exp`` is good for :data:`VALID_WITHOUT_END` seconds.
    """
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ.lower() not in (
        "", "jwt", "logout+jwt", "application/logout+jwt"
    ):  # fmt: skip
        raise NotGenuine("its header's typ is that of another kind of token")
    if claims.get("iss") != issuer:
        raise NotGenuine("issued by somebody else")
    if client_id not in audience_in(claims):
        raise NotGenuine("issued for another client")
    issued = number_in(claims, "iat")
    if issued > now + LEEWAY:
        raise NotGenuine("issued in the future")
    if "exp" not in claims and not needs_end:
        ends = issued + VALID_WITHOUT_END
    else:
        ends = number_in(claims, "exp")
    if ends + LEEWAY <= now:
        raise NotGenuine("it is over")
    if ends > now + LONGEST_VALIDITY:
        raise NotGenuine("it is valid for too long")
    subject = text_in(claims, "sub") if claims.get("sub") is not None else None
    sid = text_in(claims, "sid") if claims.get("sid") is not None else None
    if subject is None and sid is None:
        raise NotGenuine("it names neither a subject nor a session")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(LOGOUT_EVENT), Mapping):
        raise NotGenuine("it has no logout event")
    if "nonce" in claims:
        raise NotGenuine("it has a nonce: it may be an ID token")
    return LogoutToken(text_in(claims, "jti", 512), subject, sid, ends)
