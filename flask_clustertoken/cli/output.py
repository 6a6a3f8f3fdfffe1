"""Output: a readable table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import click

from ..tokens import Token


class InOrder(click.Group):
    """A group whose help lists the commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def clean(text: object) -> str:
    """*text* on one line and without control characters: a name must not move the cursor."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def moment(seconds: float | None, never: str = "never") -> str:
    """A wall-clock time for people, in UTC."""
    if seconds is None:
        return never
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f}"


def span(seconds: float) -> str:
    """A duration for people, in the largest unit that says enough."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Columns as wide as they need to be; *empty* is said instead where there is no row."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty)
        return
    lines = [list(heads), *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """One fact a line."""
    shown = [(name, clean(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def as_json(value: object) -> None:
    """*value* as JSON in ASCII, indented; the one thing on stdout."""
    click.echo(json.dumps(value, indent=2))


def token_facts(token: Token) -> dict[str, Any]:
    """A token as JSON. Its text is no part of it."""
    found: dict[str, Any] = {
        "id": token.id,
        "kind": token.kind,
        "subject": token.subject,
        "issued_at": token.issued_at,
        "authenticated_at": token.authenticated_at,
        "expires_at": token.expires_at,
        "labels": list(token.labels),
    }
    if token.kind == "api":
        found |= {
            "name": token.name,
            "scopes": list(token.scopes),
            "created_by": token.created_by,
            "key": token.key_id,
        }
    return found
