"""Lines: one for each act, with who did it to whom; never a secret; never broken by a name."""

from __future__ import annotations

import json
import logging
from itertools import chain
from typing import Any

import pytest
from flask import Flask

from flask_clustertoken import ClusterToken, token_required
from flask_clustertoken.audit import AuditLine, network_of
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.events import TokenReused
from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Whereabouts
from flask_clustertoken.wsgi import ClusterTokenMiddleware

SECRET = "the secret of these tests, long enough"


class TrailSite:
    """An app whose audit trail is read back."""

    def __init__(self, log: pytest.LogCaptureFixture, **settings: object) -> None:
        log.set_level(logging.INFO, "flask_clustertoken.audit")
        self._log = log
        self.app = app = Flask(__name__)
        app.config.update(
            CLUSTERTOKEN_STORE="memory:",
            CLUSTERTOKEN_SECRET=SECRET,
            CLUSTERTOKEN_COOKIE_SECURE=False,
        )
        app.config.update({f"CLUSTERTOKEN_{name}": value for name, value in settings.items()})
        self.tokens = tokens = ClusterToken(clock=ManualClock())
        tokens.init_app(app)

        @app.post("/login/<path:subject>")
        def login(subject: str) -> str:
            return tokens.login(subject, labels=["sid:1"]).id

        @app.post("/logout")
        def logout() -> str:
            tokens.logout()
            return "out"

        @app.post("/end/<subject>")
        @token_required
        def end(subject: str) -> str:
            tokens.revoke_subject(subject)
            return "ended"

    @property
    def texts(self) -> list[str]:
        name = "flask_clustertoken.audit"
        return [one.getMessage() for one in self._log.records if one.name == name]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.texts]


@pytest.fixture
def site(caplog: pytest.LogCaptureFixture) -> TrailSite:
    return TrailSite(caplog, KEEP_ADDRESS=True)


def test_a_login_and_a_log_out_name_who_and_from_where(site: TrailSite) -> None:
    """The address is shortened to its network; the log-out has the feed's number."""
    client = site.app.test_client()
    where = {"REMOTE_ADDR": "192.0.2.77"}
    token_id = client.post("/login/alice", environ_overrides=where).text
    client.post("/logout", environ_overrides=where)
    login, logout = site.lines
    assert login["event"] == "login"
    assert (login["subjects"], login["token_ids"]) == (["alice"], [token_id])
    assert login["labels"] == ["sid:1"]
    assert (login["by"], login["network"]) == ("request", "192.0.2.0/24")
    assert logout["event"] == "logout"
    assert (logout["actor"], logout["actor_token"]) == ("alice", token_id)
    assert logout["subjects"] == ["alice"]
    assert logout["seq"] > 0
    assert logout["time"].endswith("Z")


def test_an_address_is_not_kept_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """Who was where is nobody's business by default."""
    site = TrailSite(caplog)
    site.app.test_client().post("/login/alice", environ_overrides={"REMOTE_ADDR": "192.0.2.77"})
    assert "192.0.2" not in site.texts[0]


def test_somebody_else_s_log_out_names_both(site: TrailSite) -> None:
    """The administrator is the actor, the person whom it was done to the subject."""
    client = site.app.test_client()
    client.post("/login/root")
    client.post("/end/alice")
    line = site.lines[-1]
    assert (line["event"], line["actor"], line["subjects"]) == (
        "revoked_subject",
        "root",
        ["alice"],
    )
    assert line["kinds"] == ["login"]


def test_a_login_over_a_login_names_the_one_that_it_ended(site: TrailSite) -> None:
    """By whom, too: whoever had it."""
    client = site.app.test_client()
    first = client.post("/login/alice").text
    client.post("/login/bob")
    ended = site.lines[1]
    assert (ended["event"], ended["token_ids"]) == ("revoked_token", [first])
    assert (ended["actor"], ended["actor_token"]) == ("alice", first)


def test_each_kind_of_act_leaves_its_line(site: TrailSite) -> None:
    """Outside a request it is the node that acts."""
    tokens = site.tokens
    with site.app.app_context():
        authority = state_of(site.app).authority
        made = authority.issue_api_token("ci", "deploy").token
        tokens.revoke(made.id)
        tokens.revoke_label("sid:1")
        tokens.revoke_all()
        tokens.not_before(0)
        tokens.lock(subject="mallory", message="no")
        tokens.unlock(subject="mallory")
        authority.restored()
        tokens.audit.note("exported", detail="all of it")
    assert [(one["event"], one["by"]) for one in site.lines] == [
        ("api_token_made", "node"),
        ("revoked_token", "node"),
        ("revoked_label", "node"),
        ("revoked_everybody", "node"),
        ("revoked_not_before", "node"),
        ("locked", "node"),
        ("unlocked", "node"),
        ("restored", "node"),
        ("exported", "node"),
    ]
    by_event = {one["event"]: one for one in site.lines}
    assert by_event["api_token_made"]["detail"] == "deploy"
    assert by_event["revoked_token"]["token_ids"] == [made.id]
    assert by_event["revoked_label"]["labels"] == ["sid:1"]
    assert by_event["locked"]["detail"] == "subject mallory"


def test_what_failed_leaves_no_line(site: TrailSite) -> None:
    """The store did not take it: it did not happen."""
    client = site.app.test_client()
    client.post("/login/alice")
    state_of(site.app).authority.store.close()
    assert client.post("/logout").status_code == 503
    assert [one["event"] for one in site.lines] == ["login"]


