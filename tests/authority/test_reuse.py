"""Reuse: who notes what, when and how often; and what is told. (The rule: tests/simulation.)"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority, reuse
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.events import TokenReused
from flask_clustertoken.tokens import Token, copies_key, read_copies
from tests.doubles import DAY, Cluster, WatchedStore, reason, store_of

GRACE = 60

UPGRADE = Path(__file__).resolve().parent.parent / "upgrade"


def listen(node: TokenAuthority) -> list[TokenReused]:
    heard: list[TokenReused] = []
    node.events.listen(TokenReused, heard.append)
    node.reuse.agent_of = str
    return heard


def pass_time(cluster: Cluster, seconds: float) -> None:
    cluster.clock.advance(seconds)
    for _ in range(2):
        cluster.step()


def use(node: TokenAuthority, text: str, agent: str = "owner") -> str:
    """A request with *text*; the cookie that the browser has afterwards."""
    token = node.authenticate(text, request=agent)
    assert isinstance(token, Token)
    renewed = node.renew(text, token, request=agent) if node.renewal_due(token) else None
    return renewed.text if renewed else text


def old_and_new(cluster: Cluster, node: TokenAuthority) -> tuple[str, str]:
    """A login's first copy, and a newer one that was in use for longer than the grace."""
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    new = use(node, old)
    assert new != old
    use(node, new)
    pass_time(cluster, GRACE + 1)
    use(node, new)
    pass_time(cluster, 1)
    return old, new


def note(cluster: Cluster, text: str) -> Any:
    token = cluster.members[0].wire.read(text, "login")
    assert isinstance(token, Token)
    record = cluster.shelf.records.get(copies_key(token.record_key))
    return None if record is None else read_copies(record.value)


