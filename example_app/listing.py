"""A person's tokens: as the pages and the API show them, and the end of one."""

from __future__ import annotations

from typing import Any

from flask import abort

from flask_clustertoken import Revocation, Token, current_token

from .accounts import is_admin
from .tokens import tokens


def describe(token: Token) -> dict[str, Any]:
    """What may be shown of *token*: times in seconds since 1970, nothing secret."""
    return {
        "id": token.id,
        "kind": token.kind,
        "subject": token.subject,
        "name": token.name or token.device,
        "scopes": list(token.scopes),
        "created_by": token.created_by or token.subject,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "last_used": tokens.last_used(token.id) if token.kind == "api" else None,
        "current": token.id == current_token.id,
    }


def list_of(subject: str) -> tuple[list[dict[str, Any]], bool]:
    """The tokens of *subject*, the newest first, and whether logins are among them."""
    found = tokens.tokens_of(subject)
    newest_first = sorted(found, key=lambda one: (one.issued_at, one.since), reverse=True)
    return [describe(one) for one in newest_first], found.recorded


def end(token_id: str) -> Revocation:
    """End one token of the current user's own, or any if that is an admin; else 404."""
    me = current_token.token
    assert me is not None
    own = token_id == me.id or any(one.id == token_id for one in tokens.tokens_of(me.subject))
    if not own and not is_admin(me.subject):
        abort(404, "You have no such token.")
    try:
        return tokens.revoke(token_id)
    except ValueError:
        abort(404, "This is not the id of a token.")


def name_and_scopes(name: Any, scopes: Any) -> tuple[str, list[str]]:
    """What an API token is asked to be called and to be allowed, or 400."""
    if not isinstance(name, str) or not name.strip() or len(name) > 80 or not name.isprintable():
        abort(400, "An API token needs a name of at most 80 characters.")
    if not isinstance(scopes, list) or len(scopes) > 20:
        abort(400, "Scopes are a list of at most 20 words.")
    for one in scopes:
        if not isinstance(one, str) or not 0 < len(one) <= 40 or not one.isprintable():
            abort(400, "A scope is a word of at most 40 characters.")
        if set(one) & set(' "\\'):  # (RFC 6749, 3.3)
            abort(400, "A scope is one word, without quotes and backslashes.")
    return name.strip(), scopes
