"""Logging in and out."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from flask_clustertoken import current_token, token_required
from flask_clustertoken.errors import Locked, RevokedMeanwhile, TokenLimitReached
from flask_clustertoken.extension import safe_target

from .accounts import check_password
from .answers import done, sent_json
from .tokens import tokens

blueprint = Blueprint("sessions", __name__)

#: Seconds to wait for all workers of all hosts to say that a revocation is in force there.
CONFIRM = 2.0


@blueprint.get("/login")
def login_page() -> ResponseReturnValue:
    return render_template("login.html", target=safe_target(request.args.get("next")))


@blueprint.post("/login")
def login() -> ResponseReturnValue:
    # Before the password is checked: "log out everywhere" must also win over a login that is
    # just being made with the old password.
    since = tokens.login_begins()
    given = sent_json() if request.is_json else request.form
    name, password = given.get("username"), given.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        abort(400, "Send username and password.")
    target = safe_target(request.form.get("next"))

    account = check_password(name, password)
    if account is None:
        return _sorry("wrong_password", "This name and password do not belong together.", target)
    try:
        token = tokens.login(
            account.name,
            since=since,
            remember="forget" not in given,
        )
    except Locked as lock:  # trying again would help nobody: the lock's own words say what does
        return _sorry("locked", lock.message or "Access is locked at the moment.", target, 403)
    except RevokedMeanwhile:
        return _sorry("ended_meanwhile", "This login was ended meanwhile. Try again.", target)
    except TokenLimitReached:
        return _sorry(
            "too_many_logins",
            "You are logged in on as many devices as you may be. Log out on one of them first.",
            target,
            403,
        )
    if request.is_json:
        return jsonify(subject=token.subject, token_id=token.id, expires_at=token.expires_at)
    return done(target)


def _sorry(error: str, message: str, target: str, status: int = 401) -> ResponseReturnValue:
    if request.is_json:
        return jsonify(error=error, message=message), status
    name = request.form.get("username", "")
    return render_template("login.html", target=target, problem=message, name=name), status


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    # Also where nobody is logged in: whoever wants to be logged out is.
    tokens.logout()
    return done(url_for("pages.home", said="logged-out"), logged_out=True)


@blueprint.post("/logout-everywhere")
@token_required(kind="login")
def logout_everywhere() -> ResponseReturnValue:
    given = sent_json() if request.is_json and request.content_length else request.form
    keep = bool(given.get("keep"))
    subject = current_token.subject
    revocation = tokens.logout_everywhere(keep_current=keep)
    assert revocation is not None
    return done(
        url_for("clustertoken_devices.logins", said="others-ended")
        if keep
        else url_for("pages.home", said="out"),
        subject=subject,
        seq=revocation.seq,
        confirmed=bool(revocation.confirm(CONFIRM)),
    )
