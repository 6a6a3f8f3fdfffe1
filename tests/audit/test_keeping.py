"""The trail in the cluster store: in batches, in order, for as long as it is kept."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from flask_clustertoken.audit import AuditLine, AuditTrail, KeptAudit, keeping
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import VALUE_LIMIT
from flask_clustertoken.stores.memory import MemoryStore

DAY = 86_400.0


class KeptTrail:
    """A node whose trail is in a store, and the steps of its follower."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        settings = Settings(store="memory:", secret=("x" * 40,), audit="store")
        self.authority = TokenAuthority(
            settings, clock=self.clock, store=self.store, threaded=False
        )
        self.trail = AuditTrail.of(self.authority)
        self.kept = KeptAudit(self.store, self.clock)
        self.authority.follower()

    def step(self) -> None:
        self.clock.advance(keeping.COLLECT)
        for _ in range(2):  # one that finds it due, and the one behind it that writes
            self.authority.follower().step()

    def batches(self) -> int:
        return sum(1 for _ in self.store.walk(keeping.PREFIX))

    def events(self) -> list[str]:
        return [one.event for one in self.kept.newest()]


@pytest.fixture
def node() -> KeptTrail:
    return KeptTrail()


def test_lines_are_written_together_and_read_newest_first(node: KeptTrail) -> None:
    """A login writes nothing more: what comes within some seconds is one record."""
    for number in range(10):
        node.trail.note(f"act{number}")
    assert node.batches() == 0
    node.step()
    assert node.batches() == 1
    node.trail.note("last")
    node.step()
    assert node.events() == ["last", *(f"act{number}" for number in reversed(range(10)))]


def test_two_days_stand_in_their_order(node: KeptTrail) -> None:
    """Days are read one by one, from the newest on."""
    for day in range(3):
        node.trail.note(f"day{day}")
        node.step()
        node.clock.advance(DAY)
    assert node.events() == ["day2", "day1", "day0"]


