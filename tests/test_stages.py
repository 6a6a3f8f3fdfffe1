"""How the tests are run: which stage has which, what is beside what, what has a second try."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import lanes  # noqa: E402
import one_stage  # noqa: E402
import stages  # noqa: E402
from one_stage import Ended, Result, Stage, Way  # noqa: E402

SLOW = "E       AssertionError: it did not come true within 30 s"
WRONG = "E       assert (200, None) == (401, 'revoked')"
BROKEN = "E       AssertionError: 3 violations"

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
    reports: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not a line of one stands among those of another."""
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
    said: list[str] = []

    def told() -> bool:
        said.append(capfd.readouterr().out)
        return "busy 50 %, waits 50 %" in "".join(said)

    wait_until(told)
    go_on.set()
    ending.join(60)
    text = "".join(said) + capfd.readouterr().out

    for name in ("busy", "waits"):
        whole = f"=== {name}: passed, 0 s\n{name} 10 ...... [ 10%]\n{name} 50 ...... [ 50%]\n"
        assert whole in text
    assert "waits begins beside busy (at most 9 s)" in text


# -- a command and its end


def python(text: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", text, *arguments]


#: Starts a process that would go on for long, says which, and waits.
STARTS_ANOTHER = """
import pathlib, signal, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(other.pid))
time.sleep(float(sys.argv[2]))
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_command_left_behind_ends_with_it(tmp_path: Path) -> None:
    """Whether or not it ended by itself."""
    ended = one_stage.run_command(python(STARTS_ANOTHER, f"{tmp_path}/pid", "0"), 60, Way())

    assert ended.status == 0
    assert ended.used > 0
    wait_until(lambda: not is_there(int((tmp_path / "pid").read_text())))


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """It is told to end first, as Ctrl-C does."""
    ended = one_stage.run_command(python("import time; time.sleep(600)"), 0.2, Way())

    assert ended.status is None


def test_a_command_ends_when_all_is_over(tmp_path: Path) -> None:
    """And whatever it started too."""
    way = Way()
    written = tmp_path / "pid"

    def stop() -> None:
        wait_until(lambda: written.exists() and written.read_text())
        way.over.set()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(one_stage.Stopped):
        one_stage.run_command(python(STARTS_ANOTHER, str(written), "600"), 120, way)
    stopping.join()

    wait_until(lambda: not is_there(int(written.read_text())))


RUN = """
import sys
sys.path.insert(0, "scripts")
import stages, one_stage
from pathlib import Path
one_stage.REPORTS = Path(sys.argv[1])
one_stage.pytest_command = lambda stage, way, *more: [
    sys.executable, "-c",
    "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)",
    str(one_stage.REPORTS / (stage.name + ".begun")),
]
one_stage.Stage.missing = lambda stage: []
sys.exit(stages.main(["--stage", "redis", "--stage", "quick"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_whole_run(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, or the end of the time that all may take: exit status 130, nobody is left."""
    with subprocess.Popen(
        python(RUN, str(tmp_path)),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # (Who was started in the background ignores Ctrl-C.)
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        wait_until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
        process.send_signal(number)
        said, _ = process.communicate(timeout=90)

    assert process.returncode == 130
    assert said.endswith("Stopped.\n")
    assert not [pid for pid in map(int, pids()) if str(tmp_path) in command_of(pid)]


def pids() -> list[str]:
    return [one for one in os.listdir("/proc") if one.isdecimal()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


# -- one stage


def report(folder: Path, *said: str) -> Path:
    """As pytest writes it, with a failure for each text in *said*."""
    cases = "".join(
        f'<testcase classname="tests.redis.test_x.TestY" name="test_{number}[a.b]"'
        f' file="tests/redis/test_x.py"><failure message="m">def test():\n{text}</failure>'
        "</testcase>"
        for number, text in enumerate(said)
    )
    file = folder / "redis.xml"
    file.write_text(
        f'<testsuites><testsuite tests="{len(said) + 1}" failures="{len(said)}">{cases}'
        "<testcase name='good'/></testsuite></testsuites>"
    )
    return file


Say = Callable[..., list[Sequence[str]]]


@pytest.fixture
def pytest_says(reports: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Instead of running it: each time the next of these statuses, and the first time failures
    that say *said*."""

    def say(*statuses: int | None, said: Sequence[str] = ()) -> list[Sequence[str]]:
        asked: list[Sequence[str]] = []
        left = iter(statuses)

        def run(command: Sequence[str], *_: object) -> Ended:
            asked.append(command)
            if len(asked) == 1:
                report(reports, *said)
            return Ended(next(left), 1.5)

        monkeypatch.setattr(one_stage, "run_command", run)
        return asked

    monkeypatch.setattr(Stage, "missing", lambda stage: [])
    return say


REDIS = next(one for one in stages.STAGES if one.name == "redis")
QUICK = next(one for one in stages.STAGES if one.name == "quick")


@pytest.mark.parametrize(
    ("status", "outcome", "good"),
    [
        (0, "passed", True),
        (1, "failed (pytest's exit status is 1)", False),
        (2, "failed (pytest's exit status is 2)", False),
        (None, "failed (not done after 1800 s)", False),
        (5, "left out (no tests of this kind)", True),
    ],
)
def test_how_a_stage_ended(pytest_says: Say, status: int, outcome: str, good: bool) -> None:
    """Also where no report says which test it was."""
    pytest_says(status)

    result = one_stage.run(REDIS, Way())

    assert (result.outcome, result.good) == (outcome, good)
    assert result.failed == (0 if good else 1)


def test_where_nothing_was_run_nothing_is_said_to_be_well() -> None:
    """As after a slip in what was given to pytest."""
    assert stages.conclude([Result("redis", "left out (no tests of this kind)")]) == 1


def test_the_last_line_counts_all(capsys: pytest.CaptureFixture[str]) -> None:
    """In pytest's own form."""
    assert stages.conclude([Result("a", "passed", passed=3), Result("b", "passed", skipped=2)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 0 failed, 2 skipped"


# -- a second try


def all_of(
    pytest_says: Say, *statuses: int, said: Sequence[str]
) -> tuple[int, list[Sequence[str]]]:
    """The run's exit status, and what pytest was asked."""
    asked = pytest_says(*statuses, said=said)
    return stages.run([REDIS], Way(), 1, None, 0), asked


def test_a_test_that_passes_by_itself_is_named(
    pytest_says: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as passed, and the end of the run says which it was."""
    status, asked = all_of(pytest_says, 1, 0, said=[SLOW])
    said = capsys.readouterr().out

    assert status == 0
    assert asked[1][-1] == "tests/redis/test_x.py::TestY::test_0[a.b]"
    assert f"failed among the others, passed by itself: {asked[1][-1]}" in said
    assert said.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"


def test_a_test_that_fails_again_has_failed(pytest_says: Say) -> None:
    """Then nothing is said to be well."""
    status, asked = all_of(pytest_says, 1, 1, said=[SLOW])

    assert status == 1
    assert len(asked) == 2


@pytest.mark.parametrize(
    "said", [[BROKEN], [SLOW, BROKEN], [f"{SLOW}\n{BROKEN}"], [WRONG], [SLOW] * 5, []]
)
def test_nothing_is_run_again_where_it_would_hide_something(
    pytest_says: Say, said: list[str]
) -> None:
    """A promise that was seen broken once is broken; and where much failed, something is wrong."""
    status, asked = all_of(pytest_says, 1, 0, said=said)

    assert status == 1
    assert len(asked) == 1


def test_nothing_else_runs_beside_a_second_try(
    pytest_says: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when all stages are done, though its own was the first."""
    done: list[str] = []

    def run(stage: Stage, way: Way) -> Result:
        if stage is REDIS:
            late = ["tests/redis/test_x.py::test_y"]
            return Result(stage.name, "failed (…)", failed=1, late=late)
        # (The other one goes on for longer than it takes to begin something.)
        wait_until(lambda: "redis" in done)
        done.append(stage.name)
        return Result(stage.name, "passed", passed=1)

    class Told(lanes.Lanes):
        def _show(self, result: Result) -> None:
            done.append(result.stage)

        def __init__(self, *given: Any, ended: Callable[[Result], None]) -> None:
            super().__init__(*given, ended=ended, run=run)

    monkeypatch.setattr(lanes, "Lanes", Told)
    seen: list[list[str]] = []
    monkeypatch.setattr(one_stage, "run_again", lambda *_: seen.append(sorted(set(done))))

    stages.run([REDIS, QUICK], Way(apart=True), 2, None, 0)

    assert seen == [["quick", "redis"]]


def test_a_full_run_has_no_second_try(pytest_says: Say) -> None:
    """Who asks for all the rounds wants to know."""
    asked = pytest_says(1, 0, said=[SLOW])

    assert stages.run([REDIS], Way(soak=True), 1, None, 0) == 1
    assert len(asked) == 1
