"""Token: what the browser or the API client carries, with its id and what revokes it."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, NoReturn

from .digests import digest

#: As a token's ``since``: no mark of "issued before" covers it (revocations of its id and its
#: labels do). For tokens that another issuer made.
UNNUMBERED = 2**62

TokenKind = Literal["login", "api"]


def _fixed(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError(
        "claims are fixed when the token is issued; change a copy: copy.deepcopy(token.claims)"
    )


class ClaimList(list[Any]):
    """A list within :class:`Claims`, as fixed as they are."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _fixed
    append = clear = extend = insert = pop = remove = reverse = sort = _fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class Claims(dict[str, Any]):
    """What the app put into a token: a dictionary that nobody changes, nor what is in it.

    One token serves many requests of a worker; a view that wrote into its claims would write
    into the next visitor's, and a renewal would sign it. It is a ``dict`` with lists and
    dictionaries in it, so that it can be sent as JSON as it is; ``copy.deepcopy`` gives plain
    ones.
    """

    def __init__(self, claims: Mapping[str, Any] | None = None) -> None:
        super().__init__({name: _fix(value) for name, value in dict(claims or {}).items()})

    __setitem__ = __delitem__ = __ior__ = _fixed
    clear = pop = popitem = setdefault = update = _fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _fix(value: Any) -> Any:
    if isinstance(value, dict):
        return Claims(value)
    if isinstance(value, list):
        return ClaimList(map(_fix, value))
    return value


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token. Times are whole seconds since 1970.

    *id* stays the same through every renewal, and so do *issued_at* and *authenticated_at*.
    *expires_at* is ``None`` for an API token without an end. *scopes*, *name* and
    *created_by* are an API token's; *device* and *network* a login's, known from its record only.
    """

    id: str
    subject: str
    kind: TokenKind
    issued_at: int
    authenticated_at: int
    expires_at: int | None
    claims: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    name: str = ""
    created_by: str = ""
    #: What the login was made on, in words (``Firefox on Windows``); ``""``: not known.
    device: str = ""
    #: From which network it was made (``203.0.113.0/24``), where ``KEEP_ADDRESS`` is on.
    network: str = ""
    #: When a login was last renewed, as far as the store was told. In lists only, else ``None``.
    renewed_at: int | None = field(default=None, compare=False)
    #: The feed's head before the credentials were checked: what "issued before" goes by.
    since: int = field(default=0, repr=False)
    #: The store's epoch at issue: a token of another store's life is refused.
    epoch: str = field(default="", repr=False)
    #: The cookie survives the browser's end.
    persistent: bool = field(default=True, repr=False)
    #: The key that signed the text that was presented.
    key_id: str = field(default="", repr=False)
    #: When it was made, more finely than *issued_at*; known from the record only.
    made_at: float = field(default=0.0, repr=False)
    #: The issue of the login's first token, where this one carries that login on.
    first_issued_at: int | None = field(default=None, repr=False)
    #: The public key that a login is bound to (a point of P-256, compressed, in URL-safe
    #: characters); ``""``: it is not bound.
    bound_key: str = field(default="", repr=False)
    #: The id of the unbound login that this one took the place of, until that is known to be over.
    succeeds: str = field(default="", repr=False)
    #: Which copy of its login this is (:mod:`.copies`); ``None``: nobody can say.
    generation: int | None = field(default=None, repr=False)

    def __bool__(self) -> Literal[True]:
        return True

    @property
    def bound(self) -> bool:
        """Whether it is bound to a device: good only with a proof that its browser has the key."""
        return bool(self.bound_key)

    @property
    def began_at(self) -> int:
        """When this login began: what its absolute lifetime counts from."""
        return self.issued_at if self.first_issued_at is None else self.first_issued_at

    @property
    def record_key(self) -> str:
        """Where the store keeps the record: by digest, found from the id alone."""
        return record_key(self.id)


def subject_tag(subject: str) -> bytes:
    return digest("subject", subject).to_bytes(8, "big")[:2]


def new_id(subject: str) -> str:
    """128 random bits behind 16 bits of the subject's digest, in 24 URL-safe characters."""
    return base64.urlsafe_b64encode(subject_tag(subject) + secrets.token_bytes(16)).decode()


def is_id(text: str) -> bool:
    """Whether *text* has the form of a token's id."""
    return re.fullmatch(r"[A-Za-z0-9_-]{24}", text, re.ASCII) is not None


def records_of(subject: str) -> str:
    """The prefix under which a subject's records lie (among those of few others)."""
    return f"token/{subject_tag(subject).hex()[:3]}/"


def record_key(token_id: str) -> str:
    """Raises :class:`ValueError` for what is no token id."""
    if not is_id(token_id):
        raise ValueError("this is not the id of a token")
    tag = base64.urlsafe_b64decode(token_id)[:2].hex()[:3]
    return f"token/{tag}/{sha256(token_id.encode()).hexdigest()[:40]}"


def view_keys(token: Token) -> tuple[int, ...]:
    """The digests under which a revocation of this token would stand in the view."""
    return (
        digest("id", token.id),
        digest(f"subject:{token.kind}", token.subject),
        *(digest("label", label) for label in token.labels),
    )
