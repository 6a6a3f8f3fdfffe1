"""SETs: what a Security Event Token must say before it is believed (RFC 8417, OpenID SSF 1.0)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..oidc import LEEWAY, NotGenuine, audience_in, number_in, text_in

#: Events in one token. (One, by the specification; some send two of the same cause.)
MOST_EVENTS = 16


class BadSet(NotGenuine):
    """A SET that is refused; *code* is that of RFC 8935, section 2.4."""

    def __init__(self, code: str, problem: str) -> None:
        self.code = code
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class SecurityEventToken:
    """One that is genuine and for us."""

    id: str
    issued_at: float
    claims: Mapping[str, Any]
    events: Mapping[str, Mapping[str, Any]]

    @property
    def canonical(self) -> str:
        """What it says, however it was signed: a transmitter may sign anew what it repeats."""
        said = {name: value for name, value in self.claims.items() if name != "iat"}
        return json.dumps(said, sort_keys=True, ensure_ascii=True)


def read_set(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    *,
    issuer: str,
    audience: Collection[str],
    now: float,
    remember: float,
) -> SecurityEventToken:
    """Raises :class:`BadSet`.

    A SET has no end, so its id cannot be remembered for as long as it is good: one that is older
    than *remember* seconds is refused.
    """
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != "secevent+jwt":
        raise BadSet("invalid_request", "its header's typ is not secevent+jwt")
    if claims.get("iss") != issuer:
        raise BadSet("invalid_issuer", "issued by somebody else")
    if not set(audience_in(claims)) & set(audience):
        raise BadSet("invalid_audience", "issued for somebody else")
    try:
        return _read(claims, now, remember)
    except BadSet:
        raise
    except NotGenuine as error:
        raise BadSet("invalid_request", str(error)) from error


def _read(claims: Mapping[str, Any], now: float, remember: float) -> SecurityEventToken:
    issued = number_in(claims, "iat")
    if issued > now + LEEWAY:
        raise NotGenuine("issued in the future")
    if issued < now - remember:
        raise NotGenuine("older than this receiver remembers what it has obeyed")
    for name in ("sub", "exp"):
        # (OpenID SSF 1.0, 4.1: so that it is taken for no other kind of token.)
        if name in claims:
            raise NotGenuine(f"it has {name}: it may be another kind of token")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not 0 < len(events) <= MOST_EVENTS:
        raise NotGenuine("it has no events")
    if not all(name and isinstance(payload, Mapping) for name, payload in events.items()):
        raise NotGenuine("an event of it is no object")
    return SecurityEventToken(text_in(claims, "jti", 512), issued, claims, dict(events))
