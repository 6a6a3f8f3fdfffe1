"""Labels: what a login is told of the provider that vouched for it, and can be ended by.

A ``#`` stands in no issuer (OpenID Connect Discovery 1.0, 3), so no two providers share a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

#: Characters of a label; a longer one is named by its digest. (Labels stand in the cookie.)
LONGEST = 300


def sid_label(issuer: str, sid: str) -> str:
    """The label of every login that belongs to the session *sid* of *issuer*."""
    return _label(f"oidc:{issuer}#sid:{sid}")


def sub_label(issuer: str, subject: str) -> str:
    """The label of every login of whom *issuer* calls *subject*."""
    return _label(f"oidc:{issuer}#sub:{subject}")


def login_labels(issuer: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels for a login with the *claims* of an ID token of *issuer*.

    Raises :class:`ValueError` where they are somebody else's, or name nobody.
    """
    said = claims.get("iss", issuer)
    if said != issuer:
        raise ValueError(f"these are claims of {said!r}, and this provider is {issuer!r}")
    subject, sid = claims.get("sub"), claims.get("sid")
    if not isinstance(subject, str) or not subject:
        raise ValueError("the claims name no subject: pass those of the ID token")
    found = [sub_label(issuer, subject)]
    if isinstance(sid, str) and sid:
        found.append(sid_label(issuer, sid))
    return tuple(found)


def _label(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"oidc:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def digest(text: str) -> str:
    """Names *text* in a record's key: the store learns no session id."""
    return sha256(text.encode()).hexdigest()[:40]
