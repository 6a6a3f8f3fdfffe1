"""How the tests are run: which stage has which test, and what is beside what."""

from __future__ import annotations

import io
import itertools
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import lanes  # noqa: E402
import one_stage  # noqa: E402
import stages  # noqa: E402
from one_stage import Result, Stage, Way  # noqa: E402

MARKS = (
    "processes",
    "gunicorn",
    "browser",
    "redis",
    "postgresql",
    "zookeeper",
    "keycloak",
    "gateway",
    "quiet",
)


# -- which stage has which test


def test_a_test_belongs_to_one_stage_whatever_its_marks() -> None:
    """None is left out, and none is run twice."""
    for carried in itertools.product([False, True], repeat=len(MARKS)):
        marks = dict(zip(MARKS, carried, strict=True))
        chosen = [one.name for one in stages.STAGES if eval(one.marks, {}, marks)]
        assert len(chosen) == 1, (marks, chosen)


def test_every_mark_is_in_a_stage() -> None:
    """A mark that pyproject.toml knows and no stage is one whose tests are quick."""
    text = (ROOT / "pyproject.toml").read_text()
    for mark in MARKS:
        assert f'    "{mark}: ' in text


def test_a_stage_looks_into_the_files_that_name_its_marks() -> None:
    """The quick one, which is for what carries none, looks into all of them."""
    chosen = {one.name: one.chosen for one in stages.STAGES}

    assert chosen["quick"] == []
    assert chosen["processes"] == ["processes", "gunicorn"]
    assert chosen["cluster"] == ["zookeeper"]
    assert chosen["quiet"] == ["quiet"]
    assert {name for names in chosen.values() for name in names} == set(MARKS)
    assert set(conftest.MARKS) == set(MARKS)


class Item:
    """A test as pytest collects it, with *marks*."""

    def __init__(self, path: Path, *marks: str) -> None:
        self.path, self.nodeid, self._marks = path, f"{path.name}::test_it", marks

    def get_closest_marker(self, name: str) -> bool:
        return name in self._marks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "test_it.py"
    file.write_text("pytestmark = [pytest.mark.redis, pytest.mark.processes]")
    return file


@pytest.mark.parametrize(
    ("asked", "left_out"),
    [([], False), (["redis"], False), (["zookeeper", "redis"], False), (["keycloak"], True)],
)
def test_a_file_without_the_marks_that_are_asked_for_is_not_imported(
    file: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], left_out: bool
) -> None:
    """Unless it is the one that was asked for by its name."""
    monkeypatch.setattr(conftest, "ONLY", asked)

    def is_left_out(*given: str) -> bool:
        said = conftest.pytest_ignore_collect(file, SimpleNamespace(args=given))  # type: ignore[arg-type]
        return bool(said)

    assert is_left_out(str(file.parent)) is left_out
    assert not is_left_out(f"{file}::test_it")
    assert not conftest.pytest_ignore_collect(file.parent, SimpleNamespace(args=()))  # type: ignore[arg-type]


def test_a_test_is_not_lost_by_what_its_file_does_not_name(file: Path) -> None:
    """The run says so before it begins; of several marks that of its stage counts."""
    good = [Item(file), Item(file, "redis"), Item(file, "redis", "gunicorn")]
    conftest.pytest_collection_modifyitems(good)  # type: ignore[arg-type]

    for marks in (["keycloak"], ["keycloak", "redis"], ["gunicorn"]):
        with pytest.raises(pytest.UsageError, match=f"write pytest.mark.{marks[0]} in test_it.py"):
            conftest.pytest_collection_modifyitems([Item(file, *marks)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "apart", "expected"),
    [
        ("quick", False, True),
        ("quick", True, False),
        ("processes", True, True),
        ("processes", False, True),
        ("redis", False, False),
    ],
)
def test_tests_that_share_no_server_run_side_by_side(
    name: str, apart: bool, expected: bool
) -> None:
    """Those that wait for nothing only where nothing else has the processors."""
    stage = next(one for one in stages.STAGES if one.name == name)

    command = one_stage.pytest_command(stage, Way(apart=apart))

    assert ("--numprocesses=auto" in command) is expected


# -- what runs beside what


BUSY = Stage("busy", "busy", 9, 9, parallel=True)
BUSY_TOO = replace(BUSY, name="busy_too")
WAITS = Stage("waits", "waits", 9, 9)
WAITS_TOO = replace(WAITS, name="waits_too")
ALONE = Stage("alone", "alone", 9, 9, alone="it needs all")


@pytest.mark.parametrize(
    ("waiting", "running", "at_once", "expected"),
    [
        ([BUSY, WAITS], [], 3, BUSY),
        ([BUSY_TOO, WAITS], [BUSY], 3, WAITS),
        ([BUSY_TOO, WAITS], [BUSY], 1, None),
        ([BUSY_TOO], [BUSY, WAITS], 3, None),
        ([BUSY_TOO], [WAITS], 3, BUSY_TOO),
        ([WAITS_TOO], [WAITS, BUSY], 2, None),
        ([ALONE, WAITS], [], 3, WAITS),
        ([ALONE], [WAITS], 3, None),
        ([ALONE], [], 3, ALONE),
        ([WAITS], [ALONE], 3, None),
        ([], [WAITS], 3, None),
    ],
)
def test_one_that_is_busy_has_beside_it_those_that_wait(
    waiting: list[Stage], running: list[Stage], at_once: int, expected: Stage | None
) -> None:
    """Two that keep every processor busy would only slow each other down."""
    assert lanes.next_of(waiting, running, at_once) is expected


