"""Record: a token in the store. It never changes after it was added."""

from __future__ import annotations

import json
from dataclasses import replace

from .tokens import Claims, Token

#: The number of the record's form.
FORMAT = 1


class NewerForm(ValueError):
    """Written by a newer version of this library."""


def to_record(token: Token) -> bytes:
    """What the store keeps of *token*; its end lies beside it."""
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
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def from_record(value: bytes, expires_at: int | None) -> Token:
    """Raises :class:`NewerForm` or :class:`ValueError` for what this version cannot read."""
    data = json.loads(value)
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("not a token's record")
    if data["format"] > FORMAT:
        raise NewerForm(f"a record of form {data['format']}")
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
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a token's record") from error


def with_record(wire: Token, record: Token) -> Token | None:
    """*wire* with what only the record knows; ``None`` where they are not the same token."""
    if (wire.id, wire.subject, wire.kind) != (record.id, record.subject, record.kind):
        return None
    return replace(
        wire,
        claims=record.claims,
        scopes=record.scopes,
        name=record.name,
        created_by=record.created_by,
    )
