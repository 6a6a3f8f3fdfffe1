"""Sessions: OpenTelemetry hears of logins that begin and end, by digests."""

from __future__ import annotations

import pytest

from flask_clustertoken import current_token
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import MemoryStore
from flask_clustertoken.tracing import Tracing, session_id, trace_authority

from .parts import SECRET, SPAN, TRACE, TRACEPARENT, Told, TracedSite


@pytest.fixture
def site() -> TracedSite:
    return TracedSite()


def start(session: str, previous: str = "") -> tuple[str, dict[str, str]]:
    attributes = {"session.id": session}
    if previous:
        attributes["session.previous_id"] = previous
    return "session.start", attributes


def end(session: str) -> tuple[str, dict[str, str]]:
    return "session.end", {"session.id": session}


def test_a_login_starts_a_session_and_a_log_out_ends_it(site: TracedSite) -> None:
    """At the time at which it happened, as an event of this library's."""
    client = site.app.test_client()
    session = client.post("/login/alice").text
    site.clock.advance(60)
    client.post("/logout")
    assert site.told.events == [start(session), end(session)]
    began, ended = site.told.records
    assert ended.timestamp - began.timestamp == 60 * 10**9
    assert began.severity_text == "INFO"


def test_no_event_holds_a_token_s_id(site: TracedSite) -> None:
    """Nor anything else of whom it is about: a digest alone."""
    client = site.app.test_client()
    session = client.post("/login/alice").text
    cookie = client.get_cookie("clustertoken")
    assert cookie is not None
    (token,) = site.authority.tokens_of("alice")
    client.post("/logout")
    said = repr([vars(one) for one in site.told.records])
    for secret in (token.id, "alice", cookie.value, cookie.value.split(".")[-1]):
        assert secret not in said
    assert session == session_id(token)
    assert len(session) == 40
    assert int(session, 16)


def test_an_event_stands_in_the_trace_of_its_request(site: TracedSite) -> None:
    """Of the current span, and else of what the request's header says."""
    client = site.app.test_client()
    with site.tracer.start_as_current_span("request") as span:
        client.post("/login/alice", headers={"traceparent": TRACEPARENT})
    client.post("/logout", headers={"traceparent": TRACEPARENT})
    began, ended = site.told.records
    assert began.trace_id == span.get_span_context().trace_id
    assert began.span_id == span.get_span_context().span_id
    assert (ended.trace_id, ended.span_id) == (int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_login_over_a_login_goes_on_as_another_session(store: str) -> None:
    """The end of the one is told before the start of the other, which names it."""
    site = TracedSite(TOKEN_STORE=store)
    client = site.app.test_client()
    first = client.post("/login/alice").text
    second = client.post("/login/alice").text
    third = client.post("/login/bob").text
    assert site.told.events == [
        start(first),
        end(first),
        start(second, first),
        end(second),
        start(third),
    ]


def test_a_log_out_everywhere_ends_the_session_that_asked(site: TracedSite) -> None:
    """Of the others nobody knows the ids: that is left to the audit trail."""
    client = site.app.test_client()
    session = client.post("/login/alice").text
    client.post("/logout-everywhere")
    assert site.told.events == [start(session), end(session)]


def test_whoever_ends_the_others_goes_on_as_another_session(site: TracedSite) -> None:
    """It is named, and that ends it."""
    client = site.app.test_client()
    first = client.post("/login/alice").text
    second = client.post("/end-the-others").text
    assert site.told.events == [start(first), start(second, first)]


def test_a_bound_login_goes_on_as_another_session(site: TracedSite) -> None:
    """And the unbound one ends with the first use of it."""
    authority = site.authority
    login = authority.issue_login("alice").token
    bound = authority.bind(login, "a key")
    proof, _ = authority.proving.proof(bound.token)
    assert authority.authenticate(bound.text, proofs=[proof])
    authority.proving.end_due(leaving=True)
    assert site.told.events == [
        start(session_id(login)),
        start(session_id(bound.token), session_id(login)),
        end(session_id(login)),
    ]


@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_session_that_somebody_else_ends_has_ended(store: str) -> None:
    """By its id, one or several; an API token is none."""
    site = TracedSite(TOKEN_STORE=store)
    authority = site.authority
    logins = [authority.issue_login(subject).token for subject in ("alice", "bob")]
    api = authority.issue_api_token("ci", "deploy").token
    authority.revoke_ids([logins[0].id, api.id, logins[1].id])
    began = [start(session_id(one)) for one in logins]
    assert site.told.events == [*began, *(end(session_id(one)) for one in logins)]


def test_what_is_over_ends_no_second_time(site: TracedSite) -> None:
    """Nothing was ended: there was no record any more."""
    token = site.authority.issue_login("alice").token
    site.authority.revoke_ids([token.id])
    site.authority.revoke_ids([token.id])
    assert [name for name, _ in site.told.events] == ["session.start", "session.end"]


def test_sessions_are_told_on_request_only() -> None:
    """A line more: not everybody's logs are to say who came when."""
    site = TracedSite(sessions=False)
    site.app.test_client().post("/login/alice")
    assert site.told.events == []


def test_an_exporter_that_fails_costs_nobody_a_login(
    site: TracedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, as of any listener."""

    def broken(*_: object) -> None:
        raise RuntimeError("the collector is away")

    monkeypatch.setattr(type(site.told._exporter), "export", broken)
    assert site.app.test_client().post("/login/alice").status_code == 200


def test_nobody_has_no_session(site: TracedSite) -> None:
    """Asked without a look at whether somebody is logged in."""
    with site.app.test_request_context(), pytest.raises(ValueError, match="nobody"):
        session_id(current_token)


def test_made_twice_it_says_so(site: TracedSite) -> None:
    """Else each session would begin twice."""
    with pytest.raises(ConfigurationError, match="already"):
        Tracing(site.app)


def test_beside_an_app_that_is_not_flask_s() -> None:
    """By the authority alone."""
    told, clock = Told(), ManualClock()
    settings = Settings(store="memory:", secret=(SECRET,))
    store = MemoryStore(clock=clock)
    authority = TokenAuthority(settings, clock=clock, store=store, threaded=False)
    trace_authority(authority, sessions=True, provider=told.provider)
    token = authority.issue_login("alice").token
    assert told.events == [start(session_id(token))]
