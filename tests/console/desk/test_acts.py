"""What the console does besides ending logins: keys, API tokens, files; and what it says of it."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from flask_clustertoken.audit import Actor
from flask_clustertoken.authority import TokenAuthority, TokenFilter
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.console import work
from flask_clustertoken.console.filters import filter_in
from flask_clustertoken.console.work import SHARED, Work, Works
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.revocations import BEYOND
from flask_clustertoken.tokens import Token
from tests.doubles import Cluster
from tests.extension.parts import MakeApp
from tests.no_thread import no_thread
from tests.waiting import wait_until

from .parts import Desk, fill, lines, make_desk, next_in

WEEK = 7 * 86_400.0


def steps(desk: Desk) -> dict[str, list[str]]:
    """The buttons that the page of keys offers for each key."""
    page = desk.get("/keys").text
    found = {}
    for part in page.split('<li id="k-')[1:]:
        key_id = part.partition('"')[0]
        found[key_id] = re.findall(r'data-step="(\w+)"', part.partition("</li>")[0])
    return found


def take(desk: Desk, step: str, key: str = "") -> str:
    asked = desk.get("/keys/step", step=step, key=key)
    assert asked.status_code == 200, asked.text
    return desk.outcome(desk.post("/keys/step", step=step, key=key))


def settle(desk: Desk) -> None:
    """Let the node say what it knows."""
    for _ in range(3):
        desk.clock.advance(2)
        desk.authority.follower().step()


def log_in_again(desk: Desk) -> None:
    desk.admin = desk.browser("admin")


def test_a_rotation_from_start_to_end_by_its_buttons(
    make_app: MakeApp, clock: ManualClock, tmp_path: Path
) -> None:
    """Each step is there when it is safe and not before; nobody is logged out."""
    app_settings = {"STORE": f"directory://{tmp_path}/shared", "AUDIT": "store"}
    file = tmp_path / "keys"
    file.write_text("a key of these tests that is long enough\n")
    file.chmod(0o600)
    desk = make_desk(make_app, clock, SECRET=(), SECRET_FILE=str(file), **app_settings)
    (old,) = desk.authority.keys.held
    program = desk.authority.issue_api_token("bob", "ci").text
    assert steps(desk) == {old: []}
    shown = take(desk, "stage")
    assert str(file) in shown
    # (A node says what keys it has with its next contact.)
    settle(desk)
    (new,) = set(steps(desk)) - {old}
    assert "sign" in steps(desk)[new]
    assert 'id="stage"' not in desk.get("/keys").text
    shown = take(desk, "sign", new)
    assert f"<code>{new}</code> signs from now on" in shown
    settle(desk)
    # It is one's own login that it signed: not that one, then.
    assert set(steps(desk)[old]) == {"sign"}
    log_in_again(desk)
    assert set(steps(desk)[old]) == {"sign", "end"}
    clock.advance(WEEK + BEYOND + 1)
    settle(desk)
    log_in_again(desk)
    assert set(steps(desk)[old]) == {"sign", "retire"}
    asked = desk.get("/keys/step", step="retire", key=old).text
    assert "1 live API token was signed with it" in asked
    assert "verifies API tokens only" in take(desk, "retire", old)
    assert desk.authority.authenticate(program, "api")
    assert steps(desk)[old] == ["drop"]
    shown = take(desk, "drop", old)
    assert "1 API token ended with it" in shown
    assert not desk.authority.authenticate(program, "api")
    assert steps(desk)[old] == []
    assert steps(desk)[new] == []
    events = [line.event for line in lines(desk) if line.by == "console"]
    assert events[::-1] == [
        "key_staged",
        "key_verifying",
        "key_signing",
        "key_api",
        "key_dropped",
        "revoked_token",
    ]


def test_a_step_that_is_not_safe_is_refused_whoever_writes_its_address(memory: Desk) -> None:
    """Neither asked nor done; the page says what is in the way."""
    (key,) = memory.authority.keys.held
    for step in ("sign", "retire", "end", "drop"):
        for answer in (
            memory.get("/keys/step", step=step, key=key),
            memory.post("/keys/step", step=step, key=key),
            memory.post("/keys/step", step=step, key="nonsense"),
        ):
            assert answer.status_code == 409, (step, answer.text)
            assert 'role="alert"' in answer.text
    assert memory.authority.keys.held == [key]


def test_keys_in_the_settings_are_not_staged_here(memory: Desk) -> None:
    """The page says how it is done by hand, and the step says so, too."""
    page = memory.get("/keys").text
    assert 'id="stage"' not in page
    assert "append it there on every host" in page
    shown = memory.outcome(memory.post("/keys/step", step="stage"))
    assert "It was not done" in shown
    assert "SECRET" in shown


def test_an_api_token_is_made_and_its_text_is_shown_once(memory: Desk) -> None:
    """By whom, for whom and for how long stands in the list; the text nowhere any more."""
    answer = memory.post("/tokens/new", subject="ci", name="nightly", scopes="read", days="30")
    assert answer.status_code == 201
    text = re.search(r'id="text">([^<]+)<', answer.text)
    assert text
    token = memory.authority.authenticate(text[1], "api")
    assert token
    assert (token.subject, token.scopes) == ("ci", ("read",))
    assert token.expires_at == int(memory.clock.time()) + 30 * 86_400
    page = memory.get("/api-tokens").text
    assert "nightly" in page
    assert "by <bdi>admin</bdi>" in page
    for path in ("/api-tokens", "/tokens?subject=ci", "/audit", "/work?work=x"):
        assert text[1] not in memory.get(path).text
    for wrong in (
        {"subject": "", "name": "x", "days": "30"},
        {"subject": "a", "name": "", "days": "30"},
        {"subject": "a", "name": "x", "days": "31"},
        {"subject": "a", "name": "x", "days": "30", "scopes": 'a"b'},
        {"subject": "a" * 2000, "name": "x", "days": "0"},
    ):
        refused = memory.post("/tokens/new", **wrong)
        assert refused.status_code == 400
        assert 'role="alert"' in refused.text
    assert len([one for one in memory.authority.tokens() if one.kind == "api"]) == 1


def test_when_an_api_token_was_last_used_is_shown(memory: Desk) -> None:
    issued = memory.authority.issue_api_token("bob", "ci")
    assert "last use not known" in memory.get("/api-tokens").text
    memory.authority.usage.note(issued.token.id)
    assert "last used just now" in memory.get("/api-tokens").text


def test_every_act_is_in_the_audit_trail_and_says_whose_it_was(memory: Desk) -> None:
    """Who did it, by the console; each with its outcome."""
    bob = memory.browser("bob")
    (one,) = [one.id for one in memory.authority.tokens_of("bob")]
    memory.outcome(memory.post("/tokens/end", id=one, ticked="1"))
    memory.outcome(memory.post("/tokens/end", subject="carol"))
    memory.outcome(memory.post("/tokens/end", prefix="b"))
    memory.post("/tokens/end", everybody="1")
    memory.post("/tokens/new", subject="bob", name="ci", days="30")
    memory.authority.files("fonts").put("a", b"x")
    memory.post("/files/delete", name="fonts", key="a")
    assert not memory.is_in(bob)
    found = [(line.event, line.actor) for line in lines(memory) if line.by == "console"]
    assert found[::-1] == [
        ("revoked_token", "admin"),
        ("tokens_ended", "admin"),
        ("revoked_subject", "admin"),
        ("tokens_ended", "admin"),
        ("revoked_everybody", "admin"),
        ("login", "admin"),
        ("api_token_made", "admin"),
        ("file_deleted", "admin"),
    ]
    by_prefix, ticked = (one for one in lines(memory) if one.event == "tokens_ended")
    assert ticked.subjects == ("bob",)
    assert by_prefix.detail.startswith('0 by {"prefix": "b"')
    page = memory.get("/audit", subject="carol").text
    assert "revoked_subject" in page
    assert "file_deleted" not in page
    assert "file_deleted" in memory.get("/audit", event="file_deleted").text


def test_it_is_said_where_the_store_keeps_no_trail(make_app: MakeApp, clock: ManualClock) -> None:
    desk = make_desk(make_app, clock)
    page = desk.get("/audit").text
    assert "flask_clustertoken.audit" in page
    assert "Nothing is kept" in page


def test_audit_trail_and_revocations_come_in_pages(memory: Desk) -> None:
    """The newest first; each once; what comes meanwhile shifts nothing."""
    with memory.app.test_request_context():
        for number in range(120):
            memory.authority.revoke_subject(f"s{number}")
            memory.clock.advance(0.1)
    lines(memory)
    for path, cell in (("/revocations", r"data-ct-head=\"Number\">(\d+)"), ("/audit", "")):
        pattern = cell or r"<bdi>(s\d+)</bdi>"
        page = memory.get(path)
        found = re.findall(pattern, page.text)
        while more := next_in(page.text):
            memory.authority.revoke_subject("meanwhile")
            page = memory.get(more)
            found += re.findall(pattern, page.text)
        assert len(found) == 120
        assert len(set(found)) == 120
        numbers = [int(one.strip("s")) for one in found]
        assert numbers == sorted(numbers, reverse=True)


def test_files_are_listed_fetched_and_deleted(desk: Desk) -> None:
    """Whatever they are called; what is fetched is saved and never shown as a page."""
    files = desk.authority.files("a/b")
    key = '../<script>alert(1)</script> "x".html'
    files.put(key, BytesIO(b"<script>alert(2)</script>"), "text/html")
    for number in range(60):
        desk.authority.files("many").put(f"{number:03}", b"x")
    page = desk.get("/files").text
    assert "<script>alert" not in page
    shown = re.findall(r'href="/console(/files/get[^"]*)"', page)
    page = desk.get(next_in(page)).text
    shown += re.findall(r'href="/console(/files/get[^"]*)"', page)
    assert len(shown) == 61
    got = desk.get("/files/get", name="a/b", key=key)
    assert got.data == b"<script>alert(2)</script>"
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert "Delete this file?" in desk.get("/files/delete", name="a/b", key=key).text
    assert desk.post("/files/delete", name="a/b", key=key).status_code == 303
    assert files.stat(key) is None
    assert desk.post("/files/delete", name="a/b", key=key).status_code == 404


def test_the_overview_has_the_same_findings_as_doctor(desk: Desk) -> None:
    """Whatever is wrong, with its remedy; the nodes by host."""
    page = desk.get("/").text
    assert "This node" in page
    assert "fresh" in page
    shown = page.partition('id="findings-list"')[2]
    if desk.authority.store.shared:
        assert "alive on 1 host" in shown
    else:
        assert "each process has its own logins" in shown


def test_ones_own_login_is_spared_whichever_key_signed_it(memory: Desk) -> None:
    """A filter by a key, too: the record names the key of its issue, the cookie the last one."""
    memory.authority.issue_login("bob")
    (key,) = memory.authority.keys.held
    with memory.app.test_request_context():
        mine = filter_in(MultiDict({"key": key}), replace(a_token(memory), key_id="another"))
        other = filter_in(MultiDict({"key": key, "subject": "bob"}), a_token(memory))
    assert mine.spared == (a_token(memory).id,)
    assert other.spared == ()


def a_token(desk: Desk) -> Token:
    (found,) = desk.authority.tokens_of("admin")
    return found


STATES: list[tuple[dict[str, Any], str]] = [
    ({"state": "ending", "wanted": {}, "share": 0.25, "count": 7}, 'value="25"'),
    ({"state": "doing", "act": "key_sign"}, "It is being done"),
    ({"state": "confirming", "seq": 5}, "Waiting for every node"),
    ({"state": "done", "seq": 5, "answered": ["a:1", "b:2"]}, "In force on all 2 nodes"),
    ({"state": "done", "seq": 5}, "No node is running"),
    ({"state": "done", "seq": 5, "silent": [("a:1", 3.25)]}, "accepts it no more in 3.2 s"),
    ({"state": "done", "seq": 5, "silent": [("a:1", None)]}, "is never certain"),
    ({"state": "done", "seq": 5, "gone": ["a:1"], "missing": ["web9"]}, "web9"),
    ({"state": "done", "seq": 5, "reservation": "a fail-over may lose it"}, "may lose it"),
    ({"state": "done"}, "Nothing was left to end"),
    ({"state": "stopped", "trouble": "<b>the line was cut"}, "&lt;b&gt;the line was cut"),
    ({"state": "ending", "at": -1e6, "wanted": {"x": 1}}, "Go on with it"),
    ({"state": "doing", "at": -1e6, "act": "key_drop"}, "the process ended"),
]


@pytest.mark.parametrize(("stand", "said"), STATES)
def test_what_came_of_it_is_said_in_every_state(
    memory: Desk, stand: dict[str, Any], said: str
) -> None:
    """And while it goes on, the page asks again."""
    now = memory.clock.time()
    kept = asdict(Work("w", **{"act": "end", "by": "admin", **stand}))
    kept["at"] = now + stand.get("at", 0.0)
    memory.authority.shared(SHARED).set("w", {**kept, "of_a_later_version": 1}, 60)
    page = memory.get("/work", work="w")
    assert page.status_code == 200
    assert said in page.text
    waits = stand["state"] in ("ending", "doing", "confirming") and "at" not in stand
    assert ("http-equiv" in page.text) is waits
    assert ("Go on with it" in page.text) == (said == "Go on with it")
    assert ("In force" in page.text) is (
        stand["state"] == "done" and bool(stand.get("seq") and not stand.get("silent"))
    )


# -- work that takes its time ----------------------------------------------------------


ACTOR = Actor(by="console", subject="admin")


def test_work_whose_process_died_is_gone_on_with_by_another(host: Cluster) -> None:
    """It says that it stands still; what was ended is not ended again, and nothing is left out."""
    first, second = host.node(), host.node()
    made = fill(first, (f"x{number}" for number in range(1000)), 450)
    wanted = TokenFilter(prefix="x")
    dying = Works(first)
    begun = Work("w", "end", "admin", state="ending", wanted=asdict(wanted), share=0.0)
    after_two = None
    for number, stand in enumerate(dying.steps(dying._note(begun))):
        after_two = dying._note(stand)
        if number == 1:
            break  # the process is killed here
    assert after_two is not None
    assert after_two.count == 200
    found = Works(second).find("w")
    assert found is not None
    now = host.clock.time()
    assert not found.stands_still(now)
    assert found.stands_still(now + work.GIVEN_UP + 1)
    Works(second).go_on(found, ACTOR)
    wait_until(lambda: (Works(second).find("w") or found).over)
    done = Works(first).find("w")
    assert done is not None
    assert (done.state, done.count) == ("done", 450)
    assert not {one.id for one in first.tokens()} & {one.id for one in made}


def stopped(desk: Desk, wanted: TokenFilter, **said: str) -> None:
    """An act of somebody else's that stands still."""
    begun = Work("w", "end", "ada", said, "stopped", wanted=asdict(wanted), share=0.0)
    Works(desk.authority)._note(begun)


