"""A stream is set up, polled, verified and missed: by one node of the cluster at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.wrappers import Response

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.extension import state_of
from flask_clustertoken.operations.diagnosis import diagnose
from flask_clustertoken.providers import stream_heard, stream_silent
from flask_clustertoken.providers.stream import CHECK_EVERY, FAILURES, LEASE, MOST_AT_ONCE
from tests.providers.listener import Listener, told
from tests.providers.transmitter import CAEP, RISC, TransmitterDouble

Listen = Callable[..., Listener]

PUSH_URL = "https://app.example/signals/events"


def findings(node: Listener, clock: ManualClock) -> dict[str, str]:
    """What ``doctor`` says of signals, by its level."""
    settings = state_of(node.app).settings
    found = diagnose(settings, instance_path=node.app.instance_path, clock=clock)
    return {one.level: one.what for one in found if one.about == "signals"}


# -- setting up ------------------------------------------------------------------------


def test_a_stream_is_made_and_polled(listen: Listen, transmitter: TransmitterDouble) -> None:
    """With credentials alone: nobody has to set anything up."""
    node = listen()
    login = node.login()
    jti = transmitter.put(transmitter.revoked())

    node.settle()

    assert transmitter.stream is not None
    assert transmitter.stream["delivery"]["method"] == "urn:ietf:rfc:8936"
    assert f"{CAEP}session-revoked" in transmitter.stream["events_requested"]
    assert not login.stands()
    assert jti in transmitter.acknowledged
    assert transmitter.queue == {}


def test_a_stream_is_made_for_pushes(listen: Listen, transmitter: TransmitterDouble) -> None:
    """It names our address and our header, and its own audience is believed."""
    transmitter.audience = "https://login.example/clients/7"
    node = listen(delivery="push", push_url=PUSH_URL, push_authorization="Bearer of-ours")
    node.step()

    assert transmitter.stream is not None
    assert transmitter.stream["delivery"] == {
        "method": "urn:ietf:rfc:8935",
        "endpoint_url": PUSH_URL,
    }
    assert transmitter.pushed_with == "Bearer of-ours"
    login = node.login()
    text = transmitter.signed(transmitter.revoked())
    assert node.push(text, Authorization="Bearer of-ours").status_code == 202
    assert not login.stands()


def test_what_is_there_is_taken_up(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Another node, and one that starts anew, find the stream; what it lacks is added."""
    listen().step()
    first = dict(transmitter.stream or {})
    transmitter.stream = {**first, "events_requested": [f"{CAEP}session-revoked"]}
    clock.advance(LEASE + 1)

    listen().step()

    assert transmitter.stream["stream_id"] == first["stream_id"]
    assert set(transmitter.stream["events_requested"]) == set(first["events_requested"])
    assert [one[:2] for one in transmitter.seen].count(("POST", "/ssf/stream")) == 1