def test_what_the_store_cannot_take_waits(node: KeptTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order; the log has it meanwhile."""

    def cut(*_: object) -> bool:
        raise StoreUnavailable("the line was cut")

    node.trail.note("first")
    monkeypatch.setattr(node.store, "add", cut)
    node.step()
    node.trail.note("second")
    monkeypatch.undo()
    node.step()
    assert node.events() == ["second", "first"]


def test_a_node_that_leaves_writes_what_it_has(node: KeptTrail) -> None:
    """A command that is over, or a worker that is recycled."""
    node.trail.note("last words")
    other = KeptAudit(MemoryStore(node.store._shelf, clock=node.clock), node.clock)
    node.authority.close()
    assert [one.event for one in other.newest()] == ["last words"]


def test_a_child_does_not_write_what_its_parent_did(node: KeptTrail) -> None:
    """Else it would stand there twice."""
    node.trail.note("the parent's")
    child = os.fork()
    if not child:
        kept = 1
        with suppress(BaseException):
            node.step()
            kept = node.batches()
        os._exit(kept)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    node.step()
    assert node.events() == ["the parent's"]


def test_lines_are_over_after_ninety_days(node: KeptTrail) -> None:
    """They end by themselves."""
    node.trail.note("old")
    node.step()
    node.clock.advance(keeping.KEPT_FOR - DAY)
    assert node.events() == ["old"]
    node.clock.advance(2 * DAY)
    assert node.events() == []


def test_beyond_the_most_the_oldest_go(node: KeptTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of logins does not fill the store."""
    monkeypatch.setattr(keeping, "KEPT_MOST", 5)
    for number in range(8):
        node.trail.note(f"act{number}")
        node.step()
    assert node.kept.trim(lambda: False) == 3
    assert node.events() == [f"act{number}" for number in reversed(range(3, 8))]


def test_a_line_that_is_longer_than_a_batch_is_written_alone(node: KeptTrail) -> None:
    """Whoever is named may have a long name, and what comes behind must not wait for ever."""
    longest = ["\U0001f600" * 300 + f"{number}" for number in range(30)]
    node.trail.note("before")
    node.trail.note("imported", subjects=longest, token_ids=longest, labels=longest, kinds=longest)
    node.trail.note("behind")
    node.step()
    # (Each is a batch, and by this clock that stands all three are of one moment.)
    assert sorted(node.events()) == ["before", "behind", "imported"]
    assert node.batches() == 3
    sizes = [len(record.value) for _, record in node.store.walk(keeping.PREFIX)]
    assert max(sizes) > keeping.BATCH_BYTES


def test_a_line_that_no_store_takes_is_left_out_and_said(
    node: KeptTrail, caplog: pytest.LogCaptureFixture
) -> None:
    """The others do not wait behind it; the log has it."""
    collected = keeping.Collected(node.clock)
    for line in ('{"event":"before"}', "x" * VALUE_LIMIT, '{"event":"behind"}'):
        collected.add(line)
    collected.write(node.store)
    ((_, record),) = node.store.walk(keeping.PREFIX)
    assert json.loads(record.value) == [{"event": "before"}, {"event": "behind"}]
    assert "in the log alone" in caplog.text
    fits = "x" * (VALUE_LIMIT - 2)
    collected.add(fits)
    collected.write(node.store)
    assert node.batches() == 2


def test_a_long_line_of_lines_becomes_several_batches(node: KeptTrail) -> None:
    """No record is larger than a store takes."""
    for number in range(2000):
        node.trail.note(f"act{number}", detail="x" * 250)
    node.step()
    assert node.batches() > 10
    assert len(node.events()) == 2000


def test_a_batch_that_cannot_be_read_hides_no_other(node: KeptTrail) -> None:
    """Somebody wrote into it by hand."""
    node.trail.note("first")
    node.step()
    day = next(node.store.walk(keeping.PREFIX))[0].split("/")[1]
    node.store.add(f"audit/{day}/99999999999999999-1-ff", b"{broken", None)
    assert node.events() == ["first"]


def test_the_log_alone_is_the_default() -> None:
    """Nobody's store fills unasked."""
    store = MemoryStore()
    settings = Settings(store="memory:", secret=("x" * 40,))
    authority = TokenAuthority(settings, store=store, threaded=False)
    AuditTrail.of(authority).note("act")
    authority.follower()
    authority.close()
    assert settings.audit == "log"


def test_the_trail_is_read_in_pages_that_go_on_where_the_last_one_ended(node: KeptTrail) -> None:
    """Over batches and days; what is written meanwhile shifts nothing, and a batch may vanish."""
    for day in range(3):
        for number in range(25):
            node.trail.note(f"act{day}-{number}")
        node.step()
        node.clock.advance(DAY)
    expected = node.events()
    found, before = [], ""
    while True:
        page = node.kept.page(before=before, most=7)
        found += [one.event for one in page.lines]
        assert len(page.lines) <= 7
        before = page.before
        if not before:
            break
        node.trail.note("meanwhile")
        node.step()
    assert found == expected
    first = node.kept.page(lambda line: line.event == "act0-3")
    assert [one.event for one in first.lines] == ["act0-3"]
    place = node.kept.page(lambda line: line.event != "meanwhile", most=30).before
    for key, _ in list(node.store.walk(keeping.PREFIX)):
        node.store.delete(key)
    assert node.kept.page(before=place).lines == ()
    for wrong in ("x", "../2026", "2026-01-01/..:1", "2026-01-01/1-1-a:" + "9" * 40):
        with pytest.raises(ValueError, match="not where a page"):
            node.kept.page(before=wrong)


def test_a_search_through_the_trail_stops_in_time(
    node: KeptTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has looked at enough lines is empty, and says where the search goes on."""
    monkeypatch.setattr(keeping, "LOOKED_AT", 10)
    node.trail.note("wanted")
    for number in range(24):
        node.trail.note(f"act{number}")
    node.step()
    steps, before = 0, ""
    while True:
        page = node.kept.page(lambda line: line.event == "wanted", before)
        steps += 1
        if page.lines or not page.before:
            break
        before = page.before
    assert [one.event for one in page.lines] == ["wanted"]
    assert steps == 3


def test_a_day_is_read_from_behind_and_each_batch_once(
    node: KeptTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever in the day they were written, by whatever clock; few are read for a few lines."""
    random = Random(7)
    begins = node.clock.time() // DAY * DAY
    node.clock.advance(begins + 0.7 * DAY - node.clock.time())
    moments = [begins, begins + 0.5, node.clock.time() + 3000, begins + DAY - 1e-6]
    moments += [begins + random.random() * 0.7 * DAY for _ in range(300)]
    moments += [node.clock.time() - random.random() * 20 for _ in range(40)]
    for number, moment in enumerate(moments):
        line = AuditLine("t", f"act{number}", "done", "default", "default", "here").as_json()
        day = keeping._day(moment)
        name = f"{moment * 1e6:017.0f}-1-{number:08x}"
        node.store.add(f"{keeping.PREFIX}{day}/{name}", f"[{line}]".encode(), moment + DAY * 90)
    expected = [f"act{number}" for number in sorted(range(len(moments)), key=moments.__getitem__)]
    assert node.events() == expected[::-1]
    read, scan = [0], node.store.scan

    def counted(*args: Any, **more: Any) -> Any:
        answer = scan(*args, **more)
        read[0] += len(answer)
        return answer

    monkeypatch.setattr(node.store, "scan", counted)
    assert len(node.kept.page(most=30).lines) == 30
    assert read[0] < 60
    found, before = [], ""
    while True:
        page = node.kept.page(before=before, most=9)
        found += [one.event for one in page.lines]
        before = page.before
        if not before:
            break
    assert found == expected[::-1]
