"""Gate: who gets into the console, and who may change anything there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, current_app, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ..audit import Actor, done_by
from ..authority import TokenAuthority
from ..extension import NotEnough, current_state, own_request_token, require_token
from ..tokens import Token
from .pages import Pages
from .texts import N_
from .work import Work, Works

#: What the console's blueprint is called, and where an app keeps how its console is set.
NAME = KEY = "clustertoken_console"

#: What ``?said=`` may make a page say; nobody else's words get onto it.
NOTES = {"deleted": N_("The file is deleted, on every server.")}

#: In an address: the page asks again by itself, which is no use of the login.
AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Rules:
    """How the console of one app is set."""

    pages: Pages
    may: Callable[[Token], bool]


def let_in() -> None:
    """Before each view: the login of somebody who may; else the HTTP error that refuses."""
    rules: Rules = current_app.extensions[KEY]
    # What changes anything asks the store itself: this very login may just have been ended.
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    token = require_token(kind="login", slide=AGAIN not in request.args, strict=changes)
    if not rules.may(token):
        raise NotEnough(description="Only those who administer this site may see this.")


def me() -> Token:
    """Whose login it is."""
    return require_token(kind="login")


def authority() -> TokenAuthority:
    return current_state().authority


def works() -> Works:
    return Works(authority())


def actor() -> Actor:
    """Who acts, for the audit trail: by the console."""
    return replace(own_request_token().actor(), by="console")


def show(page: str, status: int = 200, **context: Any) -> Response:
    """The console's *page*."""
    rules: Rules = current_app.extensions[KEY]
    return rules.pages.show(f"console/{page}", status, note=rules.pages.said(NOTES), **context)


@contextmanager
def acting() -> Iterator[Actor]:
    """What is done within is an act of the console, for the audit trail."""
    who = actor()
    with done_by(lambda: who):
        yield who


def to_work(work: Work) -> BaseResponse:
    """To the page that shows what comes of it."""
    return redirect(url_for(f"{NAME}.watch", work=work.id), 303)
