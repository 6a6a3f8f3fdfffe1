"""Identity: whom a token stands for, as headers that a proxy hands on.

All of them are always sent, empty where there is nothing: a proxy that copies only what it got
may let pass what the *client* wrote under that name.
"""

from __future__ import annotations

import base64
import json
import logging
from functools import cache
from urllib.parse import quote

from ..tokens import Token

logger = logging.getLogger("flask_clustertoken.gateway")

Headers = list[tuple[str, str]]

NAMES = ("X-Auth-Subject", "X-Auth-Kind", "X-Auth-Token-Id", "X-Auth-Scopes", "X-Auth-Claims")

#: What says that nobody was let in.
NOBODY: Headers = [(name, "") for name in NAMES]

#: Characters of the subject, and of all scopes, once they are spelled.
TEXT_LIMIT = 2048

#: Tokens whose headers are remembered.
REMEMBERED = 4096

#: What stands as it is. Not ``%``, by which the rest is spelled; not a comma, which is what servers
#: put between two headers of one name; not a space, which they take from the ends.
_PLAIN = "!#$&'()*+-./:;=?@[]^_`{|}~"


class TooLong(ValueError):
    """The subject or the scopes are more than a header may carry."""


class Identities:
    """Spells tokens as headers, and remembers the spelling: one token comes again and again."""

    def __init__(self, claims_limit: int) -> None:
        self._claims_limit = claims_limit
        self._known: dict[str, tuple[Token, Headers]] = {}

    def headers(self, token: Token) -> Headers:
        """The headers of *token*. Raises :class:`TooLong`."""
        known = self._known.get(token.id)
        # (By the object: whatever was renewed, or read anew from its record, is spelled anew.)
        if known is not None and known[0] is token:
            return known[1]
        found = [
            ("X-Auth-Subject", _bounded(quote(token.subject, safe=_PLAIN))),
            ("X-Auth-Kind", token.kind),
            ("X-Auth-Token-Id", token.id),
            ("X-Auth-Scopes", _bounded(" ".join(quote(one, safe=_PLAIN) for one in token.scopes))),
            ("X-Auth-Claims", self._claims(token)),
        ]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[token.id] = token, found
        return found

    def _claims(self, token: Token) -> str:
        # A token without claims has "{}": an empty header says that nothing is known of them.
        spelled = json.dumps(token.claims, separators=(",", ":"), ensure_ascii=False).encode()
        text = base64.urlsafe_b64encode(spelled).rstrip(b"=").decode()
        if len(text) <= self._claims_limit:
            return text
        if self._claims_limit:
            tell_of_claims(self._claims_limit)
        return ""


def _bounded(text: str) -> str:
    if len(text) > TEXT_LIMIT:
        raise TooLong
    return text


@cache
def tell_of_claims(limit: int) -> None:
    """Once a process."""
    logger.warning(
        "X-Auth-Claims is sent empty where claims need more than %d bytes: let the service ask "
        "/introspect, or raise CLUSTERTOKEN_GATEWAY_CLAIMS_LIMIT (and the proxy's buffers)",
        limit,
    )
