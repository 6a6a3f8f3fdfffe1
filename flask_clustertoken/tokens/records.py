"""Record: a token in the store. It never changes after it was added, only its end moves.

A record lives longer than its token: by :data:`~flask_clustertoken.clock.SKEW`, and a login's by
the *spare* as well, so that few renewals write to it. Who made it chose the spare by its own
settings, and others of the realm have other ones; so the record says what it is, every renewal
prolongs by the same, and what a list shows is the inverse on every node.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import Any

from ..clock import SKEW
from .token import Claims, Token

#: The number of the record's form.
FORMAT = 1


_spell = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class NewerForm(ValueError):
    """Written by a newer version of this library."""


def record_end(token: Token, spare: float) -> float | None:
    """When the record of *token* ends (wall clock), with *spare* seconds for renewals."""
    return None if token.expires_at is None else token.expires_at + spare + SKEW


def lives_until(token: Token) -> float:
    """Until when a record of *token*, if there is one, lives at least (wall clock).

    Whichever copy of it is at hand: none lives longer than its record does.
    """
    return inf if token.expires_at is None else float(token.expires_at)


def listed_expiry(end: float | None, spare: float) -> int | None:
    """The expiry for which a record with this *end* was written: the inverse of
    :func:`record_end`.

    The token lives at least until then. A renewal that found enough of the spare left has written
    nothing, and the token lives longer: at most until *spare* seconds later.
    """
    return None if end is None else round(end - spare - SKEW)


def to_record(token: Token, spare: float, lifetime: int | None = None) -> bytes:
    """What the store keeps of *token*; its end, :func:`record_end`, lies beside it.

    *lifetime*: the seconds by which a renewal moves a login's expiry on.
    """
    body = {
        "format": FORMAT,
        "id": token.id,
        "subject": token.subject,
        "kind": token.kind,
        "issued_at": token.issued_at,
        "authenticated_at": token.authenticated_at,
        "claims": token.claims,
        "labels": token.labels,
        "scopes": token.scopes,
        "name": token.name,
        "created_by": token.created_by,
        "since": token.since,
        "epoch": token.epoch,
        "persistent": token.persistent,
        "key": token.key_id,
        "made_at": token.made_at,
        "first_issued_at": token.first_issued_at,
        "bound_key": token.bound_key,
        "spare": spare,
    }
    known = {"device": token.device, "network": token.network, "lifetime": lifetime}
    body |= {name: value for name, value in known.items() if value}
    return _spell(body).encode()


def signs_of(
    *, prefix: str = "", kind: str = "", label: str = ""
) -> tuple[tuple[bytes, bytes], ...]:
    """What has to stand in a record's bytes if its subject begins with *prefix*, and so on.

    For whoever walks through all of them: to look for it costs a hundredth of reading one.
    """
    found = []
    if prefix:
        found.append((b'"subject":"', b'"subject":' + _spelled(prefix)[:-1]))
    if kind:
        found.append((b'"kind":"', b'"kind":' + _spelled(kind)))
    if label:
        found.append((b'"labels":[', _spelled(label)))
    return tuple(found)


def has_signs(value: bytes, signs: tuple[tuple[bytes, bytes], ...]) -> bool:
    """``False``: it is certain that this record is none of those. (What is spelled otherwise than
    here may be.)"""
    return all(sign in value or field not in value for field, sign in signs)


def _spelled(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def from_record(value: bytes, expires_at: int | None) -> Token:
    """Raises :class:`NewerForm` or :class:`ValueError` for what this version cannot read."""
    return _token(_body(value), expires_at)


def from_list(
    value: bytes, end: float | None, usual_spare: float, usual_lifetime: int | None = None
) -> Token:
    """The token of a record, its value and its *end*, with its :func:`listed_expiry`.

    Raises as :func:`from_record`.
    *usual_spare* and *usual_lifetime*: of records of before these were written down. The expiry,
    and when it was last renewed, are then right where their writer had the reader's settings.
    """
    data = _body(value)
    token = _token(data, listed_expiry(end, _spare(data, usual_spare)))
    return replace(token, renewed_at=_renewed_at(token, data.get("lifetime", usual_lifetime)))


def _renewed_at(token: Token, lifetime: Any) -> int | None:
    """What the expiry says of the renewal that set it.

    Once the end of all renewals is reached, the one that reached it was the last.
    """
    if token.kind != "login" or token.expires_at is None or not isinstance(lifetime, int):
        return None
    return max(token.issued_at, token.expires_at - lifetime)


def spare_of(value: bytes, usual: float) -> float:
    """The spare that a record names; *usual* for one of before it was written down.

    Raises as :func:`from_record`.
    """
    return _spare(_body(value), usual)


def _body(value: bytes) -> dict[str, Any]:
    data = json.loads(value)
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("not a token's record")
    if data["format"] > FORMAT:
        raise NewerForm(f"a record of form {data['format']}")
    return data


def _spare(data: dict[str, Any], usual: float) -> float:
    found = data.get("spare")
    if found is None and data.get("kind") != "login":
        return 0.0
    return float(found) if isinstance(found, int | float) else usual


def _token(data: dict[str, Any], expires_at: int | None) -> Token:
    try:
        return Token(
            id=data["id"],
            subject=data["subject"],
            kind=data["kind"],
            issued_at=data["issued_at"],
            authenticated_at=data["authenticated_at"],
            expires_at=expires_at,
            claims=Claims(data["claims"]),
            labels=tuple(data["labels"]),
            scopes=tuple(data["scopes"]),
            name=data["name"],
            created_by=data["created_by"],
            since=data["since"],
            epoch=data["epoch"],
            persistent=data["persistent"],
            key_id=data["key"],
            made_at=data.get("made_at", 0.0),
            first_issued_at=data.get("first_issued_at"),
            bound_key=data.get("bound_key", ""),
            device=str(data.get("device", "")),
            network=str(data.get("network", "")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a token's record") from error


def with_record(wire: Token, record: Token) -> Token | None:
    """*wire* with what only the record knows; ``None`` where they are not the same token."""
    mine = (wire.id, wire.subject, wire.kind, wire.bound_key)
    if mine != (record.id, record.subject, record.kind, record.bound_key):
        return None
    return replace(
        wire,
        claims=record.claims,
        scopes=record.scopes,
        name=record.name,
        created_by=record.created_by,
        device=record.device,
        network=record.network,
    )
