"""A text of a key that nobody knows was 503 for as long as cookies live.

Seen after ``SECRET`` was replaced, with a key made anew by each worker, with two apps on one
host name (ports share cookies), and with texts written by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.cluster import Node, drift
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.operations.diagnosis.keys import look_for_lost_keys
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import RING_KEY, VERSION, Refusal, fingerprint, ring_bytes
from tests.doubles import SECRET, Cluster, reason, store_of
from tests.extension.parts import COOKIE, MakeApp, cookie

OTHER = "another secret, long enough to sign with"


def text_of(key_id: str = "a" * 12, form: int = 1) -> str:
    """A text in the form of a token, written by hand."""
    return f"{form}.{key_id}.AAAAAAAA.{'A' * 43}"


def foreign_login() -> str:
    """A login of another app, with a key and a store of its own."""
    settings = Settings.from_mapping({"CLUSTERTOKEN_SECRET": OTHER})
    clock = ManualClock()
    with_other = TokenAuthority(settings, clock=clock, store=MemoryStore(Shelf(), clock=clock))
    try:
        return with_other.issue_login("alice").text
    finally:
        with_other.close()


@pytest.fixture(params=[True, False], ids=["several hosts", "one host"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    made = Cluster(remote=request.param)
    yield made
    made.close()


@pytest.fixture
def remote() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def after_a_look(cluster: Cluster) -> None:
    """Past the time within which the last look at the store counts."""
    cluster.clock.advance(3)
    cluster.step()


# -- who knows -------------------------------------------------------------------------


@pytest.mark.parametrize("text", [foreign_login(), text_of(), text_of(form=9)])
def test_what_nobody_knows_is_invalid(cluster: Cluster, text: str) -> None:
    """No listed node and not the store knows key or form: waiting for it helps nobody."""
    found = cluster.node().authenticate(text)

    assert reason(found) == "invalid"
    assert isinstance(found, Refusal)
    assert not found.garbled


def test_a_key_of_a_listed_node_is_stale(cluster: Cluster) -> None:
    """A good login that came to a node without its key is tried again, not thrown away."""
    node, other = cluster.node(), cluster.node(SECRET=OTHER)
    cluster.step()

    assert reason(node.authenticate(other.issue_login("alice").text)) == "stale"


@pytest.mark.parametrize(
    ("state", "said"),
    [("staged", "stale"), ("verifying", "stale"), ("api", "stale"), ("dropped", "invalid")],
)
def test_a_key_of_the_stores_states_is_stale(cluster: Cluster, state: Any, said: str) -> None:
    """The store says that there is such a key, though no node has it."""
    node = cluster.node()
    cluster.step()
    store_of(node).put(RING_KEY, ring_bytes({"b" * 12: state}), None)

    assert reason(node.authenticate(text_of("b" * 12))) == said


@pytest.mark.parametrize(("form", "said"), [(VERSION + 1, "stale"), (9, "stale"), (10, "invalid")])
def test_a_form_that_a_listed_node_reads_is_stale(cluster: Cluster, form: int, said: str) -> None:
    """In a rolling upgrade the new form is met by old nodes."""
    node = cluster.node()
    cluster.step()
    newer = Node("newer", "web2", 7, reads_tokens=9)
    store_of(node).announce(newer.id, newer.encode())

    assert reason(node.authenticate(text_of(form=form))) == said


def test_without_a_view_that_is_vouched_for_nothing_is_invalid(remote: Cluster) -> None:
    """A node that is cut off does not know what the others have."""
    node = remote.node()
    remote.step()
    remote.clock.advance(11)

    assert reason(node.authenticate(text_of())) == "stale"


@pytest.mark.parametrize("call", ["nodes", "get_many", "scan"])
def test_trouble_is_not_absence(remote: Cluster, call: str) -> None:
    """A look that failed answers nothing, whatever the last one said."""
    node = remote.node()
    remote.step()
    assert reason(node.authenticate(text_of())) == "invalid"
    after_a_look(remote)
    store_of(node).failing = {call: StoreUnavailable("the line is cut")}

    assert reason(node.authenticate(text_of())) == "stale"
    assert reason(node.authenticate(text_of())) == "stale"


# -- a holder that is away -------------------------------------------------------------


@pytest.mark.parametrize("how", ["left", "removed", "key taken out"])
def test_the_key_of_a_holder_that_is_away_is_known_for_ten_minutes(
    remote: Cluster, how: str
) -> None:
    """A restart of the only node with a key logs nobody out, however it went."""
    node, holder = remote.node(), remote.node(SECRET=OTHER)
    remote.step()
    text = holder.issue_login("alice").text
    if how == "left":
        holder.close()
    elif how == "removed":
        # (Killed, and swept by another node.)
        store_of(node).withdraw(holder.follower().node_id)
    else:
        holder.keys._take(("a third secret, long enough as well",))
        remote.clock.advance(4)
        holder.follower().step()
    remote.members.remove(holder)

    for _ in range(100):
        assert reason(node.authenticate(text)) == "stale"
        remote.clock.advance(6)
        remote.step(node)
    remote.clock.advance(200)
    remote.step(node)
    assert reason(node.authenticate(text)) == "invalid"


def test_a_holder_that_stays_is_remembered_however_long_it_was_there(remote: Cluster) -> None:
    """The note is prolonged while the node is there: ten minutes count from its end."""
    node, holder = remote.node(), remote.node(SECRET=OTHER)
    for _ in range(500):
        remote.step()
        remote.clock.advance(5)
    remote.step()
    text = holder.issue_login("alice").text
    holder.close()
    remote.members.remove(holder)

    for _ in range(99):
        remote.clock.advance(6)
        remote.step(node)
        assert reason(node.authenticate(text)) == "stale"


def test_no_key_is_published_before_the_store_remembers_it(remote: Cluster) -> None:
    """Else whoever is killed in between takes the knowledge with it."""
    node = remote.node(SECRET=OTHER)
    for call in ("add", "touch", "get_many"):
        store_of(node).failing[call] = StoreUnavailable("the line is cut")
    node.follower().step()
    assert not remote.shelf.presence
    assert not node.follower().fresh

    store_of(node).heal()
    node.follower().step()
    assert node.follower().fresh


def test_a_note_is_written_once_for_all_that_have_the_key(remote: Cluster) -> None:
    """A hundred contacts of two nodes: a look a minute each, and a write where it is needed."""
    nodes = [remote.node(), remote.node()]
    remote.step()
    before = [store_of(one).calls["add"] + store_of(one).calls["touch"] for one in nodes]
    for _ in range(100):
        remote.clock.advance(3)
        for one in nodes:
            assert one.runtime.description is not None
            one.runtime.description.sightings.note(one.keys.held)

    after = [store_of(one).calls["add"] + store_of(one).calls["touch"] for one in nodes]
    assert sum(after) - sum(before) <= 2 * 6


# -- what it costs ---------------------------------------------------------------------


def test_one_look_answers_for_all_made_up_keys(remote: Cluster) -> None:
    """A flood of them costs one look at the store, and leaves nothing in memory."""
    node = remote.node()
    remote.step()
    before = sum(store_of(node).calls.values())

    for number in range(1000):
        assert reason(node.authenticate(text_of(f"{number:012x}"))) == "invalid"

    assert sum(store_of(node).calls.values()) - before <= 4
    known = node.authentication.strangers.known
    assert known is not None
    assert list(known.keys) == [fingerprint(one.decode()) for one in node.keys._keys.values()]


def test_what_comes_too_soon_goes_by_the_last_look_and_then_by_a_new_one(remote: Cluster) -> None:
    """A node with the key joined since: at the next look it is known."""
    node = remote.node()
    remote.step()
    assert reason(node.authenticate(text_of())) == "invalid"
    holder = remote.node(SECRET=OTHER)
    text = holder.issue_login("alice").text

    assert reason(node.authenticate(text)) == "invalid"
    after_a_look(remote)
    assert reason(node.authenticate(text)) == "stale"


# -- what people meet ------------------------------------------------------------------


def test_a_visitor_with_another_apps_cookie_is_asked_to_sign_in(make_app: MakeApp) -> None:
    """Two apps under one name: the page is shown, the login works, the cookie is not deleted."""
    app, _ = make_app(LOGIN_VIEW="public")
    client = app.test_client()
    headers = {**cookie(foreign_login()), "Accept": "text/html"}

    assert client.get("/maybe", headers=headers).status_code == 200
    answer = client.get("/me", headers=headers)
    assert answer.status_code == 302
    assert "Set-Cookie" not in answer.headers
    assert client.post("/logout", headers=headers).status_code == 200
    answer = client.post("/login/bob", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=1.")


def test_the_log_says_what_to_do(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Once a minute, with the key's fingerprint, both remedies and no text."""
    node = cluster.node()
    cluster.step()
    with caplog.at_level(logging.WARNING, "flask_clustertoken"):
        for number in range(10):
            node.authenticate(text_of(f"{number:012x}"))

    (line,) = [one.getMessage() for one in caplog.records]
    assert "key 000000000000" in line
    assert "COOKIE_NAME" in line
    assert "behind the new one" in line
    assert "A" * 43 not in line