@pytest.mark.parametrize("ticked", [False, True])
def test_whoever_goes_on_with_anothers_act_keeps_their_own_login(
    memory: Desk, ticked: bool
) -> None:
    """As does who began it; unless own logins were to end, and then the page says so before."""
    began = memory.browser("ada")
    (hers,) = memory.authority.tokens_of("ada")
    others = [memory.browser("adam"), memory.browser("admin")]
    if ticked:
        stopped(memory, TokenFilter(prefix="ad"), prefix="ad", own="1")
    else:
        stopped(memory, TokenFilter(prefix="ad", spared=(hers.id,)), prefix="ad")
    page = memory.get("/work", work="w").text
    assert "Go on with it" in page
    assert ("you will be logged out then" in page) is ticked
    answer = memory.post("/work", work="w")
    assert answer.status_code == 303
    if ticked:
        wait_until(lambda: not memory.is_in(memory.admin))
    else:
        assert "2 tokens ended" in memory.outcome(answer)
    assert [memory.is_in(one) for one in (memory.admin, began)] == [not ticked, not ticked]
    assert not any(memory.is_in(one) for one in others)


def test_an_act_that_a_version_before_has_noted_is_gone_on_with(memory: Desk) -> None:
    """It spared one login, by its id and not in a list."""
    began, other = memory.browser("ada"), memory.browser("adam")
    (hers,) = memory.authority.tokens_of("ada")
    stopped(memory, TokenFilter(prefix="ad"))
    shared = memory.authority.shared(SHARED)
    note = shared.get("w")
    assert note is not None
    for spared in (hers.id, ""):
        shared.set("w", {**note, "wanted": {**note["wanted"], "spared": spared}}, 60)
        memory.outcome(memory.post("/work", work="w"))
        assert memory.is_in(memory.admin)
        assert memory.is_in(began) == bool(spared)
        assert not memory.is_in(other)


