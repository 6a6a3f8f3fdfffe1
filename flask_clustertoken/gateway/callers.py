"""Callers: services that ask with an API token of their own, which has a scope for it."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote

from ..authority import TokenAuthority
from ..tokens import Refusal, Token
from .bodies import form_of
from .replies import Reply, challenge, problem, unavailable

#: How a caller may prove who it is, in the words of RFC 8414.
METHODS = ["Bearer", "client_secret_basic"]


class ApiCallers:
    """Judges whoever calls, before anything that it says is looked at."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority

    def judge(self, environ: dict[str, Any], scope: str) -> Token | Reply:
        """The caller's token, which has *scope*, or the answer that it gets instead."""
        text = credential(environ)
        if text is None:
            words = "An API token is needed: Authorization: Bearer …"
            return problem(401, "invalid_client", words, challenge())
        found = self._authority.authenticate(text, "api")
        if isinstance(found, Refusal):
            if found.reason == "stale":
                return unavailable("The caller's token cannot be checked at the moment.")
            words = "The caller's API token is not good."
            return problem(401, "invalid_client", words, challenge(error="invalid_token"))
        if scope not in found.scopes:
            words = f"The caller's API token lacks the scope {scope}."
            said = challenge(error="insufficient_scope", scope=scope)
            return problem(403, "insufficient_scope", words, said)
        return found

    def form(self, environ: dict[str, Any], scope: str) -> dict[str, str] | Reply:
        """What a caller who has *scope* sent of a ``token``, or the answer that it gets instead."""
        caller = self.judge(environ, scope)
        if isinstance(caller, Reply):
            return caller
        form = form_of(environ)
        if not isinstance(form, Reply) and not form.get("token"):
            return problem(400, "invalid_request", "The parameter token is missing.")
        return form


def credential(environ: dict[str, Any]) -> str | None:
    """The API token that a request carries: as a bearer's, or as the password of Basic.

    Libraries for RFC 7662 know Basic alone, often; the name in front of the password is theirs to
    choose. Cookies do not count: a page of any origin may send them.
    """
    scheme, _, said = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return said.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return unquote(password) if colon and password else None
