"""Names: how what an app calls its shared things becomes a part of a record's key."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..tokens import WrongArgument, validation

#: Characters of a name, a key or a slot, and its bytes as UTF-8. Two or three of them are one key
#: in the store, and PostgreSQL's index takes some 2,700 bytes of one (of which each may be three
#: here), so not as many characters of any kind.
NAME_LIMIT = 512


def checked(value: Any, what: str) -> str:
    """*value*, a text that a record can be called by."""
    text = validation.text(value, what, NAME_LIMIT)
    if (size := len(text.encode())) > NAME_LIMIT:
        raise WrongArgument(f"{what} has {size} bytes as UTF-8, and {NAME_LIMIT} at most")
    return text


def spelled(value: Any, what: str) -> str:
    """*value* as one part of a key, whatever is in it."""
    return quote(checked(value, what), safe="")
