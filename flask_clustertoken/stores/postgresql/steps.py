"""How the parts of a store ask: one step of the realm, within a call's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..deadline import Deadline
from .driver import Row, Value
from .realm import PostgreSQLRealm


class Steps:
    """Opens nothing by itself."""

    def __init__(self, realm: Callable[[], PostgreSQLRealm], timeout: float) -> None:
        #: Opens it where it is not open yet.
        self.realm = realm
        self._timeout = timeout

    def deadline(self) -> Deadline:
        return Deadline(self._timeout)

    def run(self, name: str, *values: Value, **how: Any) -> list[Row]:
        """:meth:`.PostgreSQLRealm.run`, with a call's time for itself."""
        return self.realm().run(self.deadline(), name, *values, **how)


def end(moment: float | None) -> str | None:
    """Seconds so that they come back unchanged."""
    return None if moment is None else repr(float(moment))
