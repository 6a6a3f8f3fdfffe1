"""Who may not come back in: set and lifted in the console, and in force on every node."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from flask_clustertoken.authority import StandingLock
from flask_clustertoken.errors import Locked, NodesTooOld

from .parts import Desk, lines, next_in


def locked_in(desk: Desk) -> list[StandingLock]:
    return desk.authority.locking.locks()


def rows_in(page: str) -> list[str]:
    """What the list says is locked."""
    found = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', page)
    return [unescape(re.sub("<[^>]*>", "", one)).strip() for one in found]


def hour(desk: Desk, **lock: Any) -> dict[str, Any]:
    """The form of a lock for an hour."""
    return {"ends": "3600", **lock}


def test_a_person_is_locked_out_and_let_in_again(desk: Desk) -> None:
    """Asked first, with how many logins end; refused with the message; lifted by its own link."""
    bob, carol = desk.browser("bob"), desk.browser("carol")
    program = desk.authority.issue_api_token("bob", "ci")
    assert "Nobody is locked out" in desk.get("/locks").text
    form = hour(desk, what="subject", name=" bob ", message="Please call the office.")
    asked = desk.get("/locks/set", **form)
    assert "1 recorded login ends for good" in asked.text
    assert "Please call the office." in asked.text
    assert locked_in(desk) == []
    assert desk.is_in(bob)

    shown = desk.outcome(desk.post("/locks/set", **form))
    assert "the person <bdi>bob</bdi>" in shown
    assert "In force on the one node" in shown
    assert (desk.is_in(bob), desk.is_in(carol), desk.is_in(desk.admin)) == (False, True, True)
    with pytest.raises(Locked, match="Please call the office"):
        desk.authority.issue_login("bob")
    assert not desk.authority.authenticate(program.text, "api")
    (lock,) = locked_in(desk)
    assert lock.until == pytest.approx(desk.clock.time() + 3600, abs=5)

    page = desk.get("/locks").text
    assert rows_in(page) == ["the person bob"]
    assert "Locks in force" in desk.get("/").text
    person = desk.get("/tokens", subject="bob").text
    (link,) = re.findall(r'id="locked".*?href="/console([^"]*)"', person)
    assert "Please call the office." in desk.get(unescape(link)).text
    shown = desk.outcome(desk.post("/locks/lift", what="subject", name="bob"))
    assert "Locked no more:" in shown
    assert locked_in(desk) == []
    assert not desk.is_in(bob)
    assert desk.is_in(desk.browser("bob"))
    assert desk.authority.authenticate(program.text, "api")


@pytest.mark.parametrize(
    ("form", "said", "named"),
    [
        ({"what": "label", "name": "sso:9"}, "whoever has the label sso:9", ("label", "sso:9")),
        ({"what": "api"}, "all API tokens", ("kind", "api")),
        ({"what": "login", "spared": "role:admin"}, "all logins", ("kind", "login")),
        ({"what": "everyone", "spared": "x\r\nrole:admin"}, "everybody", ("everyone", "")),
    ],
)
def test_whatever_can_be_locked_is_listed_and_lifted(
    memory: Desk, form: dict[str, Any], said: str, named: tuple[str, str]
) -> None:
    """A label, a kind, everybody but those who are spared."""
    memory.admin = memory.browser("admin", "role:admin")
    marked, bob = memory.browser("bob", "sso:9"), memory.browser("bob")
    memory.outcome(memory.post("/locks/set", **hour(memory, **form)))
    (lock,) = locked_in(memory)
    assert (lock.what, lock.name) == named
    assert memory.is_in(memory.admin)
    assert memory.is_in(bob) == (form["what"] in ("label", "api"))
    assert memory.is_in(marked) == (form["what"] == "api")
    page = memory.get("/locks").text
    assert rows_in(page) == [said]
    (link,) = re.findall(r'href="/console(/locks/lift[^"]*)"', page)
    asked = memory.get(unescape(link)).text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked))
    memory.outcome(memory.post("/locks/lift", **fields))
    assert locked_in(memory) == []


@pytest.mark.parametrize(
    "form",
    [
        {"what": "subject", "name": "admin"},
        {"what": "label", "name": "role:admin"},
        {"what": "login"},
        {"what": "everyone"},
        {"what": "everyone", "spared": "role:other"},
    ],
)
def test_nobody_locks_themselves_out(memory: Desk, form: dict[str, Any]) -> None:
    """Neither the page that asks nor the act itself: who would lift it?"""
    memory.admin = memory.browser("admin", "role:admin")
    for answer in (
        memory.get("/locks/set", **hour(memory, **form)),
        memory.post("/locks/set", **hour(memory, **form)),
    ):
        assert answer.status_code == 400
        assert "This would lock you out as well: spare a label" in answer.text
        if "spared" in form:
            assert "role:other" in answer.text  # (what was filled in is there still)
    assert locked_in(memory) == []
    assert memory.is_in(memory.admin)


def test_whoever_is_locked_out_gets_no_api_token_and_the_page_says_why(memory: Desk) -> None:
    """Not with the words that the lock has for that person; what was filled in is there still."""
    memory.admin = memory.browser("admin", "role:admin")
    form = {"subject": "bob", "name": "nightly", "days": "30"}
    locking = memory.authority.locking
    locking.lock(subject="bob", message="Please call the office.")
    german = memory.admin.post(
        "/console/tokens/new",
        data=form,
        headers={"Accept": "text/html", "Accept-Language": "de"},
        base_url="https://localhost",
    )
    assert german.status_code == 409
    assert "Diese Person ist gesperrt" in german.text
    refused = memory.post("/tokens/new", **form)
    assert refused.status_code == 409
    assert "This person is locked out: lift the lock first." in refused.text
    assert "Please call the office." not in refused.text
    assert 'value="nightly"' in refused.text
    assert "<title>Make an API token" in refused.text

    locking.unlock(subject="bob")
    locking.lock(everyone=True, except_labels=["role:admin"], message="Back at noon.")
    refused = memory.post("/tokens/new", **form)
    assert refused.status_code == 409
    assert "API tokens are locked: lift that lock first." in refused.text
    assert [one for one in memory.authority.tokens() if one.kind == "api"] == []


def test_an_administrator_who_is_locked_out_meanwhile_reads_it_as_everybody_does(
    memory: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is their own login that is refused, with what the lock says to them."""
    authority = memory.authority
    issue = authority.issue_api_token

    def locked_first(*args: Any, **more: Any) -> Any:
        authority.locking.lock(subject="admin", message="Please call the office.")
        return issue(*args, **more)

    monkeypatch.setattr(authority, "issue_api_token", locked_first)
    refused = memory.post("/tokens/new", subject="bob", name="nightly", days="30")
    assert refused.status_code == 403
    assert "Please call the office." in refused.text
    assert "This person is locked out" not in refused.text


