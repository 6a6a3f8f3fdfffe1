"""Times for people: templates write ``{{ token.issued_at|moment }}`` and ``{{ …|away }}``."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from flask import Flask

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(seconds: int | None) -> str:
    """``23 Nov 2026, 09:40 UTC``; *seconds* since 1970."""
    if seconds is None:
        return "never"
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%-d %b %Y, %H:%M} UTC"


def machine(seconds: int) -> str:
    """For the attribute ``datetime``."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def away(seconds: int | None, now: float | None = None) -> str:
    """``in 7 days``, ``3 minutes ago``, ``just now``: how far *seconds* is from *now*."""
    if seconds is None:
        return "never"
    apart = seconds - (time.time() if now is None else now)
    if abs(apart) < 5:
        return "just now"
    for size, unit in _UNITS:
        count = round(abs(apart) / size)
        if count and abs(apart) >= size * 0.95:
            several = f"{count} {unit}" + ("" if count == 1 else "s")
            return f"in {several}" if apart > 0 else f"{several} ago"
    return "just now"


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(moment=moment, machine=machine, away=away)
