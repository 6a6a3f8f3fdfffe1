"""For programs: JSON, with the cookie or with ``Authorization: Bearer`` and an API token."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue

from flask_clustertoken import current_token, require_token, token_required

from . import listing
from .accounts import account_of, is_admin
from .answers import sent_json
from .node import this_node
from .recent import recently_viewed
from .sessions import CONFIRM
from .tokens import tokens

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.before_request
def answer_in_json() -> None:
    # Also to a browser that looks at it: no page to log in, but a 401 with its reason.
    request.environ["HTTP_ACCEPT"] = "application/json"


@blueprint.get("/me")
def me() -> ResponseReturnValue:
    token = require_token()
    return jsonify(
        subject=token.subject,
        kind=token.kind,
        token_id=token.id,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        node=this_node(),
    )


@blueprint.get("/tokens")
def list_tokens() -> ResponseReturnValue:
    found, recorded = listing.list_of(require_token().subject)
    return jsonify(tokens=found, recorded=recorded)


@blueprint.post("/tokens")
@token_required(kind="login")
def make_token() -> ResponseReturnValue:
    given = sent_json()
    name, scopes = listing.name_and_scopes(given.get("name"), given.get("scopes", []))
    issued = tokens.issue_api_token(require_token().subject, name, scopes)
    made = jsonify(token=listing.describe(issued.token), text=issued.text)
    # This answer is the only place where the text ever stands.
    made.headers["Cache-Control"] = "no-store"
    return made, 201


@blueprint.delete("/tokens/<token_id>")
def end_token(token_id: str) -> ResponseReturnValue:
    # An API token may always end itself; for others it needs the scope.
    own = current_token.id == token_id
    require_token(scopes=() if own else ["tokens"])
    return jsonify(ended=token_id, seq=listing.end(token_id).seq)


@blueprint.post("/subjects/<subject>/logout")
@token_required(scopes=["admin"])
def logout_subject(subject: str) -> ResponseReturnValue:
    if not is_admin(require_token().subject):
        abort(403, "Only an admin may do this.")
    if account_of(subject) is None:
        abort(404, "There is no such user.")
    revocation = tokens.revoke_subject(subject)
    return jsonify(subject=subject, seq=revocation.seq, confirmed=bool(revocation.confirm(CONFIRM)))


@blueprint.get("/recent")
def recent() -> ResponseReturnValue:
    return jsonify(recent=recently_viewed(require_token().subject))