@pytest.mark.parametrize(
    ("host", "said"), [("", "is it made anew by each worker?"), ("web2", "copy the key file")]
)
def test_the_log_says_who_has_the_key(
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    said: str,
) -> None:
    """A worker of this very host that has another key is asked about; another host is named."""
    node, other = cluster.node(), cluster.node(SECRET=OTHER)
    cluster.step(node)
    with monkeypatch.context() as there:
        if host:
            there.setattr("flask_clustertoken.cluster.nodes.this_host", lambda: host)
        text = other.issue_login("alice").text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "flask_clustertoken"):
        assert reason(node.authenticate(text)) == "stale"

    (line,) = [one.getMessage() for one in caplog.records]
    assert said in line
    assert host in line


def test_workers_of_one_host_with_a_key_each_are_told_so() -> None:
    """A key made anew by each worker shows as workers of one host that differ."""
    torn = drift([Node("a", "web1", 1, keys=("k1",)), Node("b", "web1", 2, keys=("k2",))])
    apart = drift([Node("a", "web1", 1, keys=("k1",)), Node("b", "web2", 2, keys=("k2",))])

    assert "is it made anew by each worker?" in torn[0].remedy
    assert "copy the key file" in apart[0].remedy


def test_doctor_names_keys_that_no_node_has(remote: Cluster) -> None:
    """What is kept in the store's states, or was seen lately, with what to do about it."""
    node, gone = remote.node(), remote.node(SECRET=OTHER)
    remote.step()
    gone.close()
    remote.members.remove(gone)
    store = store_of(node)
    store.put(RING_KEY, ring_bytes({"b" * 12: "verifying", fingerprint(SECRET): "signing"}), None)
    live = [one.node for one in node.nodes()]

    lost, lately = look_for_lost_keys(store, [fingerprint(SECRET)], live)

    assert "b" * 12 in lost.what
    assert f"keys drop {'b' * 12}" in lost.remedy
    assert fingerprint(OTHER) in lately.what
    assert "behind the new one" in lately.remedy
