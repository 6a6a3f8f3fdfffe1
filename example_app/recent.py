"""Recently viewed pages: shared data of the deployment, the same whichever worker answers."""

from __future__ import annotations

import time
from typing import Any

from .tokens import tokens

#: Pages remembered for each person, and for how many seconds.
LIMIT = 6
KEPT = 30 * 86_400


def recently_viewed(subject: str) -> list[dict[str, Any]]:
    found = tokens.shared("recent").get(subject, [])
    return found if isinstance(found, list) else []


def note_view(subject: str, page: str) -> None:
    """Put *page* first. Of two views in the same instant, on two servers, none is lost."""
    seen = {"page": page, "at": int(time.time())}

    def with_page(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [seen, *(one for one in found if one["page"] != page)][:LIMIT]

    tokens.shared("recent").update(subject, with_page, default=[], ttl=KEPT)
