"""Carried: the tokens that the browser brings with a request and takes with its response.

Only with the token store ``cookie``; with ``session`` nothing is carried.
"""

from __future__ import annotations

from typing import Literal

from flask import has_request_context, request

from .companion import CompanionCookie
from .request_state import request_state
from .token_store import ProviderTokens


class CarriedTokens:
    """The companion cookie of the current request, and of its response."""

    def __init__(self, where: Literal["session", "cookie"], companion: CompanionCookie) -> None:
        self._used = where == "cookie"
        self._companion = companion

    def read(self, label: str) -> ProviderTokens | None:
        """What the browser carries, or what this request has put there already."""
        if not self._used or not has_request_context():
            return None
        found = request_state().tokens.get(label)
        return found if found is not None else self._companion.read(request.environ, label)

    def send(self, label: str, tokens: ProviderTokens, *, persistent: bool = True) -> bool:
        """Let the browser carry *tokens* from now on; ``False``: they are too large for that."""
        headers = self._companion.headers(request.environ, label, tokens, persistent=persistent)
        if headers is None:
            self.clear()
            return False
        request_state().cookies = headers
        request_state().tokens[label] = tokens
        return True

    def clear(self) -> None:
        """The browser shall carry nothing any more."""
        if has_request_context():
            request_state().cookies = self._companion.clearing(request.environ)