def test_a_second_lock_on_the_same_takes_the_first_ones_place(memory: Desk) -> None:
    """And the page that asks says so."""
    for ends, warned in (("3600", False), ("0", True)):
        form = {"what": "subject", "name": "bob", "ends": ends}
        assert ("takes its place" in memory.get("/locks/set", **form).text) is warned
        memory.outcome(memory.post("/locks/set", **form))
    (lock,) = locked_in(memory)
    assert lock.until is None
    assert "until it is lifted" in memory.get("/locks").text


def test_a_name_does_nothing_on_the_pages(memory: Desk) -> None:
    strange = '"><script>alert(1)</script>'
    form = {"what": "subject", "name": strange, "message": strange, "ends": "0"}
    pages = [
        memory.get("/locks/new", **form).text,
        memory.get("/locks/set", **form).text,
        memory.outcome(memory.post("/locks/set", **form)),
        memory.get("/locks").text,
        memory.get("/locks/lift", what="subject", name=strange).text,
        memory.get("/tokens", subject=strange).text,
        memory.get("/audit").text,
    ]
    assert len(locked_in(memory)) == 1
    assert not [page for page in pages if "<script>alert" in page]


def test_many_locks_come_in_pages(memory: Desk) -> None:
    for number in range(60):
        memory.authority.locking.lock(subject=f"user-{number}")
    first = memory.get("/locks").text
    assert len(rows_in(first)) == 50
    assert rows_in(first)[0] == "the person user-59"
    second = memory.get(next_in(first)).text
    assert rows_in(second)[-1] == "the person user-0"
    assert len(rows_in(second)) == 10


def test_the_trail_says_who_locked_and_lifted(memory: Desk) -> None:
    memory.outcome(memory.post("/locks/set", what="subject", name="bob", ends="0"))
    memory.outcome(memory.post("/locks/lift", what="subject", name="bob"))
    found = [(one.event, one.actor, one.by) for one in lines(memory)]
    assert found[:2] == [("unlocked", "admin", "console"), ("locked", "admin", "console")]


def test_nodes_that_know_no_locks_are_named(memory: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an upgrade is under way nothing is written, and the page says which they are."""

    def old(*args: Any, **named: Any) -> None:
        raise NodesTooOld("a lock", ["web-1:17 (0.0.9)"])

    monkeypatch.setattr(type(memory.authority.locking), "_publish", old)
    answer = memory.post("/locks/set", what="subject", name="bob", ends="0")
    assert answer.status_code == 409
    assert "web-1:17 (0.0.9)" in answer.text


def test_a_lock_whose_end_no_calendar_has_is_listed_and_lifted(memory: Desk) -> None:
    """Milliseconds where seconds were meant: its pages say the number, and it can be taken away."""
    locking, now = memory.authority.locking, memory.clock.time()
    far = float(int(now * 1000))
    plan = locking.plan(subject="bob", until=now + 60)
    words = {**json.loads(plan.put.value), "until": far}
    locking._publish(
        replace(plan.feed_entry, value=far),
        replace(plan.put, value=json.dumps(words).encode(), expires_at=None),
        ("subject", "bob"),
    )
    for path, args in (
        ("/locks", {}),
        ("/locks/lift", {"what": "subject", "name": "bob"}),
    ):
        page = memory.get(path, **args)
        assert page.status_code == 200, path
        assert f"{far:.0f}" in page.text
        assert 'datetime=""' not in page.text
    memory.outcome(memory.post("/locks/lift", what="subject", name="bob"))
    assert locked_in(memory) == []
