"""Arguments: what a caller hands in, checked before anything of it reaches the store.

A revocation is an entry that every node reads: one that names no kind of token revokes nothing
and looks like a success, and one that cannot be read makes every node refuse. So each is judged
here, and a mistake is a :class:`TypeError` or :class:`ValueError` of whoever made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, get_args

from ..clock import SKEW
from ..errors import ValueTooLarge
from ..settings import VALUE_LIMIT
from .token import Claims, TokenKind

#: Characters of a subject, a label, the name of an API token or one of its scopes.
TEXT_LIMIT = 1024

#: Characters of what names a device.
DEVICE_LIMIT = 100

#: Seconds since 1970 up to which a number is taken for a time: the year 5138. As milliseconds it is
#: a day of 1973, so that milliseconds of any time that is meant are more.
LATEST = 1e11

#: Seconds for which anything may be asked to last: 300 years. Its end still has a date.
LONGEST = 300 * 365 * 86_400.0

#: Bytes of the claims as JSON: with the rest of a token's record, what every store can hold.
CLAIMS_LIMIT = VALUE_LIMIT - 32 * 1024


_spell = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


class WrongArgument(ValueError):
    """Of the right type, and yet nothing that could be meant."""


def text(value: Any, what: str, limit: int = TEXT_LIMIT) -> str:
    """*value*, a text of 1 to *limit* characters that UTF-8 can spell."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is a text, not {type(value).__name__}; convert it to one")
    if not 1 <= len(value) <= limit:
        raise WrongArgument(f"{what} is a text of 1 to {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise WrongArgument(f"{what} holds a character that UTF-8 cannot spell") from error
    return value


def texts(values: Iterable[Any], what: str, example: str) -> tuple[str, ...]:
    """*values*, each of them checked; one text alone is not a list of texts."""
    if isinstance(values, str | bytes):
        raise TypeError(f"{what} is a list of texts: {example}")
    return tuple(text(one, f"each of {what}") for one in values)


def subject(value: Any) -> str:
    """Whom a token stands for."""
    return text(value, "a subject")


def kinds(values: Iterable[Any]) -> tuple[TokenKind, ...]:
    """Which kinds of token a mark covers, at least one."""
    known = get_args(TokenKind)
    if isinstance(values, str):
        raise TypeError(f'kinds is a list of kinds: kinds=["{values}"]')
    found = tuple(values)
    if not found or any(one not in known for one in found):
        raise WrongArgument(f"kinds names at least one of {', '.join(known)}, and nothing else")
    return found


def seconds(value: Any, what: str) -> float:
    """For how long: a :func:`number`, and not of what could be no date (300 years) any more."""
    found = number(value, what)
    if found > LONGEST:
        raise WrongArgument(f"{what} is in seconds, and at most {LONGEST:.0f} (300 years)")
    return found


def number(value: Any, what: str) -> float:
    """A number of seconds that is one: finite, not negative, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number of seconds, not {type(value).__name__}")
    if not isfinite(value) or value < 0:
        raise WrongArgument(f"{what} is a finite number of seconds, not {value}")
    return float(value)


def moment(value: Any, what: str) -> float:
    """A time of day, in seconds since 1970: a number of them, or a datetime with its zone.

    One without a zone is refused. Python takes it for local time, and who wrote it mostly meant
    UTC: it would be off by hours, in silence. So is one beyond :data:`LATEST`: milliseconds.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise WrongArgument(
                f"{what} is a datetime without a time zone, which may mean any; write "
                "datetime.now(timezone.utc) for now, value.replace(tzinfo=timezone.utc) for one "
                "in UTC, value.astimezone() for one in local time"
            )
        value = value.timestamp()
    found = number(value, what)
    if found > LATEST:
        raise WrongArgument(
            f"{what} lies beyond the year 5138: a time is in seconds since 1970, and not in "
            "milliseconds"
        )
    return found


def past(value: Any, what: str, now: float) -> float:
    """A :func:`moment` that has come (or nearly: clocks differ)."""
    when = moment(value, what)
    if when > now + SKEW:
        raise WrongArgument(
            f"{what} lies in the future; it is in seconds since 1970, not in others"
        )
    return when


def name(value: Any) -> str:
    """What an API token is called. (Whoever shows it makes control characters harmless.)"""
    return text(value, "the name of an API token")


def scopes(values: Sequence[Any]) -> tuple[str, ...]:
    """What an API token may do. A challenge joins them with spaces (RFC 6750, 3)."""
    found = texts(values, "scopes", 'scopes=["read"]')
    if any(not one.isprintable() or set(one) & set(' "\\') for one in found):
        raise WrongArgument("a scope has no spaces, quotes or backslashes in it (RFC 6749, 3.3)")
    return found


def device(value: Any) -> str:
    """What a login is made on; ``""`` where nobody can say."""
    return text(value, "a device", DEVICE_LIMIT) if value != "" else ""


def labels(values: Iterable[Any]) -> tuple[str, ...]:
    """What a login can be ended by, later."""
    return texts(values, "labels", 'labels=["provider:session"]')


def claims(values: Mapping[str, Any] | None) -> Claims:
    """What the app puts in, as JSON will give it back."""
    if values is None:
        return Claims()
    try:
        spelled = _spell(dict(values))
        size = len(spelled.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"claims must be what JSON can hold: {error}") from error
    if size > CLAIMS_LIMIT:
        # (The directory store would hold more, until the app moves to a cluster.)
        raise ValueTooLarge("what is in the claims", size, CLAIMS_LIMIT)
    return Claims(json.loads(spelled))
