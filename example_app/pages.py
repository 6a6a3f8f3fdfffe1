"""The pages for people. Every button is a form; the extension refuses those of other origins."""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from flask_clustertoken import current_token, require_token, token_required

from . import listing
from .accounts import ACCOUNTS, is_admin
from .answers import done
from .articles import ARTICLES
from .recent import note_view, recently_viewed
from .tokens import tokens

blueprint = Blueprint("pages", __name__)

#: What ``?said=`` may make a page say; nobody else's words get onto it.
NOTES = {
    "logged-out": "You are logged out.",
    "out": "You are logged out on every device.",
    "person-out": "That person is logged out on every device.",
}


@blueprint.app_context_processor
def note() -> dict[str, str]:
    return {"note": NOTES.get(request.args.get("said", ""), "")}


@blueprint.get("/")
def home() -> ResponseReturnValue:
    refusal = current_token.refusal
    if refusal is not None and refusal.reason == "stale":
        require_token()  # 503: nobody can say who this is, which is not "nobody"
    if refusal is not None:
        return render_template("welcome.html")
    recent = recently_viewed(require_token().subject)
    return render_template("home.html", recent=recent, articles=ARTICLES)


@blueprint.get("/pages/<slug>")
@token_required
def article(slug: str) -> ResponseReturnValue:
    if slug not in ARTICLES:
        abort(404)
    note_view(require_token().subject, slug)
    return render_template("article.html", article=ARTICLES[slug])


@blueprint.get("/people")
@token_required(kind="login")
def people() -> ResponseReturnValue:
    _require_admin()
    counted = {}
    for name in ACCOUNTS:
        found, _ = listing.list_of(name)
        kinds = [one["kind"] for one in found]
        counted[name] = {"login": kinds.count("login"), "api": kinds.count("api")}
    recorded = tokens.tokens_of(require_token().subject).recorded
    return render_template("people.html", people=ACCOUNTS, counted=counted, recorded=recorded)


@blueprint.post("/people/<name>/logout")
@token_required(kind="login")
def log_person_out(name: str) -> ResponseReturnValue:
    _require_admin()
    if name not in ACCOUNTS:
        abort(404)
    tokens.revoke_subject(name)
    mine = name == current_token.subject
    return done(url_for(".home", said="out") if mine else url_for(".people", said="person-out"))


def _require_admin() -> None:
    if not is_admin(require_token().subject):
        abort(403, "Only an admin may see this.")
