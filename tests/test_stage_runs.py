"""How one stage is run and ended: its commands, what it says, and what has a second try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(one_stage, "REPORTS", tmp_path)
    return tmp_path


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