def test_trouble_is_said_and_can_be_gone_on_with(
    make_app: MakeApp, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails in the middle: the page says with what, and a button goes on."""
    desk = make_desk(make_app, clock)
    fill(desk.authority, (f"x{number}" for number in range(1000)), 150)
    selecting = desk.authority.selecting
    end, calls = selecting.end, [0]

    def failing(wanted: TokenFilter, after: str = "") -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise StoreUnavailable("the line was cut")
        return end(wanted, after)

    monkeypatch.setattr(selecting, "end", failing)
    answer = desk.post("/tokens/end", prefix="x")
    shown = desk.outcome(answer)
    assert "the line was cut" in shown
    assert "100 tokens ended" in shown
    work_id = answer.headers["Location"].partition("work=")[2]
    again = desk.outcome(desk.post("/work", work=work_id))
    assert "150 tokens ended" in again
    assert "In force" in again


def test_a_node_that_does_not_answer_is_named_with_its_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a false "everywhere": who has not answered is told, and when it is certain."""
    asked, silent = cluster.node(), cluster.node()
    cluster.step(asked, silent)
    monkeypatch.setattr(work, "CONFIRM", 0.0)
    works = Works(asked)
    begun = Work("w", "end_all", "admin", seq=asked.revoke_subject("bob").seq)
    *_, told = works.steps(begun)
    assert told.state == "done"
    assert not told.in_force
    assert len(told.silent) >= 1
    assert all(certain is not None and certain > 0 for _, certain in told.silent)
    kept = works.find("w")
    assert kept is not None
    assert not kept.in_force


def test_what_is_kept_of_work_has_room_whatever_the_number_of_nodes(host: Cluster) -> None:
    """Names of as many nodes as are named, and a filter as long as one can be."""
    node: TokenAuthority = host.node()
    wanted = TokenFilter(
        subject="ä" * 1024,
        prefix="ä" * 1024,
        label="ä" * 1024,
        ids=tuple("A" * 24 for _ in range(100)),
    )
    names = [f"a-host-with-a-long-name-{number}.example.com:12345" for number in range(work.NAMED)]
    made = Work("w", "end", "ä" * 1024, said={"subject": "ä" * 1024}, wanted=asdict(wanted))
    made = replace(made, answered=names, silent=[(one, 1.25) for one in names])
    Works(node)._note(made)
    found = Works(node).find("w")
    assert found is not None
    assert found.answered == names
    assert node.shared(SHARED).get("w")


def test_an_act_for_which_there_is_no_thread_is_gone_on_with_later(memory: Desk) -> None:
    """The page says why, and has the button; nothing has ended meanwhile."""
    bob = memory.browser("bob")
    with no_thread("clustertoken-console"):
        shown = memory.outcome(memory.post("/tokens/end", subject="bob", prefix="b"))
    assert "It was not done" in shown
    assert "no thread to give" in shown
    assert memory.is_in(bob)
    (work,) = re.findall(r'name="work" value="([^"]+)"', shown)
    assert "1 token ended" in memory.outcome(memory.post("/work", work=work))
    assert not memory.is_in(bob)