@pytest.fixture(params=[True, False], ids=["followers' steps", "at once"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether others see the store too: what may wait is left to the follower then."""
    monkeypatch.setattr(WatchedStore, "shared", request.param)
    return bool(request.param)


def test_a_second_holder_is_told_of_once_with_both_places(
    cluster: Cluster, steps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By the node to which the older copy came, and in its log; nobody is thrown out."""
    node, other = cluster.node(), cluster.node()
    heard, elsewhere = listen(node), listen(other)
    old, new = old_and_new(cluster, node)
    asked_at = cluster.clock.time()
    with caplog.at_level(logging.WARNING, "flask_clustertoken"):
        stolen = use(other, old, "thief")
        cluster.step()
    (told,) = elsewhere
    assert heard == []
    assert told.token.subject == "alice"
    assert (told.asked.agent, told.asked.at) == ("thief", asked_at)
    assert (told.other.agent, told.other.at) == ("owner", asked_at - 1)
    assert told.asked.host == told.other.host != ""
    assert not told.ended
    for one in (node, other):
        use(one, old, "thief")
        cluster.step()
    assert len(heard + elsewhere) == 1
    assert all(node.authenticate(text) for text in (old, new, stolen))
    (line,) = [one for one in caplog.messages if "two holders" in one]
    assert told.token.record_key in line
    assert "thief" in line
    for text in (old, new, stolen, "alice"):
        assert text not in line


def test_it_may_be_ended_everywhere(cluster: Cluster, steps: bool) -> None:
    """By an ordinary revocation: each copy, the newest as well, on each node; and others stay."""
    node, other = cluster.node(WHEN_REUSED="end"), cluster.node(WHEN_REUSED="end")
    heard = listen(other)
    bystander = other.issue_login("alice").text
    old, new = old_and_new(cluster, node)
    stolen = use(other, old, "thief")
    cluster.step()
    cluster.step()
    assert [one.ended for one in heard] == [True]
    for one in (node, other):
        for text in (old, new, stolen):
            assert reason(one.authenticate(text)) == "revoked"
        assert one.authenticate(bystander)


def test_the_owner_is_told_of_where_the_thief_was_faster(cluster: Cluster, steps: bool) -> None:
    """Nobody can say which of the two it is."""
    node = cluster.node()
    heard = listen(node)
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    stolen = use(node, old, "thief")
    for _ in range(8):
        pass_time(cluster, 10)
        use(node, stolen, "thief")
    assert heard == []
    use(node, old, "owner")
    cluster.step()
    assert [(one.asked.agent, one.other.agent) for one in heard] == [("owner", "thief")]


def test_copies_of_the_version_before_are_judged_by_nobody(cluster: Cluster, steps: bool) -> None:
    """They have no generation, nor has what an old node makes of a new copy."""
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    first = node.issue_login("alice").token
    old = node.wire.write(replace(first, generation=None))
    assert '"g"' not in old
    pass_time(cluster, 2 * DAY)
    new = use(node, old)
    made = node.wire.read(new, "login")
    assert isinstance(made, Token)
    assert made.generation
    assert node.wire.write(replace(made, generation=None)) != new
    for _ in range(3):
        use(node, new)
        pass_time(cluster, GRACE)
    assert note(cluster, new).spent == made.generation
    for text in (old, node.wire.write(replace(made, generation=None))):
        use(node, text)
        cluster.step()
    assert heard == []


def test_a_newer_login_begins_anew(cluster: Cluster, steps: bool) -> None:
    """What is noted belongs to a token's id."""
    node = cluster.node()
    heard = listen(node)
    _, new = old_and_new(cluster, node)
    token = node.authenticate(new)
    assert isinstance(token, Token)
    again = node.issue_login("alice", replaces=token, carries_on=token, on=token)
    assert again.token.generation == 0
    pass_time(cluster, 2 * DAY)
    for _ in range(3):
        use(node, again.text)
    cluster.step()
    assert heard == []


def test_a_copy_without_its_proof_is_used_by_nobody(cluster: Cluster, steps: bool) -> None:
    """Whoever has only a copy of a bound login is refused: nor does what he tries make it end for
    its owner, who has an older copy (his browser crashed, and lost the last one)."""
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    bound = node.bind(node.issue_login("alice").token, "A" * 44)

    def proof() -> list[str]:
        return [node.proving.proof(bound.token)[0]]

    def owned(text: str) -> str:
        token = node.authenticate(text, proofs=proof(), request="owner")
        assert isinstance(token, Token)
        renewed = node.renew(text, token, request="owner") if node.renewal_due(token) else None
        return renewed.text if renewed else text

    pass_time(cluster, 2 * DAY)
    new = owned(bound.text)
    assert new != bound.text
    for _ in range(4):
        assert reason(node.authenticate(new, request="thief")) == "unproven"
        assert reason(node.authenticate(new, proofs=["forged"], request="thief")) == "unproven"
        pass_time(cluster, GRACE)
    assert note(cluster, new) is None
    owned(bound.text)
    cluster.step()
    assert heard == []
    # With its proof it is used like any other one.
    for _ in range(2):
        owned(new)
        pass_time(cluster, GRACE + 1)
    assert note(cluster, new).spent
    owned(bound.text)
    cluster.step()
    assert [one.ended for one in heard] == [True]


# -- what it costs -----------------------------------------------------------------------------


def asked(node: TokenAuthority) -> dict[str, int]:
    calls = store_of(node).calls
    found = {name: count for name, count in calls.items() if count}
    calls.clear()
    return found


@pytest.mark.parametrize("always", [False, True])
def test_no_request_asks_the_store_more_often(
    cluster: Cluster, always: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First sight, seen copy, renewal, the new copy's uses: as for a copy that nobody judges."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node, other = (cluster.node(ALWAYS_RENEW=always, RECORD_CACHE=3600) for _ in range(2))
    noted = node.issue_login("alice")
    plain = node.wire.write(replace(node.issue_login("bob").token, generation=None))
    texts = [noted.text, plain]
    done: list[list[dict[str, int]]] = [[], []]
    for wait in (1, 2 * DAY, 0, 1, GRACE, GRACE + 1, 10 * GRACE, 2 * DAY, 1):
        pass_time(cluster, wait)
        asked(node), asked(other)
        for one in (0, 1):
            # (What an old version makes of its copies has no generation either.)
            new = use(node, texts[one])
            done[one].append(asked(node))
            found = node.wire.read(new, "login")
            assert isinstance(found, Token)
            if one:
                new = node.wire.write(replace(found, generation=None))
                use(node, new)
                asked(node)
            texts[one] = new
            assert other.authenticate(new)
            done[one].append(asked(other))
    assert done[0] == done[1]
    assert any(done[0])


def test_what_is_noted_is_noted_for_many_logins_at_a_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls of one step, and two such steps in the life of a copy."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node()
    texts = [node.issue_login(f"user-{number}").text for number in range(80)]
    pass_time(cluster, 2 * DAY)
    texts = [use(node, text) for text in texts]
    asked(node)
    node.follower().step()
    assert asked(node) == {"get_many": 1, "root": 1} or "append" not in asked(node)
    for wait, writes in ((0, 1), (1, 0), (GRACE, 1), (GRACE, 0), (DAY / 3, 0)):
        pass_time(cluster, wait)
        asked(node)
        for text in texts:
            use(node, text)
        node.follower().step()
        calls = asked(node)
        assert calls.get("append", 0) == writes
        assert calls.get("touch", 0) == calls.get("put", 0) == 0
        if writes:
            assert calls["get_many"] == 1
    assert len([key for key in cluster.shelf.records if key.startswith("copies/")]) == 80


# -- others in between -------------------------------------------------------------------------


def test_a_note_that_another_node_wrote_meanwhile_is_not_overwritten(cluster: Cluster) -> None:
    """Whoever loses reads it anew, and adds what it knows."""
    node, other = cluster.node(), cluster.node()
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    new = use(node, old)
    pass_time(cluster, DAY + 1)
    newer = use(other, new)
    pass_time(cluster, GRACE + 1)
    store_of(node).before["append"] = lambda: bool(use(other, newer)) and None
    use(node, new)
    found, made = note(cluster, newer), other.wire.read(newer, "login")
    assert isinstance(made, Token)
    assert (found.newest, found.first) == (made.generation, cluster.clock.time())
    assert found.spent == node.wire.read(new, "login").generation  # type: ignore[union-attr]


def test_two_nodes_that_note_the_first_use_at_once_know_of_both(cluster: Cluster) -> None:
    """There is no note yet that could have changed: of two that begin one, the later one goes by
    the other's. Else the use that was noted first is forgotten, and a thief has a minute more."""
    node, other = cluster.node(), cluster.node()
    heard = listen(other)
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    one = use(node, old)
    pass_time(cluster, 5)
    two = use(other, old)  # another tab, whose answer comes last
    pass_time(cluster, 5)
    assert note(cluster, old) is None
    used_at = cluster.clock.time()
    store_of(node).before["append"] = lambda: bool(use(other, two)) and None
    use(node, one)
    store_of(node).before.clear()

    first, second = (cluster.members[0].wire.read(text, "login") for text in (one, two))
    assert isinstance(first, Token)
    assert isinstance(second, Token)
    found = note(cluster, old)
    assert (found.newest, found.first) == (second.generation, used_at)
    assert (found.older, found.older_first) == (first.generation, used_at)
    pass_time(cluster, GRACE + 1)
    use(other, two)
    pass_time(cluster, 1)
    use(other, old, "thief")
    assert [one.asked.agent for one in heard] == ["thief"]


def test_a_clash_over_one_of_many_logins_costs_a_step_no_more_calls(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page whose requests come to two nodes is noted by both at once. Two hundred calls in one
    step would cost a node on a slow store its lease."""
    monkeypatch.setattr(WatchedStore, "shared", True)  # (so that uses wait for the next step)
    node, other = cluster.node(), cluster.node()
    logins = [node.issue_login(f"user-{number}") for number in range(60)]
    pass_time(cluster, 4 * DAY)
    copies = []
    for login in logins:
        renewed = node.renew(login.text, login.token)
        assert renewed
        copies.append(renewed.text)
    pass_time(cluster, 5)
    for copy in copies:
        assert node.authenticate(copy)
    assert other.authenticate(copies[7])
    store = store_of(node)
    store.before["append"] = lambda: bool(other.follower().step()) and None
    store.calls.clear()
    node.follower().step()
    assert store.calls["get_many"] + store.calls["append"] <= 2 * reuse.CLASHES
    for copy in copies:
        assert note(cluster, copy) is not None


def test_two_nodes_that_find_out_at_once_tell_once(cluster: Cluster) -> None:
    """Whoever notes that it was told tells it."""
    node, other = cluster.node(), cluster.node()
    heard, elsewhere = listen(node), listen(other)
    old, _ = old_and_new(cluster, node)
    store_of(node).before["append"] = lambda: bool(use(other, old, "thief")) and None
    use(node, old, "thief")
    assert (len(heard), len(elsewhere)) == (0, 1)


def test_what_comes_while_the_store_is_away_is_told_afterwards(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for a renewal may not ask again for a day."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    old, new = old_and_new(cluster, node)
    use(node, old, "thief")
    for call in ("get_many", "append"):
        store_of(node).failing = {call: StoreUnavailable("away")}
        cluster.step()
        assert heard == []
        assert node.authenticate(new)
    store_of(node).heal()
    cluster.step()
    cluster.step()
    assert [one.ended for one in heard] == [True]
    assert reason(node.authenticate(new)) == "revoked"


@pytest.mark.parametrize("when", ["report", "end"])
def test_an_answer_that_was_lost_is_no_report_that_was_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It was noted who tells, and the one who does not know that is the one."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node(WHEN_REUSED=when)
    heard = listen(node)
    old, _ = old_and_new(cluster, node)
    use(node, old, "thief")

    def lose() -> None:
        store_of(node).after.clear()
        raise StoreUnavailable("no answer")

    for _ in range(2 if when == "end" else 1):
        store_of(node).after["append"] = lose
        node.follower().step()
        assert heard == []
    for _ in range(3):
        cluster.step()
    assert [one.ended for one in heard] == [when == "end"]


def test_where_the_end_of_a_login_fails_it_is_told_all_the_same(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few tries; and that it was not ended."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    old, new = old_and_new(cluster, node)

    def fail(*_: object) -> None:
        raise StoreUnavailable("full")

    monkeypatch.setattr(node.reuse, "_end", fail)
    use(node, old, "thief")
    for _ in range(8):
        cluster.step()
    assert [one.ended for one in heard] == [False]
    assert node.authenticate(new)


def test_nobody_is_accused_by_what_was_noted_late(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that judges comes minutes later: by then the very copy that was made is in use."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node, other = cluster.node(MAX_STALENESS=300), cluster.node(MAX_STALENESS=300)
    heard = listen(node)
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    new = use(node, old)
    for _ in range(4):
        cluster.clock.advance(GRACE / 2)
        cluster.step(other)
        use(other, new)
    cluster.step(other)
    assert note(cluster, new).spent
    cluster.step(node)
    assert heard == []


def test_what_a_newer_version_noted_is_left_alone(cluster: Cluster) -> None:
    """Nothing is told, nothing is written, and nobody is refused."""
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    old, new = old_and_new(cluster, node)
    token = node.authenticate(new)
    assert isinstance(token, Token)
    key = copies_key(token.record_key)
    newer = cluster.shelf.records[key].value.replace(b'"format":1', b'"format":2')
    store_of(node).put(key, newer, cluster.clock.time() + DAY)
    node.remembered.clear()
    for text in (old, new, old):
        use(node, text)
        pass_time(cluster, GRACE + 1)
    assert heard == []
    assert cluster.shelf.records[key].value == newer


def test_the_token_store_cookie_notes_nothing(cluster: Cluster) -> None:
    """There is no record to notice it by: nothing is written, and no copy is longer for it."""
    node = cluster.node(TOKEN_STORE="cookie")
    heard = listen(node)
    old, _ = old_and_new(cluster, node)
    use(node, old, "thief")
    cluster.step()
    assert heard == []
    assert not [key for key in cluster.shelf.records if key.startswith("copies/")]
    token = node.wire.read(old, "login")
    assert isinstance(token, Token)
    assert token.generation is None


#: What the version before does with a copy of today: reads it, and renews it.
BEFORE = """
import json, sys
from dataclasses import replace
from flask_clustertoken.wire import Wire

said = json.load(sys.stdin)

class Keys:
    def signing(self):
        return said["key"], bytes.fromhex(said["secret"])

    def verifying(self, key_id, kind):
        return bytes.fromhex(said["secret"])

wire = Wire(Keys(), realm="default", token_store="session", api_prefix="ctk")
token = wire.read(said["text"], "login")
print(wire.write(replace(token, expires_at=token.expires_at + 3600)))
"""


def test_the_version_before_reads_copies_of_today(cluster: Cluster, steps: bool) -> None:
    """Its own code: the copy is good there, and what it makes of it is good here, and judged by
    nobody, whatever was used since; from the next renewal on it is."""
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    _, new = old_and_new(cluster, node)
    key, secret = node.keys.signing()
    done = subprocess.run(
        [sys.executable, "-c", BEFORE],
        input=json.dumps({"key": key, "secret": secret.hex(), "text": new}),
        cwd=UPGRADE,
        env={**os.environ, "PYTHONPATH": str(UPGRADE / "before.zip")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    theirs = done.stdout.strip()
    pass_time(cluster, 2 * DAY)
    token = node.authenticate(theirs)
    assert isinstance(token, Token)
    assert token.generation is None
    newer = use(node, theirs)
    for _ in range(3):
        use(node, newer)
        pass_time(cluster, GRACE)
    use(node, theirs)
    cluster.step()
    assert heard == []
    use(node, new, "thief")
    cluster.step()
    assert len(heard) == 1


def clash_at_each_write(node: TokenAuthority, meddle: Callable[[], None]) -> None:
    """*meddle* before each write of *node*, not only before the next one."""
    store = store_of(node)

    def again() -> None:
        meddle()
        store.before["append"] = again

    store.before["append"] = again


def test_what_clashes_again_and_again_waits_for_another_step(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other nodes write a note before each try, each time another one: the step ends all the
    same, and no use is lost. The next step notes them."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node, other = cluster.node(), cluster.node()
    copies = []
    for number in range(20):
        old = node.issue_login(f"user-{number}").text
        pass_time(cluster, 1)
        copies.append(old)
    pass_time(cluster, 2 * DAY)
    copies = [use(node, old) for old in copies]
    pass_time(cluster, 5)
    for copy in copies:
        use(node, copy)
    left = iter(copies)

    def meddle() -> None:
        use(other, next(left))
        other.follower().step()

    clash_at_each_write(node, meddle)
    store = store_of(node)
    store.calls.clear()
    node.follower().step()
    assert store.calls["append"] == reuse.CLASHES
    assert store.calls["get_many"] <= reuse.CLASHES + 1
    assert sum(note(cluster, copy) is not None for copy in copies) == reuse.CLASHES
    store.before.clear()
    node.follower().step()
    assert all(note(cluster, copy) is not None for copy in copies)


def test_a_second_holder_among_logins_that_clash_is_told_of_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked may not ask again: what waits for another step is judged there, once."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node, other = cluster.node(), cluster.node()
    heard, elsewhere = listen(node), listen(other)
    old, _ = old_and_new(cluster, node)
    others = [node.issue_login(f"user-{number}").text for number in range(5)]
    pass_time(cluster, 2 * DAY)
    others = [use(node, text) for text in others]
    pass_time(cluster, 5)
    use(node, old, "thief")
    for text in others:
        use(node, text)
    left = iter(others)

    def meddle() -> None:
        use(other, next(left))
        other.follower().step()

    clash_at_each_write(node, meddle)
    node.follower().step()
    assert heard == []
    store_of(node).before.clear()
    for _ in range(3):
        cluster.step()
    assert [one.asked.agent for one in heard + elsewhere] == ["thief"]


def test_a_use_whose_note_could_not_be_written_is_noted_at_a_later_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What made the copies of before worthless; else a thief with one of them goes unseen."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node()
    old = node.issue_login("alice").text
    pass_time(cluster, 2 * DAY)
    new = use(node, old)
    use(node, new)
    pass_time(cluster, GRACE + 1)
    use(node, new)
    store_of(node).failing = {"append": StoreUnavailable("the line is cut")}
    node.follower().step()
    store_of(node).heal()
    pass_time(cluster, GRACE + 1)
    use(node, new)
    cluster.step()
    token = node.wire.read(new, "login")
    assert isinstance(token, Token)
    assert note(cluster, new).spent == token.generation


def test_many_second_holders_are_ended_some_in_each_step(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stolen jar of a hundred cookies costs no node its lease; each is ended and told of once."""
    monkeypatch.setattr(WatchedStore, "shared", True)
    node = cluster.node(WHEN_REUSED="end")
    heard = listen(node)
    count = reuse.ENDED_AT_ONCE * 2 + 3
    olds = [node.issue_login(f"user-{number}").text for number in range(count)]
    pass_time(cluster, 2 * DAY)
    news = [use(node, old) for old in olds]
    for wait in (5, GRACE + 1, GRACE + 1):
        pass_time(cluster, wait)
        for new in news:
            use(node, new)
        pass_time(cluster, 1)
    for old in olds:
        use(node, old, "thief")
    ended = []
    for _ in range(6):
        pass_time(cluster, 1)
        ended.append(len(heard))
    assert ended[-1] == count
    assert max(b - a for a, b in zip([0, *ended], ended, strict=False)) <= reuse.ENDED_AT_ONCE * 2
    assert {reason(node.authenticate(new)) for new in news} == {"revoked"}