@pytest.mark.parametrize(
    "subject", ["<script>alert(1)</script>", "a\nb: forged", "\u202egnirts", "x" * 255, "\x1b[2J"]
)
def test_a_subject_breaks_no_line(site: TrailSite, subject: str) -> None:
    """Whatever somebody is called: one line of ASCII without control characters."""
    authority = state_of(site.app).authority
    try:
        authority.issue_login(subject)
    except ValueError:
        return  # no subject at all: nothing was issued
    (text,) = site.texts
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["subjects"] == [subject]


def test_many_ids_are_named_in_part_and_counted(site: TrailSite) -> None:
    """A line does not grow with what is done."""
    authority = state_of(site.app).authority
    made = [authority.issue_login("alice").token.id for _ in range(30)]
    authority.revoke_ids(made)
    line = site.lines[-1]
    assert (len(line["token_ids"]), line["count"]) == (20, 30)


@pytest.mark.parametrize(
    "letter",
    ["x", "\u4e2d", "\U0001f600", "\x00", "\ud800", '"'],
    ids=["a letter", "a Chinese one", "an emoji", "a control", "half a pair", "a quote"],
)
def test_no_text_of_a_line_grows_with_what_is_handed_in(site: TrailSite, letter: str) -> None:
    """Neither in letters nor in bytes, whatever it is: events and kinds are an app's own words."""
    texts = [f"{number:02}" + letter * 5000 for number in range(30)]
    with site.app.app_context():
        site.tokens.audit.note(
            texts[0],
            outcome=texts[0],
            subjects=texts,
            token_ids=texts,
            labels=texts,
            kinds=texts,
            detail=texts[0],
        )
    (line,) = site.lines
    assert line["count"] == 30
    lists = [line[name] for name in ("subjects", "token_ids", "labels", "kinds")]
    assert [len(one) for one in lists] == [20] * 4
    for text in [line["event"], line["outcome"], line["detail"], *chain(*lists)]:
        assert len(text) <= 256
        assert len(json.dumps(text)) - 2 <= 1024
        assert text.endswith("\N{HORIZONTAL ELLIPSIS}")
        assert len(text) == 256 or len(json.dumps(text)) > 1024 - 12


@pytest.mark.parametrize(
    "text",
    ["alice", "x" * 256, "\u4e2d" * 170, "\U0001f600" * 85],
    ids=["a name", "letters", "Chinese ones", "emoji"],
)
def test_a_text_that_has_room_is_written_whole(site: TrailSite, text: str) -> None:
    """Up to the last letter, or the last byte."""
    with site.app.app_context():
        site.tokens.audit.note("act", subjects=[text])
    assert site.lines[0]["subjects"] == [text]


def test_no_token_and_no_key_is_in_any_line(site: TrailSite) -> None:
    """Promise 8: neither a text, nor its signature, nor the secret."""
    client = site.app.test_client()
    client.post("/login/alice")
    cookie = client.get_cookie("clustertoken")
    assert cookie is not None
    api = state_of(site.app).authority.issue_api_token("ci", "deploy").text
    client.post("/logout")
    for text in site.texts:
        for secret in (cookie.value, cookie.value.split(".")[-1], api, SECRET):
            assert secret not in text


def test_plain_wsgi_has_the_same_trail(caplog: pytest.LogCaptureFixture) -> None:
    """The middleware writes it, whatever is behind."""
    caplog.set_level(logging.INFO, "flask_clustertoken.audit")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["clustertoken"].login("alice")
        start_response("200 OK", [])
        return [b""]

    wrapped = ClusterTokenMiddleware(app, store="memory:", secret=SECRET, keep_address=True)
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "REMOTE_ADDR": "2001:db8:1:2::3"}
    list(wrapped(environ, lambda *_: lambda _: None))
    (record,) = [one for one in caplog.records if one.name == "flask_clustertoken.audit"]
    line = json.loads(record.getMessage())
    assert (line["event"], line["by"], line["network"]) == ("login", "request", "2001:db8:1::/48")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unix:", ""),
        ("not an address", ""),
    ],
)
def test_a_network_is_told_and_no_address(address: str, network: str) -> None:
    """What is no address has no network."""
    assert network_of(address) == network


def test_a_line_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    """What is not understood is left out; what is no line is said."""
    said = {"time": "t", "event": "e", "outcome": "o", "realm": "r", "deployment": "d", "node": "n"}
    assert AuditLine.from_mapping({**said, "mood": "good"}).event == "e"
    with pytest.raises(ValueError, match="not a line"):
        AuditLine.from_mapping({"event": "e"})


@pytest.mark.parametrize(("when", "outcome"), [("report", "reported"), ("end", "ended")])
def test_two_holders_of_a_login_are_written_down_with_both_places(
    caplog: pytest.LogCaptureFixture, when: str, outcome: str
) -> None:
    """What became of it, and nothing of the cookie."""
    site = TrailSite(caplog, WHEN_REUSED=when)
    authority = state_of(site.app).authority
    token = authority.issue_login("alice").token
    places = (Whereabouts(1.0, "curl " + "x" * 500, "web1"), Whereabouts(2.0, 'A "b"', "web2"))
    authority.events.announce(TokenReused(token, *places, when == "end"))
    line = site.lines[-1]
    assert (line["event"], line["outcome"]) == ("two_holders", outcome)
    assert (line["subjects"], line["token_ids"]) == (["alice"], [token.id])
    assert line["detail"].startswith("web1 'curl xxx")
    assert line["detail"].endswith("and web2 'A \"b\"'")
