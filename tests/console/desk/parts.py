"""An app with a console, its administrator, and whoever else there is."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from html import unescape
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_clustertoken import ClusterToken
from flask_clustertoken.audit import AuditLine, KeptAudit, keeping
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.console import Console
from flask_clustertoken.extension import state_of
from flask_clustertoken.stores.base import Add
from flask_clustertoken.tokens import Token, new_id, record_end, record_key, to_record
from tests.extension.parts import MakeApp, WatchedStore, watch
from tests.waiting import wait_until

HTML = {"Accept": "text/html"}


@dataclass
class Desk:
    """The app, and a browser of its administrator."""

    app: Flask
    tokens: ClusterToken
    clock: ManualClock

    def __post_init__(self) -> None:
        self.admin = self.browser("admin")

    @property
    def authority(self) -> TokenAuthority:
        return state_of(self.app).authority

    @property
    def calls(self) -> Counter[str]:
        """How often the store was asked for what."""
        store = self.authority.runtime.store
        assert isinstance(store, WatchedStore)
        return store.calls

    def browser(self, subject: str, *labels: str) -> FlaskClient:
        """A browser of somebody who just logged in."""
        client = self.app.test_client()
        with self.app.test_request_context():
            issued = self.authority.issue_login(subject, labels=labels)
        client.set_cookie(state_of(self.app).settings.cookie.name, issued.text, secure=True)
        return client

    def get(self, path: str, client: FlaskClient | None = None, **args: Any) -> TestResponse:
        query = f"?{urlencode(args, doseq=True)}" if args else ""
        return (client or self.admin).get(
            f"/console{path}{query}", headers=HTML, base_url="https://localhost"
        )

    def post(self, path: str, client: FlaskClient | None = None, **form: Any) -> TestResponse:
        return (client or self.admin).post(
            f"/console{path}", data=form, headers=HTML, base_url="https://localhost"
        )

    def outcome(self, answer: TestResponse) -> str:
        """What is shown in the end of what was asked for."""
        assert answer.status_code == 303, answer.text
        shown = [""]

        def over() -> bool:
            page = self.admin.get(
                answer.headers["Location"], headers=HTML, base_url="https://localhost"
            )
            assert page.status_code == 200, page.text
            shown[0] = page.text
            return "http-equiv" not in page.text

        wait_until(over)
        return shown[0]

    def is_in(self, client: FlaskClient) -> bool:
        return client.get("/me", base_url="https://localhost").status_code == 200


def make_desk(
    make_app: MakeApp, clock: ManualClock, *, watched: bool = False, **settings: Any
) -> Desk:
    """*watched*: the calls to its store are counted."""
    app, tokens = make_app(**settings)
    if watched:
        watch(app)
    Console(app, may=lambda token: token.subject == "admin")
    return Desk(app, tokens, clock)


def lines(desk: Desk) -> list[AuditLine]:
    """The audit trail, the newest first."""
    desk.clock.advance(keeping.COLLECT)
    for _ in range(3):
        desk.authority.follower().step()
    return list(KeptAudit(desk.authority.store, desk.clock).newest())


def ids_in(page: str) -> list[str]:
    """The tokens that a page lists."""
    return re.findall(r'<li id="t-([\w-]{24})">', page)


def people_in(page: str) -> list[str]:
    """The people that a page lists, without the one that was asked for exactly."""
    part = page.partition('id="people"')[2].partition("</ul>")[0]
    return [unescape(one) for one in re.findall(r'class="ct-what" [^>]*><bdi>(.*?)</bdi>', part)]


def next_in(page: str) -> str:
    """Where a page goes on; ``""``: nowhere."""
    found = re.search(r'rel="next" href="/console([^"]*)"', page)
    return unescape(found[1]) if found else ""


class Inline(HTMLParser):
    """What a strict policy forbids: styles and scripts in the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and not names.get("src")):
            self.found.append(tag)
        self.found += [one for one in names if one == "style" or one.startswith("on")]
        for one in ("href", "src", "action"):
            if (names.get(one) or "").lower().startswith(("javascript:", "data:", "http")):
                self.found.append(f"{one}={names[one]}")


def inline_in(page: str) -> list[str]:
    parser = Inline()
    parser.feed(page)
    return parser.found


def fill(authority: TokenAuthority, subjects: Iterator[str], count: int) -> list[Token]:
    """So many logins as they lie in a store that was in use for long, a thousand in one step."""
    model = authority.issue_login("model").token
    record = authority.listing.token(model.id)
    assert record is not None
    spare = authority.lifetimes.spare
    made: list[Token] = []
    while len(made) < count:
        some = [
            replace(record, id=new_id(one), subject=one)
            for one in islice(subjects, min(1000, count - len(made)))
        ]
        changes = [
            Add(one.record_key, to_record(one, spare), record_end(one, spare)) for one in some
        ]
        authority.store.append([], changes)
        made += some
    authority.revoke_ids([model.id])
    return made


def fill_database(authority: TokenAuthority, path: Path, subjects: Iterator[str]) -> None:
    """A login of each of *subjects* in the directory store's database, whatever else is in it.

    (By SQL, a few thousand in a transaction: a hundred thousand take seconds, and the nodes have
    their turn in between.)
    """
    model = authority.issue_login("model").token
    record = authority.listing.token(model.id)
    assert record is not None
    spare = authority.lifetimes.spare
    value = to_record(record, spare).decode()
    end = record_end(record, spare)

    def rows() -> Iterator[tuple[str, bytes, float | None]]:
        for subject in subjects:
            token_id = new_id(subject)
            said = value.replace(model.id, token_id).replace('"model"', json.dumps(subject))
            yield record_key(token_id), said.encode(), end

    made = iter(
        sorted(rows(), key=lambda one: one[0])
    )  # (in their order the database writes each of its pages once)
    with closing(sqlite3.connect(path, timeout=30)) as database:
        database.execute("PRAGMA synchronous = OFF")  # (nobody's login)
        while some := list(islice(made, 4000)):
            with database:
                database.executemany(
                    "INSERT INTO records (key, value, expires_at) VALUES (?, ?, ?)", some
                )
    authority.revoke_ids([model.id])
