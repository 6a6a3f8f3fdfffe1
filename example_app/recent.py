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
    """Put *page* first. Of two views in the same instant one may be lost, which is fine here."""
    others = [one for one in recently_viewed(subject) if one["page"] != page]
    seen = {"page": page, "at": int(time.time())}
    tokens.shared("recent").set(subject, [seen, *others][:LIMIT], ttl=KEPT)
