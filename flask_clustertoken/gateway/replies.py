"""Replies: what the gateway says, in JSON, for this very request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Headers = list[tuple[str, str]]

#: Seconds after which whoever got a 503 may ask again.
RETRY_AFTER = 2

_STATUS = {one.value: f"{one.value} {one.phrase}" for one in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, and what is said with it; ``None``: nothing."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()

    def send(self, start_response: StartResponse, more: Headers | None = None) -> Iterable[bytes]:
        """Kept by no cache, unless *headers* say for how long."""
        body = b"" if self.body is None else json.dumps(self.body).encode() + b"\n"
        headers = [*self.headers, *(more or ())]
        if self.body is not None:
            headers.append(("Content-Type", "application/json"))
        if self.status != 204:
            headers.append(("Content-Length", str(len(body))))
        if all(name != "Cache-Control" for name, _ in headers):
            headers.append(("Cache-Control", "no-store"))
        start_response(_STATUS[self.status], headers)
        return [body]


def problem(status: int, error: str, description: str, *headers: tuple[str, str]) -> Reply:
    """As OAuth words it (RFC 6749, 5.2)."""
    return Reply(status, {"error": error, "error_description": description}, headers)


def unavailable(description: str, error: str = "temporarily_unavailable") -> Reply:
    return problem(503, error, description, ("Retry-After", str(RETRY_AFTER)))


def challenge(**said: str) -> tuple[str, str]:
    """A bearer challenge (RFC 6750, 3). What is said has no quotes in it."""
    words = ", ".join(f'{name}="{value}"' for name, value in {"realm": "tokens", **said}.items())
    return "WWW-Authenticate", f"Bearer {words}"
