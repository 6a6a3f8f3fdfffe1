"""API tokens: one that is made for somebody, whose text is shown this once."""

from __future__ import annotations

from flask import Response, request

from ..errors import Locked
from ..extension import own_request_token
from ..tokens import WrongArgument
from . import gate
from .texts import N_

#: Days that can be chosen; 0: no end.
LIVES = (30, 90, 365, 0)

DAY = 86_400


def new(problem: str = "", status: int = 200) -> Response:
    """The form."""
    given = request.form if request.method == "POST" else request.args
    return gate.show("issue.html", status, lives=LIVES, given=given, problem=problem)


def issue() -> Response:
    """Make it. No redirect: this answer is the only place where the text ever stands."""
    form = request.form
    subject, name = form.get("subject", "").strip(), form.get("name", "").strip()
    scopes = form.get("scopes", "").replace(",", " ").split()
    days = form.get("days", "")
    if days not in {str(one) for one in LIVES}:
        return new(N_("Choose how long it lives."), 400)
    try:
        with gate.acting() as actor, own_request_token().on_its_strength() as asker:
            issued = gate.authority().issue_api_token(
                subject,
                name,
                scopes,
                int(days) * DAY or None,
                created_by=actor.subject,
                on=asker,
            )
    except (WrongArgument, TypeError) as error:
        return new(str(error), 400)
    except Locked:
        # What the lock says is said to whoever it locks out, and not to whoever asks here; unless
        # it is that very login, which is refused as everywhere.
        gate.me()
        if gate.authority().locking.standing(subject=subject) is None:
            return new(N_("API tokens are locked: lift that lock first."), 409)
        return new(N_("This person is locked out: lift the lock first."), 409)
    return gate.show("issued.html", 201, token=issued.token, text=issued.text)
