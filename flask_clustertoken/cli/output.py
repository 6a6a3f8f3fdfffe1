"""Output: a readable table for people, JSON for programs."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import click

from ..tokens import Token

#: What a terminal that knows few characters shows instead of ours.
_PLAIN = {"\N{RIGHTWARDS ARROW}": "->", "\N{HORIZONTAL ELLIPSIS}": "...", "\N{EN DASH}": "-"}

#: A column is cut to no less than this many characters.
_NARROW = 8


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text)
    return "".join(escaped), error.end


codecs.register_error("clustertoken-plainly", _plainly)


class InOrder(click.Group):
    """A group whose help lists the commands as they were added, on whatever terminal."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="clustertoken-plainly")
        return super().make_context(*args, **more)


@contextmanager
def read_as_far_as_wanted() -> Iterator[None]:
    """Output of which a reader (``| head``) may want a part: that it left is no failure."""
    try:
        yield
    except BrokenPipeError:
        # What is still to come, and the last flush at the exit, go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def several(count: int, one: str, more: str = "") -> str:
    """``1 record``, ``2 records``."""
    return f"{count} {one if count == 1 else more or one + 's'}"


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


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    empty: str,
    may_be_cut: Sequence[str] = (),
) -> None:
    """Columns as wide as they need to be; *empty* is said instead where there is no row.

    On a terminal that is too narrow, the columns with the heads *may_be_cut* are.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty)
        return
    lines = [list(heads), *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    if sys.stdout.isatty():
        _fit(widths, [heads.index(one) for one in may_be_cut])
    with read_as_far_as_wanted():
        for line in lines:
            padded = (_cut(cell, width) for cell, width in zip(line, widths, strict=True))
            click.echo("  ".join(padded).rstrip())


def _fit(widths: list[int], may_be_cut: Sequence[int]) -> None:
    """Take from the widest of the columns that may be cut, until all fit or none can give."""
    room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
    while sum(widths) > room and may_be_cut:
        widest = max(may_be_cut, key=lambda at: widths[at])
        if widths[widest] <= _NARROW:
            return
        widths[widest] -= 1


def _cut(cell: str, width: int) -> str:
    return (
        cell.ljust(width) if len(cell) <= width else cell[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """One fact a line."""
    shown = [(name, clean(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    with read_as_far_as_wanted():
        for name, value in shown:
            click.echo(f"{name.ljust(width)}  {value}")


def as_json(value: object) -> None:
    """*value* as JSON in ASCII, indented; the one thing on stdout."""
    click.echo(json.dumps(value, indent=2))


def kind_of(token: Token) -> str:
    """The kind of *token*, for people: with what it is bound to."""
    return f"{token.kind} (bound)" if token.bound else token.kind


def login_lines(token: Token) -> list[tuple[str, object]]:
    """What there is to say of a login alone, for :func:`facts`."""
    return [
        ("device", token.device or "not known"),
        ("network", token.network or "not kept"),
        ("last renewed", moment(token.renewed_at, "not known")),
        ("claims", ", ".join(sorted(token.claims)) or "none"),
    ]


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
    if token.kind == "login":
        found |= {
            "bound": token.bound,
            "device": token.device,
            "network": token.network,
            "renewed_at": token.renewed_at,
        }
    if token.kind == "api":
        found |= {
            "name": token.name,
            "scopes": list(token.scopes),
            "created_by": token.created_by,
            "key": token.key_id,
        }
    return found