class Runs:
    """What stands for running a stage: each goes on until another one has begun."""

    def __init__(self, **until: str) -> None:
        self._until = until
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self.begun: list[str] = []
        #: Which ran at the same time, at each beginning.
        self.seen: list[set[str]] = []

    def __call__(self, stage: Stage, way: Way) -> Result:
        with self._lock:
            self.begun.append(stage.name)
            self._running.add(stage.name)
            self.seen.append(set(self._running))
        other = self._until.get(stage.name, stage.name)
        wait_until(lambda: other in self.begun)
        with self._lock:
            self._running.discard(stage.name)
        return Result(stage.name, "passed", passed=1)


def test_stages_run_side_by_side_and_what_needs_quiet_last() -> None:
    """One that is busy after the other, both with the same two that wait beside them."""
    runs = Runs(busy="waits_too", waits="busy_too", waits_too="busy_too")
    told: list[str] = []
    listed = [ALONE, BUSY, BUSY_TOO, WAITS, WAITS_TOO]
    done = lanes.Lanes(
        listed, Way(), 3, ended=lambda result: told.append(result.stage), run=runs
    ).go()

    assert {one.stage for one in done if one.good} == {one.name for one in listed}
    assert told == [one.stage for one in done]
    assert {"busy", "waits", "waits_too"} in runs.seen
    assert {"busy_too", "waits", "waits_too"} in runs.seen
    assert runs.seen[-1] == {"alone"}


def test_one_after_another_is_in_their_order() -> None:
    """Where each is for itself nothing else decides."""
    order: list[str] = []

    def run(stage: Stage, way: Way) -> Result:
        order.append(stage.name)
        return Result(stage.name, "passed")

    lanes.Lanes([WAITS, BUSY, WAITS_TOO, ALONE], Way(), 1, run=run).go()

    assert order == ["waits", "busy", "waits_too", "alone"]


def test_what_goes_wrong_with_one_is_its_failure_and_the_others_go_on() -> None:
    """Nothing that happens to one stage makes it a good one."""

    def run(stage: Stage, way: Way) -> Result:
        if stage is WAITS:
            raise OSError("no room on the disk")
        return Result(stage.name, "passed", passed=3)

    done = {one.stage: one for one in lanes.Lanes([WAITS, BUSY], Way(), 2, run=run).go()}

    assert done["busy"].good
    assert not done["waits"].good
    assert "no room" in done["waits"].outcome
    assert stages.conclude(list(done.values())) == 1


def test_an_interrupt_ends_all_that_run() -> None:
    """Nothing of them goes on once it is told, and what has not begun does not begin."""
    begun: list[str] = []

    def run(stage: Stage, way: Way) -> Result:
        begun.append(stage.name)
        assert way.over.wait(60)
        raise one_stage.Stopped

    class Interrupting(lanes.Lanes):
        def _begin(self, stage: Stage) -> None:
            super()._begin(stage)
            if stage is BUSY:
                raise KeyboardInterrupt

    made = Interrupting([WAITS, BUSY, WAITS_TOO], Way(), 2, run=run)
    with pytest.raises(KeyboardInterrupt):
        made.go()

    assert set(begun) == {"waits", "busy"}
    assert not any(thread.is_alive() for thread in made._threads)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(one_stage, "REPORTS", tmp_path)
    return tmp_path


def test_what_each_says_comes_whole_and_says_meanwhile_how_far_it_is(
    reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a line of one stands among those of another."""
    # (Not by capfd: what is said while that is read and emptied is lost.)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", said)
    monkeypatch.setattr(lanes, "SAID_EVERY", 0.01)
    both, go_on = threading.Barrier(2, timeout=60), threading.Event()

    def run(stage: Stage, way: Way) -> Result:
        with one_stage.log_of(stage.name).open("w") as log:
            for number in (10, 50):
                log.write(f"{stage.name} {number} ...... [ {number}%]\n")
                log.flush()
                both.wait()
        assert go_on.wait(60)
        return Result(stage.name, "passed", passed=1)

    lanes_of_both = lanes.Lanes([BUSY, WAITS], Way(apart=True), 2, run=run)
    ending = threading.Thread(target=lanes_of_both.go)
    ending.start()
    wait_until(lambda: "busy 50 %, waits 50 %" in said.getvalue())
    go_on.set()
    ending.join(60)
    text = said.getvalue()

    for name in ("busy", "waits"):
        whole = f"=== {name}: passed, 0 s\n{name} 10 ...... [ 10%]\n{name} 50 ...... [ 50%]\n"
        assert whole in text
    assert "waits begins beside busy (at most 9 s)" in text