def test_another_header_is_told(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """What the transmitter was given cannot be read there: that it changed is known here."""
    push = {"delivery": "push", "push_url": PUSH_URL}
    listen(**push, push_authorization="Bearer one").step()
    clock.advance(LEASE + 1)

    listen(**push, push_authorization="Bearer two").step()

    assert transmitter.pushed_with == "Bearer two"


def test_a_stream_that_is_gone_is_made_again(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Somebody took it away: it is missed with the next verification, and made."""
    node = listen()
    node.settle()
    transmitter.stream = None
    transmitter.instead = lambda request: (
        Response("", 404)
        if transmitter.stream is None and request.path in ("/ssf/poll", "/ssf/verify")
        else None
    )
    clock.advance(6)
    node.step()
    clock.advance(2)

    node.settle()

    assert transmitter.stream is not None


def test_what_is_pushed_while_the_stream_is_made(
    listen: Listen, transmitter: TransmitterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and the store has no record of it yet: the event is put off, not refused, and
    counts when it comes again. What is somebody else's is refused all the same."""
    node = listen(delivery="push", push_url=PUSH_URL)
    login, text = node.login(), transmitter.signed(transmitter.revoked())
    usual = node.authority.store.put

    def put(key: str, *given: Any) -> None:
        if key.endswith("/stream"):
            raise StoreUnavailable("down")
        usual(key, *given)

    with monkeypatch.context() as patched:
        patched.setattr(node.authority.store, "put", put)
        node.step()
        assert transmitter.stream is not None
        assert node.push(text).status_code == 503
        assert node.push(transmitter.signed(transmitter.revoked(iss="x"))).status_code == 400
    assert login.stands()

    node.step()
    assert node.push(text).status_code == 202
    assert not login.stands()
    assert node.push(transmitter.signed(transmitter.revoked(aud="other"))).status_code == 400


def test_what_is_pushed_after_the_stream_was_made_anew(
    listen: Listen, transmitter: TransmitterDouble
) -> None:
    """Another node, which has just read whom the old one was for, reads it again before it
    refuses; the same of what a verification says."""
    push = {"delivery": "push", "push_url": PUSH_URL}
    node, other = listen(**push), listen(**push)
    node.step()
    assert other.push(transmitter.signed(transmitter.revoked("sid-2"))).status_code == 202
    login = other.login()

    transmitter.stream, transmitter.audience = None, ["another"]
    node.stream._check_at = node.stream._verify_at = float("-inf")
    node.step()

    old, state = transmitter.verifications
    answers = [
        other.push(transmitter.signed(transmitter.verification(one))) for one in (state, old)
    ]
    assert [one.status_code for one in answers] == [202, 400]
    assert other.push(transmitter.signed(transmitter.revoked())).status_code == 202
    assert not login.stands()


def test_killed_while_the_stream_is_made_anew(
    listen: Listen, transmitter: TransmitterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one tells already, and nobody has recorded it: its events are put off."""
    node = listen(delivery="push", push_url=PUSH_URL)
    node.step()
    login = node.login()

    class Killed(BaseException):
        """As if the process had ended there."""

    def kill(*_: Any) -> None:
        raise Killed

    transmitter.stream, transmitter.audience = None, ["another"]
    text = transmitter.signed(transmitter.revoked())
    node.stream._check_at = float("-inf")
    with monkeypatch.context() as patched:
        patched.setattr("flask_clustertoken.providers.management._record", kill)
        with pytest.raises(Killed):
            node.step()
    assert transmitter.stream is not None
    assert node.push(text).status_code == 503

    node.stream._check_at = float("-inf")
    node.step()
    assert node.push(text).status_code == 202
    assert not login.stands()


def test_a_stream_that_is_paused_goes_on(
    listen: Listen,
    transmitter: TransmitterDouble,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keycloak pauses one that nobody polled for a while. It is enabled, and the log says so."""
    transmitter.status = "paused"
    node = listen()
    with caplog.at_level(logging.WARNING):
        node.settle()
    assert transmitter.status == "enabled"
    assert "is paused" in caplog.text

    transmitter.status = "disabled"
    clock.advance(CHECK_EVERY)
    node.settle()
    assert transmitter.status == "enabled"


def test_events_that_will_not_be_told_are_named(
    listen: Listen, transmitter: TransmitterDouble, caplog: pytest.LogCaptureFixture
) -> None:
    """A transmitter that delivers less than what ends logins: the log says what is missing."""
    node = listen()
    node.settle()
    assert transmitter.stream is not None
    transmitter.stream["events_delivered"] = [f"{CAEP}session-revoked"]
    again = listen(name="second")
    with caplog.at_level(logging.WARNING):
        again.settle()
    assert "will not tell of: account-disabled" in caplog.text


@pytest.mark.parametrize(
    ("document", "stream", "said"),
    [("NONE", ..., True), ("NONE", "ALL", False), ("ALL", "NONE", True), (..., ..., False)],
)
def test_a_stream_that_tells_of_nobody_is_named(
    listen: Listen,
    transmitter: TransmitterDouble,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    document: Any,
    stream: Any,
    said: bool,
) -> None:
    """It would be verified again and again, and tell of no log-out: Keycloak's are so unless
    somebody sets them. Once, not with each look at it."""
    transmitter.document = {"default_subjects": document}
    transmitter.also = {} if stream is ... else {"default_subjects": stream}
    node = listen()
    with caplog.at_level(logging.WARNING):
        node.settle()
        for _ in range(100):
            clock.advance(CHECK_EVERY / 60)
            node.settle()
    assert [one[:2] for one in transmitter.seen].count(("GET", "/ssf/stream")) > 1
    assert caplog.text.count("tells only of people") == said


@pytest.mark.parametrize("place", ["sse-configuration", "risc-configuration"])
def test_where_the_document_was_before(
    listen: Listen, transmitter: TransmitterDouble, place: str
) -> None:
    """A transmitter of SSE's or RISC's time."""
    transmitter.place = place
    node = listen()
    node.settle()
    assert transmitter.stream is not None


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": ...},
        {"jwks_uri": 7},
        {"configuration_endpoint": "file:///etc/passwd"},
        {"configuration_endpoint": "http://elsewhere.example/streams"},
    ],
    ids=str,
)
def test_documents_that_are_none(
    listen: Listen,
    transmitter: TransmitterDouble,
    document: dict[str, Any],
) -> None:
    """Nothing is believed, nothing is sent anywhere, and it is tried again later."""
    transmitter.document = document
    node = listen()
    login = node.login()
    transmitter.put(transmitter.revoked())

    assert node.step() >= 0

    if "jwks_uri" not in document:
        assert node.stream.trouble
    assert transmitter.acknowledged == []
    assert login.stands()


# -- polling ---------------------------------------------------------------------------


def test_many_events(listen: Listen, transmitter: TransmitterDouble) -> None:
    """In parts, without a pause in between; each is acted on and acknowledged once."""
    node = listen()
    logins = [node.login({"sub": "alice", "sid": str(n)}) for n in range(3 * MOST_AT_ONCE)]
    ids = [transmitter.put(transmitter.revoked(str(n))) for n in range(len(logins))]

    with told(node) as heard:
        node.settle()

    assert not any(one.stands() for one in logins)
    assert [one.id for one in heard] == ids
    assert set(ids) <= set(transmitter.acknowledged)
    assert node.entries() == len(logins)


def test_nothing_is_acknowledged_before_it_is_done(
    listen: Listen, transmitter: TransmitterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is down for one of them: that one comes again, the others are through."""
    node = listen()
    node.settle()
    logins = [node.login({"sub": "alice", "sid": sid}) for sid in "abc"]
    ids = [transmitter.put(transmitter.revoked(sid)) for sid in "abc"]
    usual, calls = node.authority.store.append, []

    def down(entries: Any, changes: Any = (), **more: Any) -> Any:
        if entries:
            calls.append(entries)
            if len(calls) == 2:
                raise StoreUnavailable("down")
        return usual(entries, changes, **more)

    with told(node) as heard:
        with monkeypatch.context() as patched:
            patched.setattr(node.authority.store, "append", down)
            assert node.step() > 0
        assert [one.stands() for one in logins] == [False, True, False]
        assert not set(ids) & set(transmitter.acknowledged)
        node.settle()
    assert not any(one.stands() for one in logins)
    assert set(ids) <= set(transmitter.acknowledged)
    assert sorted(one.id for one in heard) == sorted(ids)
    assert node.entries() == 3


def test_what_is_refused_is_said(listen: Listen, transmitter: TransmitterDouble) -> None:
    """By its code (RFC 8936, 2.6): it does not come again, and holds up nothing."""
    node = listen()
    login = node.login()
    wrong = {
        transmitter.put(transmitter.revoked(iss="https://x.example")): "invalid_issuer",
        transmitter.put(transmitter.revoked(aud="other")): "invalid_audience",
        transmitter.put(transmitter.revoked(events={})): "invalid_request",
    }
    forged = transmitter.revoked()
    transmitter.queue[forged["jti"]] = transmitter.forge_symmetric(forged)
    mislaid = transmitter.revoked("sid-9")
    transmitter.queue["another"] = transmitter.signed(mislaid)
    good = transmitter.put(transmitter.revoked("sid-2"))

    node.settle()

    refused = {jti: one["err"] for jti, one in transmitter.refused.items()}
    expected = {**wrong, forged["jti"]: "invalid_key", "another": "invalid_request"}
    assert refused == expected
    assert good in transmitter.acknowledged
    assert login.stands()


@pytest.mark.parametrize("number", [1, MOST_AT_ONCE + 3])
def test_events_that_the_app_fails_at(
    listen: Listen,
    transmitter: TransmitterDouble,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    """They come again until it is mended, and are logged once. What else there is to tell arrives
    with the next poll, from the same node, and doctor says what is in the way."""
    people: dict[str, str] = {}
    node = listen(find_subject=lambda subject: people[subject["email"]])
    subject = {"format": "email", "email": "alice@example.org"}
    kind = f"{RISC}sessions-revoked"
    stuck = [transmitter.put(transmitter.claims(kind, subject)) for _ in range(number)]
    text = node.authority.issue_login("alice").text
    node.settle()

    for round_ in range(2 * FAILURES):
        login = node.login({"sub": "bob", "sid": f"sid-{round_}"})
        jti = transmitter.put(transmitter.revoked(f"sid-{round_}"))
        clock.advance(5)
        node.settle()
        assert not login.stands()
        assert jti in transmitter.acknowledged
        assert node.step() == 5.0
        assert node.stream._lease.held
    assert not {*stuck} & {*transmitter.acknowledged, *transmitter.refused}
    assert len([one for one in caplog.records if one.exc_info]) == number
    assert f"fails at {number} of its events" in findings(node, clock)["warning"]

    people["alice@example.org"] = "alice"
    node.settle()
    node.step()
    assert {*stuck} <= {*transmitter.acknowledged}
    assert not node.authority.authenticate(text)
    assert "warning" not in findings(node, clock)


@pytest.mark.parametrize(
    "answer",
    ["[]", "{", "{}", '{"sets": 7}', '{"sets": {"a": 7}}', '{"sets": [], "moreAvailable": true}'],
)
def test_answers_that_are_none(listen: Listen, transmitter: TransmitterDouble, answer: str) -> None:
    """Nothing comes of it, in a circle or otherwise."""
    node = listen()
    node.settle()
    transmitter.instead = lambda request: (
        Response(answer, mimetype="application/json") if request.path == "/ssf/poll" else None
    )
    for _ in range(5):
        assert node.step() > 0 or node.stream.trouble


def test_a_transmitter_that_forgets_acknowledgements(
    listen: Listen, transmitter: TransmitterDouble
) -> None:
    """What it gives out again is acknowledged again, and it is not asked in a circle."""
    node = listen()
    text = transmitter.signed(transmitter.revoked())
    claims = transmitter.revoked(jti="again")
    text = transmitter.signed(claims)
    transmitter.instead = lambda request: (
        transmitter.json({"sets": {"again": text}, "moreAvailable": True})
        if request.path == "/ssf/poll"
        else None
    )
    with told(node) as heard:
        pauses = [node.step() for _ in range(6)]
    assert len(heard) == 1
    assert all(pause > 0 for pause in pauses[2:])


def test_more_than_one_answer_can_hold(listen: Listen, transmitter: TransmitterDouble) -> None:
    """Events so long that as many as usual do not fit: fewer are asked for."""
    node = listen()
    long = "x" * 40_000
    ids = [transmitter.put(transmitter.revoked(str(n), junk=long)) for n in range(40)]

    for _ in range(30):
        node.step()

    assert set(ids) <= set(transmitter.acknowledged)


def test_an_outage(listen: Listen, transmitter: TransmitterDouble, clock: ManualClock) -> None:
    """It is asked less and less; what there was to tell arrives once it is back."""
    node = listen()
    node.settle()
    login = node.login()
    before = transmitter.polls
    transmitter.instead = lambda request: Response("down", 503)
    for _ in range(8):
        pause = node.step()
        assert 0 <= pause <= 60
        clock.advance(pause)
    assert node.stream.trouble
    transmitter.put(transmitter.revoked())
    transmitter.instead = lambda request: None
    clock.advance(120)
    for _ in range(4):
        node.step()
        clock.advance(6)
    assert transmitter.polls > before
    assert not login.stands()
    assert node.stream.trouble == ""


# -- who does it -----------------------------------------------------------------------


def test_one_node_polls(listen: Listen, transmitter: TransmitterDouble, clock: ManualClock) -> None:
    """The others look now and then whether it still does; where it does not, one goes on."""
    nodes = [listen() for _ in range(3)]
    for _ in range(3):
        for node in nodes:
            node.step()
    assert transmitter.polls == 3
    held = [node.stream._lease.held for node in nodes]
    assert sum(held) == 1

    # It is killed: nothing is given back.
    others = [node for node, mine in zip(nodes, held, strict=True) if not mine]
    login = others[0].login()
    transmitter.put(transmitter.revoked())
    clock.advance(LEASE + 1)
    for node in others:
        node.step()
    assert not login.stands()
    assert sum(node.stream._lease.held for node in others) == 1


def test_a_node_that_leaves_lets_the_next_one_go_on(
    listen: Listen, transmitter: TransmitterDouble
) -> None:
    """At once, and not when its lease is over."""
    first, second = listen(), listen()
    first.settle()
    assert second.step() > 0
    before = transmitter.polls

    first.close()

    second.step()
    assert transmitter.polls > before


def test_a_node_that_cannot_reach_it_stands_back(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Another one may reach it: after some failures it may try."""
    cut_off, other = listen(), listen()
    cut_off.settle()
    login = other.login()
    transmitter.put(transmitter.revoked())
    usual = transmitter.instead
    for _ in range(FAILURES):
        transmitter.instead = lambda request: Response("not for you", 502)
        clock.advance(cut_off.step())
    transmitter.instead = usual

    assert not cut_off.stream._lease.held
    other.settle()
    assert not login.stands()


def test_two_that_poll_at_once(listen: Listen, transmitter: TransmitterDouble) -> None:
    """One was frozen past its lease and goes on where it was: each event counts once."""
    first, second = listen(), listen()
    first.settle()
    ids = [transmitter.put(transmitter.revoked(str(n))) for n in range(5)]
    # (As if it had the lease.)
    second.stream._is_mine = lambda: True  # type: ignore[method-assign]
    heard: list[str] = []
    with told(first) as one, told(second) as two:
        first.step()
        second.settle()
        first.settle()
        heard = [event.id for event in (*one, *two)]
    assert sorted(heard) == sorted(ids)
    assert first.entries() == len(ids)
    assert set(ids) <= set(transmitter.acknowledged)


# -- whether it lives ------------------------------------------------------------------


def test_a_stream_is_asked_whether_it_lives(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Regularly, with a state that only we know; ``doctor`` says when it was heard."""
    node = listen(verify_every=60)
    for _ in range(20):
        node.settle()
        clock.advance(20)
    assert len(transmitter.verifications) in (6, 7)
    assert len(set(transmitter.verifications)) == len(transmitter.verifications)
    assert "was heard" in findings(node, clock)["ok"]
    assert node.authority.readiness().silent == ()


def test_a_silent_stream_is_said(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """By ``doctor``, readiness and a signal, on each node, while polls go on as if all was well.
    And when it is heard again."""
    node, other = listen(verify_every=60), listen(verify_every=60)
    said: list[str] = []

    def silent(app: Any, **what: Any) -> None:
        said.append(f"silent {what['name']} {what['seconds'] > 180}")

    def heard(app: Any, **what: Any) -> None:
        said.append(f"heard {what['name']}")

    with stream_silent.connected_to(silent), stream_heard.connected_to(heard):
        node.settle()
        other.step()
        assert node.authority.readiness().silent == ()
        transmitter.verifies = False
        for _ in range(11):
            clock.advance(20)
            node.settle()
            other.step()
        for one in (node, other):
            (what,) = one.authority.readiness().silent
            assert "signals" in what
            assert transmitter.issuer in what
            assert one.authority.readiness().fresh
        assert said == ["silent signals True"] * 2
        assert "has been silent for" in findings(node, clock)["problem"]

        transmitter.verifies = True
        for _ in range(5):
            clock.advance(20)
            node.settle()
            other.step()
    assert node.authority.readiness().silent == ()
    assert other.authority.readiness().silent == ()
    assert said == ["silent signals True"] * 2 + ["heard signals"] * 2
    assert "ok" in findings(node, clock)


def test_a_stream_that_is_silent_for_months(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """What is said of it is said again before it is forgotten: since when, and how long."""
    node = listen(verify_every=60)
    for _ in range(3):
        clock.advance(86_400)
        node.settle()
    transmitter.verifies = False
    for day in range(40):
        clock.advance(86_400)
        node.settle()
        assert findings(node, clock)["problem"], day
    assert "has been silent for 960 h" in findings(node, clock)["problem"]
    assert node.authority.readiness().silent != ()


def test_a_stream_that_nobody_listens_to_any_more(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """SharedSignals was taken out of the app, or has another name: doctor forgets it by itself."""
    node = listen(verify_every=60)
    node.settle()
    clock.advance(86_400)
    said = findings(node, clock)["problem"]
    assert "has been silent for" in said
    clock.advance(86_400)
    assert findings(node, clock) == {}


def test_a_stream_that_cannot_be_asked(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """Without credentials nobody can ask: ``doctor`` says that, unless a time was named."""
    node = listen(credentials=..., delivery="push", audience="app")
    node.step()
    assert "is not asked whether it is alive" in findings(node, clock)["warning"]

    timed = listen(
        credentials=..., delivery="push", audience="app", name="timed", silent_after=3600
    )
    timed.step()
    assert timed.authority.readiness().silent == ()
    clock.advance(3601)
    timed.step()
    assert timed.authority.readiness().silent != ()


def test_what_is_wrong_is_said(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """``doctor`` names what the transmitter answers, and no secret."""
    node = listen(credentials="a very secret token")
    node.step()
    said = findings(node, clock)["warning"]
    assert "401" in said
    assert "secret" not in said
