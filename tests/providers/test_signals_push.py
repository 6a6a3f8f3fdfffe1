"""What a pushed event ends, on every node, and what it tells the app."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.exceptions import NotFound

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import RevokedMeanwhile, StoreUnavailable
from flask_clustertoken.providers import SecurityEvent, security_event
from flask_clustertoken.providers.acting import TOLD_WITHIN
from tests.providers.listener import Listener, told
from tests.providers.transmitter import CAEP, RISC, SSF, TransmitterDouble

Listen = Callable[..., Listener]


@pytest.fixture(params=["session", "cookie"])
def pushed(request: pytest.FixtureRequest, listen: Listen) -> Listener:
    """A node to which a stream is pushed that somebody else has set up; either token store."""
    return listen(request.param, credentials=..., delivery="push", audience="app")


def test_a_session_ends_on_every_node(
    pushed: Listener, listen: Listen, transmitter: TransmitterDouble
) -> None:
    """202 means that no node accepts a login of that session; others of the person go on."""
    other = listen(
        pushed.authority.settings.token_store, credentials=..., delivery="push", audience="app"
    )
    ended, kept = pushed.login(), pushed.login({"sub": "alice", "sid": "sid-2"})

    answer = other.push(transmitter.signed(transmitter.revoked()))

    assert (answer.status_code, answer.data) == (202, b"")
    assert not ended.stands()
    assert not ended.stands(other.app)
    assert kept.stands(other.app)
    with pytest.raises(RevokedMeanwhile):
        pushed.login()


@pytest.mark.parametrize(
    "kind",
    [
        f"{RISC}account-disabled",
        f"{RISC}account-purged",
        f"{RISC}sessions-revoked",
        f"{RISC}credential-compromise",
        f"{CAEP}session-revoked",
    ],
)
def test_what_is_about_a_person(
    pushed: Listener, transmitter: TransmitterDouble, kind: str
) -> None:
    """Every login of before ends; the person may come back, and others are not meant."""
    mine = [pushed.login({"sub": "alice", "sid": one}) for one in ("a", "b")]
    bobs = pushed.login({"sub": "bob", "sid": "c"})

    answer = pushed.push(transmitter.signed(transmitter.claims(kind, transmitter.person())))

    assert answer.status_code == 202
    assert [one.stands() for one in mine] == [False, False]
    assert bobs.stands()
    assert pushed.login({"sub": "alice", "sid": "d"}).stands()


@pytest.mark.parametrize(
    "kind",
    [
        f"{CAEP}credential-change",
        f"{CAEP}assurance-level-change",
        f"{CAEP}device-compliance-change",
        f"{CAEP}token-claims-change",
        f"{RISC}account-credential-change-required",
        f"{RISC}account-enabled",
        "https://example.org/events/of-our-own",
    ],
)
def test_the_rest_is_told_and_ends_nothing(
    pushed: Listener, transmitter: TransmitterDouble, kind: str
) -> None:
    """The app gets whom it is about and what it says."""
    login = pushed.login()
    claims = transmitter.claims(kind, transmitter.person(), {"current_level": "low"})

    with told(pushed) as heard:
        assert pushed.push(transmitter.signed(claims)).status_code == 202

    assert login.stands()
    (event,) = heard
    assert (event.id, event.type, event.issuer) == (claims["jti"], kind, transmitter.issuer)
    assert event.subject == transmitter.person()
    assert event.payload == {"current_level": "low"}
    assert not event.ended
    assert event.short_type == kind.rpartition("/")[2]


def test_what_ended_something_is_told_after_it_ended(
    pushed: Listener, transmitter: TransmitterDouble
) -> None:
    """Whoever hears of it can rely on it."""
    login, stood = pushed.login(), []

    def hear(_: Any, event: SecurityEvent, **__: Any) -> None:
        stood.append((event.ended, login.stands()))

    with security_event.connected_to(hear, sender=pushed.app):
        assert pushed.push(transmitter.signed(transmitter.revoked())).status_code == 202

    assert stood == [(True, False)]


def test_an_event_counts_once_in_the_cluster(
    pushed: Listener, listen: Listen, transmitter: TransmitterDouble
) -> None:
    """Sent to all nodes at once and again, also signed anew: one entry, one signal, all 202."""
    store = pushed.authority.settings.token_store
    push = {"credentials": ..., "delivery": "push", "audience": "app"}
    nodes = [pushed, *(listen(store, **push) for _ in range(2))]
    claims = transmitter.revoked()
    heard: list[str] = []

    def hear(_: Any, event: SecurityEvent, **__: Any) -> None:
        heard.append(event.id)

    with security_event.connected_to(hear), ThreadPoolExecutor(6) as pool:
        text = transmitter.signed(claims)
        sent = [pool.submit(nodes[n % 3].push, text) for n in range(12)]
        statuses = {one.result().status_code for one in sent}
        again = transmitter.signed({**claims, "iat": claims["iat"] + 1})
        assert nodes[1].push(again).status_code == 202

    # (503: another node is just at it, so that the transmitter tries again.)
    assert statuses <= {202, 503}
    assert heard == [claims["jti"]]
    assert pushed.entries() == 1


def test_one_id_for_two_events(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """Another event under an id that was used is refused, and ends nothing."""
    login = pushed.login({"sub": "bob", "sid": "b"})
    assert pushed.push(transmitter.signed(transmitter.revoked(jti="one"))).status_code == 202

    answer = pushed.push(transmitter.signed(transmitter.revoked("b", jti="one")))

    assert answer.status_code == 400
    assert json.loads(answer.data)["err"] == "invalid_request"
    assert login.stands()


@pytest.fixture
def knowing(listen: Listen) -> Listener:
    """A node whose app knows people, too: an event about one ends two things, in two steps."""
    push = {"credentials": ..., "delivery": "push", "audience": "app"}
    return listen(**push, find_subject=lambda subject: subject["sub"])


def about(transmitter: TransmitterDouble, sub: str, **changes: Any) -> str:
    person = transmitter.person(sub)
    return transmitter.signed(transmitter.claims(f"{RISC}sessions-revoked", person, **changes))


def test_a_replay_long_afterwards(knowing: Listener, transmitter: TransmitterDouble) -> None:
    """The feed has forgotten its entries, and their ids: it is known as done all the same, and
    ends no login that was made since."""
    first, text = knowing.login(), about(transmitter, "alice")
    with told(knowing) as heard:
        assert knowing.push(text).status_code == 202
        assert not first.stands()
        store = knowing.authority.store
        store.trim([one.seq for one in store.read(0).entries])
        since = knowing.login()

        assert knowing.push(text).status_code == 202

    assert since.stands()
    assert len(heard) == 1


def test_one_id_for_two_events_about_people(
    knowing: Listener, transmitter: TransmitterDouble
) -> None:
    """The other one is refused before its first step."""
    login = knowing.login()
    assert knowing.push(about(transmitter, "bob", jti="one")).status_code == 202

    answer = knowing.push(about(transmitter, "alice", jti="one"))

    assert (answer.status_code, json.loads(answer.data)["err"]) == (400, "invalid_request")
    assert login.stands()


def test_stopped_between_two_steps(
    knowing: Listener, transmitter: TransmitterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half is done, and nothing recorded: it comes again, and the other half is done, once."""
    text, authority = about(transmitter, "alice"), knowing.authority
    by_label = knowing.login()
    by_subject = authority.issue_login("alice").text
    usual, calls = authority.store.append, []

    def append(entries: Any, *given: Any, **more: Any) -> Any:
        calls.append(entries)
        if len(calls) == 2:
            raise StoreUnavailable("down")
        return usual(entries, *given, **more)

    with told(knowing) as heard:
        with monkeypatch.context() as patched:
            patched.setattr(authority.store, "append", append)
            assert knowing.push(text).status_code == 503
        assert not by_label.stands()
        assert authority.authenticate(by_subject)
        assert heard == []

        assert [knowing.push(text).status_code for _ in range(2)] == [202, 202]
    assert not authority.authenticate(by_subject)
    assert knowing.entries() == 2
    assert len(heard) == 1


