"""Refusal: why a text was not accepted as a token. An answer, not an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What is said outwardly. ``missing``, ``invalid`` and ``stale`` of any text; all others only once
#: the signature held. ``unproven``: the login is bound to a device, and nothing proves that the
#: request comes from there; ``unbound``: it is not bound, and has to be.
Reason = Literal[
    "missing", "invalid", "expired", "revoked", "locked", "stale", "unproven", "unbound"
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Falsy. *reason* may be told to anyone; *detail* is for logs and signals alone.

    *expired_at* is set where a text was genuine and too old; *subject* and *token_id* where
    the signature held. Neither the text nor a secret is ever part of it.
    """

    reason: Reason
    detail: str = ""
    token_id: str | None = None
    subject: str | None = None
    expired_at: int | None = None
    cause: BaseException | None = None
    #: The text is no token at all, nor what a proxy may have made of one: the only one whose
    #: cookie a refusal clears.
    garbled: bool = False
    #: The fingerprint of a key, or the number of a form, that this node does not know: whether
    #: anybody does is to be asked.
    unknown_key: str = ""
    unknown_form: int = 0
    #: What whoever set the lock has to say, and its end (seconds since 1970; ``None``: an unlock).
    message: str = ""
    locked_until: float | None = None

    def __bool__(self) -> Literal[False]:
        return False


MISSING = Refusal("missing", "the request carries no token")
