"""Policy: what a location of the proxy demands, as its configuration writes it.

In the query of ``/auth``: ``?scope=read&kind=api&slide=0&login=/login``. Below ``/auth/…``, where
the query is the client's, in the header ``X-Auth-Policy``, believed from a proxy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import get_args
from urllib.parse import parse_qsl

from ..tokens import TokenKind


class WrongPolicy(ValueError):
    """The proxy's configuration demands what nobody can give. Says what is wrong."""


@dataclass(frozen=True, slots=True)
class Policy:
    """*scopes* limit API tokens only, as those of the Flask decorators do; *kinds* are accepted.

    *slide* ``False``: the login is not renewed. *login*: where a browser is sent, ``""``: nowhere.
    """

    scopes: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset(get_args(TokenKind))
    slide: bool = True
    login: str = ""


#: What is demanded where nothing is said: any good token.
ANY = Policy()


@lru_cache(256)
def read_policy(query: str) -> Policy:
    """The policy in *query*. What is named twice only ever demands more.

    Raises :class:`WrongPolicy` for what is unknown or empty: a mistyped demand, or one whose value
    was lost on the way into the configuration, must not demand nothing.
    """
    scopes: set[str] = set()
    kinds = set(ANY.kinds)
    slide, login = True, ""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=32)
    except ValueError as error:
        raise WrongPolicy(f"the query cannot be read: {error}") from None
    for name, value in pairs:
        if name == "scope":
            if not value.split():
                raise WrongPolicy("scope is empty: name one, or leave it out")
            scopes.update(value.split())
        elif name == "kind":
            if value not in ANY.kinds:
                raise WrongPolicy(f"kind is {' or '.join(sorted(ANY.kinds))}")
            kinds &= {value}
        elif name == "slide":
            if value not in ("0", "1"):
                raise WrongPolicy("slide is 0 or 1")
            slide = slide and value == "1"
        elif name == "login":
            if not value:
                raise WrongPolicy("login is empty: name a page, or leave it out")
            if login and login != value:
                raise WrongPolicy("login is named twice")
            login = value
        else:
            raise WrongPolicy(f"there is no {name[:40]!r}: scope, kind, slide, login are known")
    return Policy(frozenset(scopes), frozenset(kinds), slide, login)
