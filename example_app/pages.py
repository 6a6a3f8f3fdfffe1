"""The pages for people. Every button is a form; the extension refuses those of other origins."""

from __future__ import annotations

from flask import Blueprint, abort, make_response, render_template, request, url_for
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
    "others-out": "All other devices are logged out. This one stays.",
    "ended": "That login has ended, on every server.",
    "token-ended": "That API token has ended, on every server.",
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


@blueprint.get("/devices")
@token_required(kind="login")
def devices() -> ResponseReturnValue:
    found, recorded = listing.list_of(require_token().subject)
    logins = [one for one in found if one["kind"] == "login"]
    logins.sort(key=lambda one: not one["current"])
    return render_template("devices.html", logins=logins, recorded=recorded)


@blueprint.post("/devices/<token_id>/end")
@token_required(kind="login")
def end_device(token_id: str) -> ResponseReturnValue:
    if token_id == current_token.id:
        # This device: its cookie goes too.
        tokens.logout()
        return done(url_for(".home", said="logged-out"))
    listing.end(token_id)
    return done(url_for(".devices", said="ended"))


@blueprint.get("/tokens")
@token_required(kind="login")
def api_tokens() -> ResponseReturnValue:
    return _tokens_page()


@blueprint.post("/tokens")
@token_required(kind="login")
def make_api_token() -> ResponseReturnValue:
    name, scopes = listing.name_and_scopes(
        request.form.get("name"), request.form.get("scopes", "").replace(",", " ").split()
    )
    issued = tokens.issue_api_token(require_token().subject, name, scopes)
    # No redirect: this answer is the only place where the text ever stands.
    page = make_response(_tokens_page(new=issued.token.name, text=issued.text), 201)
    page.headers["Cache-Control"] = "no-store"
    return page


def _tokens_page(**more: str) -> str:
    found, _ = listing.list_of(require_token().subject)
    mine = [one for one in found if one["kind"] == "api"]
    return render_template("tokens.html", api_tokens=mine, **more)


@blueprint.post("/tokens/<token_id>/end")
@token_required(kind="login")
def end_api_token(token_id: str) -> ResponseReturnValue:
    listing.end(token_id)
    return done(url_for(".api_tokens", said="token-ended"))


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