def test_trouble_of_the_store_is_no_success(
    pushed: Listener, transmitter: TransmitterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, so that it comes again; and then it works."""
    login, text = pushed.login(), transmitter.signed(transmitter.revoked())

    def down(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("down")

    with told(pushed) as heard:
        with monkeypatch.context() as patched:
            patched.setattr(pushed.authority.store, "append", down)
            answer = pushed.push(text)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert login.stands()
        assert heard == []

        assert pushed.push(text).status_code == 202
    assert not login.stands()
    assert len(heard) == 1


def test_keys_that_cannot_be_had(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """503 too: nothing can be said of the event yet."""
    login, text = pushed.login(), transmitter.signed(transmitter.revoked())
    transmitter.instead = lambda request: transmitter.json({}, 500)
    assert pushed.push(text).status_code == 503
    assert login.stands()


def test_a_receiver_that_raises_loses_nothing(
    pushed: Listener, transmitter: TransmitterDouble
) -> None:
    """The event counts, and other receivers are called."""
    login = pushed.login()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("mine")

    with security_event.connected_to(fail), told(pushed) as heard:
        assert pushed.push(transmitter.signed(transmitter.revoked())).status_code == 202
    assert len(heard) == 1
    assert not login.stands()


def test_an_app_that_fails_at_an_event(
    listen: Listen, transmitter: TransmitterDouble, caplog: pytest.LogCaptureFixture
) -> None:
    """503, so that it comes again, whatever the app raises; and the log says what."""
    people: dict[str, str] = {}

    def find(subject: Any) -> str:
        if subject["sub"] == "nobody":
            raise NotFound
        return people[subject["sub"]]

    node = listen(credentials=..., delivery="push", audience="app", find_subject=find)
    login, text = node.login(), about(transmitter, "alice")
    assert node.push(about(transmitter, "nobody")).status_code == 503
    assert node.push(text).status_code == 503
    assert login.stands()
    assert node.entries() == 0
    assert "KeyError" in caplog.text

    people["alice"] = "alice"
    assert node.push(text).status_code == 202
    assert not login.stands()


def test_killed_before_the_app_was_told(
    pushed: Listener,
    transmitter: TransmitterDouble,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it ends is ended. The app is told when it comes again, once nobody can be at it."""
    login, text = pushed.login(), transmitter.signed(transmitter.revoked())

    class Killed(BaseException):
        """As if the process had ended there."""

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with told(pushed) as heard:
        with monkeypatch.context() as patched:
            patched.setattr("flask_clustertoken.providers.acting.tell", kill)
            patched.setattr(
                "flask_clustertoken.oidc.deadline.AnswerDeadline.within",
                lambda self, seconds, work: work(),
            )
            with pytest.raises(Killed):
                pushed.push(text)
        assert not login.stands()
        assert pushed.push(text).status_code == 503
        assert heard == []

        clock.advance(TOLD_WITHIN)
        assert pushed.push(text).status_code == 202
        assert pushed.push(text).status_code == 202
    assert len(heard) == 1
    assert pushed.entries() == 1


def test_the_header_that_was_agreed(listen: Listen, transmitter: TransmitterDouble) -> None:
    """Without it, or with another, nothing is looked at."""
    node = listen(
        credentials=..., delivery="push", audience="app", push_authorization="Bearer of-ours"
    )
    login, text = node.login(), transmitter.signed(transmitter.revoked())
    for headers in ({}, {"Authorization": "Bearer of-theirs"}, {"Authorization": "of-ours"}):
        answer = node.push(text, **headers)
        assert answer.status_code == 400
        assert json.loads(answer.data)["err"] == "authentication_failed"
    assert login.stands()

    assert node.push(text, Authorization="Bearer of-ours").status_code == 202
    assert not login.stands()


def test_a_verification_is_no_event_of_the_app(
    pushed: Listener, transmitter: TransmitterDouble
) -> None:
    """It is acknowledged, and says that the stream lives."""
    subject = {"format": "opaque", "id": "stream-1"}
    with told(pushed) as heard:
        for kind, payload in (("verification", {}), ("stream-updated", {"status": "paused"})):
            claims = transmitter.claims(f"{SSF}{kind}", subject, payload)
            assert pushed.push(transmitter.signed(claims)).status_code == 202
    assert heard == []
    pushed.step()
    source = pushed.stream._records.source()
    assert source is not None
    assert source.heard_at > 0


def test_two_events_of_one_cause(pushed: Listener, transmitter: TransmitterDouble) -> None:
    """Some transmitters put them into one token: each counts."""
    login = pushed.login({"sub": "alice"})
    events = {f"{CAEP}credential-change": {}, f"{RISC}account-disabled": {}}
    claims = transmitter.claims("", transmitter.person(), events=events)

    with told(pushed) as heard:
        assert pushed.push(transmitter.signed(claims)).status_code == 202

    assert not login.stands()
    assert {one.type: one.ended for one in heard} == {
        f"{CAEP}credential-change": False,
        f"{RISC}account-disabled": True,
    }


def test_the_apps_own_subjects(listen: Listen, transmitter: TransmitterDouble) -> None:
    """An e-mail address is known to the app alone; API tokens end where an account is over."""
    people = {"alice@example.org": ["alice", "alice-the-admin"]}

    def find(subject: Any) -> list[str] | None:
        return people.get(subject.get("email"))

    node = listen(credentials=..., delivery="push", audience="app", find_subject=find)
    issuing = node.authority
    logins = [issuing.issue_login(one).text for one in ("alice", "alice-the-admin", "bob")]
    program = issuing.issue_api_token("alice", "mine").text
    subject = {"format": "email", "email": "alice@example.org"}

    claims = transmitter.claims(f"{RISC}credential-compromise", subject)
    assert node.push(transmitter.signed(claims)).status_code == 202
    assert [bool(issuing.authenticate(one)) for one in logins] == [False, False, True]
    assert issuing.authenticate(program, "api")

    claims = transmitter.claims(f"{RISC}account-purged", subject)
    assert node.push(transmitter.signed(claims)).status_code == 202
    assert not issuing.authenticate(program, "api")
    assert issuing.authenticate(logins[2])


def test_what_ends_can_be_chosen(listen: Listen, transmitter: TransmitterDouble) -> None:
    """Only what the app names; the rest is told."""
    change = f"{CAEP}credential-change"
    node = listen(credentials=..., delivery="push", audience="app", ends=[change])
    login = node.login()
    with told(node) as heard:
        assert node.push(transmitter.signed(transmitter.revoked())).status_code == 202
        assert login.stands()
        claims = transmitter.claims(change, transmitter.person())
        assert node.push(transmitter.signed(claims)).status_code == 202
    assert not login.stands()
    assert [one.ended for one in heard] == [False, True]
