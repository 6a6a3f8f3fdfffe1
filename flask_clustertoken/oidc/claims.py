"""Claims: one claim of a signed text, read and checked. JSON may say anything."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

from .errors import NotGenuine

#: Seconds by which a provider's clock may differ from ours.
LEEWAY = 30

#: No time lies behind this one.
LATEST_TIME = 2**33

#: Seconds that a message may claim to stay valid: for so long its id has to be remembered.
LONGEST_VALIDITY = 3600


def number_in(claims: Mapping[str, Any], name: str) -> float:
    """The number *name*. Raises :class:`NotGenuine` where there is none that can be meant."""
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
        found = number_in(claims, name)
    except NotGenuine:
        return None
    return found if 0 <= found < LATEST_TIME else None


def spelled(text: str, name: str) -> str:
    """*text*, which stands in *name*, if UTF-8 can spell it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotGenuine(f"{name} holds a character that cannot be spelled") from error
    return text


def text_in(claims: Mapping[str, Any], name: str, limit: int = 1024) -> str:
    """The text *name*, of 1 to *limit* characters."""
    found = claims.get(name)
    if not isinstance(found, str) or not found or len(found) > limit:
        raise NotGenuine(f"{name} is missing or no text")
    return spelled(found, name)


def texts_in(value: Any) -> list[str]:
    """The texts in the list *value*; nothing where it is none."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def audience_in(claims: Mapping[str, Any]) -> list[str]:
    """For whom it is: ``aud`` is one text or a list of them (RFC 7519, 4.1.3)."""
    found = claims.get("aud")
    return [found] if isinstance(found, str) else texts_in(found)
