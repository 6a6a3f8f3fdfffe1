"""What is counted, and when: each name means what its help says."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response
from werkzeug.test import create_environ, run_wsgi_app

from flask_clustertoken import current_token, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.metrics import metrics_app
from tests.metrics.parts import MeasuredSite

DAY = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def site(clock: ManualClock) -> MeasuredSite:
    site = MeasuredSite(clock)
    tokens = site.tokens

    @site.app.post("/login")
    def login() -> str:
        return tokens.login("alice").id

    @site.app.post("/logout")
    def logout() -> str:
        tokens.logout()
        return "out"

    @site.app.get("/me")
    @token_required
    def me() -> str:
        return str(current_token.subject)

    return site


def test_the_life_of_a_login_is_counted(site: MeasuredSite, clock: ManualClock) -> None:
    """Issued once, presented and accepted each time, renewed once, revoked, then refused."""
    client = site.app.test_client()
    client.post("/login")
    for _ in range(3):
        assert client.get("/me").status_code == 200
    clock.advance(2 * DAY)
    assert client.get("/me").status_code == 200
    kept = client.get_cookie("clustertoken")
    assert kept is not None
    client.post("/logout")
    client.set_cookie("clustertoken", kept.value)
    assert client.get("/me").status_code == 401
    told = site.told()
    found = {(name, *sorted(labels)): value for (name, labels), value in told.items()}
    kind = ("kind", "login")
    accepted = found["clustertoken_authentications_total", kind, ("result", "accepted")]
    assert accepted == 5  # (the log-out looks, too)
    assert found["clustertoken_authentications_total", kind, ("result", "refused")] == 1
    assert found["clustertoken_tokens_issued_total", kind] == 1
    assert found[("clustertoken_renewals_total",)] == 1
    assert found["clustertoken_revocations_total", ("kind", "ids")] == 1
    assert found["clustertoken_revocations_applied_total", ("kind", "ids")] == 1
    assert found["clustertoken_refusals_total", ("reason", "revoked")] == 1


def test_a_request_without_a_token_is_counted_nowhere(site: MeasuredSite) -> None:
    """Who presents nothing is not refused anything."""
    site.app.test_client().get("/me")
    told = site.told()
    assert not any(value for (name, _), value in told.items() if "refusals_total" in name)
    assert told["clustertoken_refusals_total", frozenset({("reason", "revoked")})] == 0


def test_calls_to_the_store_are_timed_by_name_and_outcome(site: MeasuredSite) -> None:
    """A login is a record that is added; what a store asks itself counts with its caller."""
    site.app.test_client().post("/login")
    told = site.told()
    counted = {
        (dict(labels)["call"], dict(labels)["outcome"]): value
        for (name, labels), value in told.items()
        if name == "clustertoken_store_call_seconds_count"
    }
    assert counted["append", "ok"] >= 1
    assert counted["vouch", "ok"] >= 1
    assert all(outcome == "ok" for _, outcome in counted)


def test_a_node_that_is_not_vouched_for_is_told_as_stale(
    site: MeasuredSite, clock: ManualClock
) -> None:
    """By the clock of the scrape: who is frozen notes nothing, and is seen all the same."""
    site.app.test_client().post("/login")
    assert site.value("fresh") == 1
    assert site.value("workers", state="fresh") == 1
    assert site.value("staleness_seconds") < 1
    clock.advance(11)
    assert site.value("fresh") == 0
    assert site.value("workers", state="stale") == 1
    assert site.value("staleness_seconds") == pytest.approx(11, abs=1)


def test_nodes_keys_and_the_view_are_told(site: MeasuredSite) -> None:
    """How many nodes are there, which keys in which state, and how much a view holds."""
    client = site.app.test_client()
    client.post("/login")
    client.post("/logout")
    assert site.value("nodes", state="present") == 1
    assert site.value("nodes", state="silent") == 0
    assert site.value("keys", state="unmarked") == 1
    assert site.value("view_entries") == 1


def test_the_lag_of_an_embedded_store_is_by_its_host_s_clock(site: MeasuredSite) -> None:
    """A revocation is known when the call returns: the lag is within the first bucket."""
    client = site.app.test_client()
    client.post("/login")
    client.post("/logout")
    assert site.value("revocation_lag_seconds_count", measured="clock") == 1
    assert site.value("revocation_lag_seconds_bucket", measured="clock", le="0.001") == 1


def test_no_token_no_subject_and_no_secret_is_told(site: MeasuredSite) -> None:
    """Promise 8 holds for metrics as well."""
    client = site.app.test_client()
    token_id = client.post("/login").text
    cookie = client.get_cookie("clustertoken")
    assert cookie is not None
    client.get("/me", headers={"Authorization": "Bearer nonsense"})
    text = client.get("/metrics").text
    for secret in ("alice", token_id, cookie.value, cookie.value.split(".")[-1], "nonsense"):
        assert secret not in text


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        ({"REMOTE_ADDR": "192.0.2.7"}, {}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Forwarded-For": "192.0.2.7"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"Forwarded": "for=192.0.2.7"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Real-IP": "192.0.2.7"}),
        ({"REMOTE_ADDR": ""}, {}),
        ({"REMOTE_ADDR": "unix:"}, {}),
    ],
)
def test_only_programs_of_this_host_are_answered(
    site: MeasuredSite, environ: dict[str, Any], headers: dict[str, str]
) -> None:
    """Unless the app says who may: others are told that there is no such page."""
    client = site.app.test_client()
    answer = client.get("/metrics", environ_overrides=environ, headers=headers)
    assert answer.status_code == 404
    assert b"clustertoken_" not in answer.data


@pytest.mark.parametrize(
    ("peer", "answered"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.7", False),
        ("2001:db8::1", False),
    ],
)
def test_a_program_of_this_host_is_known_by_its_address(
    site: MeasuredSite, peer: str, answered: bool
) -> None:
    """Also where the server listens on ``[::]``, and shows 127.0.0.1 as an address of IPv6."""
    answer = site.app.test_client().get("/metrics", environ_overrides={"REMOTE_ADDR": peer})
    assert (answer.status_code == 200) is answered


@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.7"])
def test_whoever_asks_by_head_gets_no_body(site: MeasuredSite, peer: str) -> None:
    """In Flask and beside it: a server would send it before the connection's next answer."""
    for app in (site.app, metrics_app(state_of(site.app).authority)):
        environ = create_environ("/metrics", method="HEAD", environ_overrides={"REMOTE_ADDR": peer})
        body, _, headers = run_wsgi_app(app, environ)
        assert b"".join(body) == b""
        assert int(headers["Content-Length"]) > 0


def test_a_scrape_is_not_kept_by_caches_and_comes_in_the_asked_form(site: MeasuredSite) -> None:
    """Prometheus asks for OpenMetrics; a person with curl gets the plain text."""
    client = site.app.test_client()
    plain: Response = client.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in plain.headers["Cache-Control"]
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    openmetrics = client.get("/metrics", headers=asked)
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
    assert client.post("/metrics").status_code == 405


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=x",
        "application/openmetrics-text; version=1!0",
        "text/plain; version=x",
        "application/openmetrics-text; version=x, application/openmetrics-text; version=1.0.0",
        "nonsense",
        ",;=,",
    ],
)
def test_a_form_that_there_is_not_is_answered_in_plain_text(
    site: MeasuredSite, accept: str
) -> None:
    """As if nothing had been asked for: numbers in another form are better than none."""
    answer = site.app.test_client().get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
