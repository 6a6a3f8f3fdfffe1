"""One stage of the tests: what it selects and needs, how it is run, and how it ended."""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".cache" / "tests"

#: Seconds that pytest has, once told to stop, to end what its tests started.
GRACE = 30

NO_TESTS = 5  # pytest's exit status where nothing was selected

#: Tests that failed and are run once more by themselves, at most; and the seconds they have.
AGAIN, AGAIN_LIMIT = 4, 400

#: What a failure says that counts at once: a promise was seen broken, and once is enough.
BROKEN = re.compile(r"violation|tests\.simulation|accepted", re.IGNORECASE)

#: What a failure says that may be the machine's: something was not there in time. (Anything else,
#: as an answer that was wrong, counts at once.)
LATE = re.compile(r"not (come true|answer|done) within|[Tt]imed out|TimeoutExpired|TimeoutError")

#: Debian keeps servers where an ordinary user's PATH does not look.
PATH = ":".join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/sbin:/sbin",
        *sorted(glob.glob("/usr/lib/postgresql/*/bin")),
    ]
)

#: How far pytest says that it is.
SO_FAR = re.compile(rb"\[ *(\d+)%\]")

#: One stage at a time asks the system for packages.
_installing = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """A part of the tests, chosen by its marks.

    *limit* and *full_limit* are in seconds: by default, and with all the rounds.
    """

    name: str
    marks: str
    limit: int
    full_limit: int
    needs: dict[tuple[str, ...], str] = field(default_factory=dict)
    #: Its tests share no server, so that they may run side by side.
    parallel: bool = False
    #: Where other stages run beside it its tests do not: they wait for nothing, and to hand out
    #: thousands of them costs more than half of what they do themselves.
    one_process: bool = False
    #: Why it has the machine for itself, once all others are done; else nothing.
    alone: str = ""

    @property
    def chosen(self) -> list[str]:
        """The marks of which each of its tests carries one; none where it is for all others."""
        first, _, _ = self.marks.partition("not ")
        return re.findall(r"\b(?!and\b|or\b)\w+", first)

    def missing(self) -> list[str]:
        """The packages to install: those of which no program is there."""
        return [
            package
            for names, package in self.needs.items()
            if not any(shutil.which(name, path=PATH) for name in names)
        ]


@dataclass
class Result:
    """How a stage ended: ``passed``, ``left out …`` or ``failed …``."""

    stage: str
    outcome: str
    seconds: float = 0.0
    #: Seconds of processor time of all that it started and waited for.
    used: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    #: Tests that failed because something was late: they may be run once more.
    late: list[str] = field(default_factory=list)
    #: Tests that failed among the others and passed by themselves.
    again: list[str] = field(default_factory=list)
    #: What its long tests counted.
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.outcome.startswith("failed")

    @property
    def ran(self) -> bool:
        return not self.outcome.startswith("left out")


class Stopped(Exception):
    """The whole run is to end."""


@dataclass
class Way:
    """How the stages of this run are run."""

    soak: bool = False
    #: For pytest.
    more: Sequence[str] = ()
    #: What a stage says goes into a file of its own, for others run beside it.
    apart: bool = False
    #: Set when everything is to end.
    over: threading.Event = field(default_factory=threading.Event)

    def environment(self, stage: Stage | None = None) -> dict[str, str]:
        env = {**os.environ, "PATH": PATH, "CLUSTERTOKEN_TEST_SERVERS": "required"}
        # (A thousand processes are started: without it each of them compiles all our modules, which
        # is half of what its start costs.)
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        if self.soak:
            env["CLUSTERTOKEN_TEST_FULL"] = "1"
        if stage is not None:
            # It need not import what holds none of its tests.
            env["CLUSTERTOKEN_TEST_MARKS"] = " ".join(stage.chosen)
        return env

    def limit(self, stage: Stage) -> int:
        return stage.full_limit if self.soak else stage.limit


@dataclass
class Ended:
    """A command's exit status, ``None`` if it was not done in time, and what it cost."""

    status: int | None
    used: float


def log_of(name: str) -> Path:
    return REPORTS / f"{name}.log"


def so_far(name: str) -> str:
    """How far a stage is that writes into its file."""
    with suppress(OSError), log_of(name).open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 20_000))
        found = SO_FAR.findall(log.read())
        if found:
            return f"{name} {int(found[-1])} %"
    return f"{name} begins"


def pytest_command(stage: Stage, way: Way, *more: str) -> list[str]:
    spread = stage.parallel and not (stage.one_process and way.apart)
    processes = ["--numprocesses=auto"] if spread else []
    # (What one stage remembers of its failures is not another one's, which runs beside it.)
    apart = ["-o", f"cache_dir={REPORTS / 'caches' / stage.name}"]
    return [sys.executable, "-m", "pytest", "-m", stage.marks, *processes, *apart, *more]


class Command:
    """A command in a process group of its own, so that whatever it left behind ends with it."""

    def __init__(
        self, command: Sequence[str], way: Way, output: IO[bytes] | None, stage: Stage | None
    ) -> None:
        self._over = way.over
        self._usage = 0.0
        self._status: int | None = None
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=way.environment(stage),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
        )

    def _has_ended(self) -> bool:
        # (Not by ``Popen.wait``: that keeps what it cost to itself.)
        if self._status is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._status = self._process.returncode = os.waitstatus_to_exitcode(status)
                self._usage = usage.ru_utime + usage.ru_stime
        return self._status is not None

    def _wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._has_ended():
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)
        return True

    def run(self, limit: float) -> Ended:
        """Wait for its end, *limit* seconds at most. Raises :class:`Stopped` when all is over."""
        end = time.monotonic() + limit
        try:
            while not self._has_ended() and time.monotonic() < end:
                if self._over.wait(0.1):
                    raise Stopped
            in_time = self._has_ended()
        finally:
            self._end()
        return Ended(self._status if in_time else None, self._usage)

    def _end(self) -> None:
        if not self._has_ended():
            # First only pytest itself: it says what it had, and its fixtures end their servers.
            self._process.send_signal(signal.SIGINT)
            self._wait(GRACE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._wait(GRACE)


def run_command(
    command: Sequence[str],
    limit: float,
    way: Way,
    output: IO[bytes] | None = None,
    stage: Stage | None = None,
) -> Ended:
    return Command(command, way, output, stage).run(limit)


def is_empty(stage: Stage, way: Way) -> bool:
    """Whether nothing carries the marks. Asked before packages are installed: they are big."""
    command = pytest_command(stage, way, "--collect-only", "-qq", *way.more)
    with open(os.devnull, "wb") as nowhere:
        return run_command(command, 300, way, nowhere, stage).status == NO_TESTS


def run(stage: Stage, way: Way) -> Result:
    """Run it and say how it ended; what it says itself goes where *way* wants it."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    if not way.apart:
        print(f"\n=== {stage.name} (at most {way.limit(stage)} s)", flush=True)
        return _run(stage, way, None)
    with log_of(stage.name).open("wb", buffering=0) as output:
        return _run(stage, way, output)


def _run(stage: Stage, way: Way, output: IO[bytes] | None) -> Result:
    limit = way.limit(stage)
    result = Result(stage.name, "passed")
    missing = stage.missing()
    if missing:
        if is_empty(stage, way):
            return _left_out(result)
        with _installing:
            script = ["sh", "scripts/install-packages", *missing]
            if run_command(script, limit, way, output).status != 0:
                result.outcome = f"failed (not installed: {', '.join(missing)})"
                result.failed = 1
                return result

    report = REPORTS / f"{stage.name}.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    # (A test of an hour is no hanging one, and the dump of one may crash its interpreter.)
    patient = ["-o", "faulthandler_timeout=0"] if way.soak else []
    command = pytest_command(stage, way, f"--junitxml={report}", *patient, *way.more)
    ended = run_command(command, limit, way, output, stage)
    result.seconds = time.monotonic() - started
    result.used = ended.used
    if ended.status == NO_TESTS:
        return _left_out(result)
    if ended.status is None:
        result.outcome = f"failed (not done after {limit} s)"
    elif ended.status != 0:
        result.outcome = f"failed (pytest's exit status is {ended.status})"
    if report.exists():
        count(report, result)
        if ended.status == 1 and not way.soak and stage.name != "quick":
            result.late = worth_another_try(report)
    if not result.good:
        result.failed = max(result.failed, 1)
    return result


def _left_out(result: Result) -> Result:
    result.outcome = "left out (no tests of this kind)"
    return result


def worth_another_try(report: Path) -> list[str]:
    """The few tests that failed, if all of them were late and nothing worse."""
    failed = failures(report)
    if len(failed) > AGAIN or not all(map(only_late, failed.values())):
        return []
    return list(failed)


def run_again(stage: Stage, result: Result, way: Way) -> None:
    """Run the few tests that were late once more, by themselves, as CPython's own runner does.

    Real servers and processes share a machine here, and one that stalls for seconds says nothing
    of the code. Said is which these were. Only what was late is run again: an answer that was
    wrong, or a promise that was seen broken, counts at once. Nothing else runs meanwhile.
    """
    print(f"\n=== {stage.name}: once more, by themselves: {', '.join(result.late)}", flush=True)
    command = pytest_command(stage, way, *way.more, *result.late)
    if run_command(command, AGAIN_LIMIT, way, None, stage).status == 0:
        result.again = list(result.late)
        result.outcome = f"passed ({len(result.late)} at the second try)"
        result.passed += result.failed
        result.failed = 0


def only_late(text: str) -> bool:
    """Whether a failure says that something was late, and nothing worse."""
    return bool(LATE.search(text)) and not BROKEN.search(text)


def failures(report: Path) -> dict[str, str]:
    """The tests of *report* that failed, as pytest names them, and what was said of each."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        parts = [part for part in case if part.tag in ("failure", "error")]
        texts = [part.get("message", "") for part in parts]
        # (Not the test's source, which stands there too.)
        texts += re.findall(r"^E .*", "\n".join("".join(one.itertext()) for one in parts), re.M)
        if parts:
            file, name = case.get("file", ""), case.get("name", "")
            module = file.removesuffix(".py").replace("/", ".")
            inner = case.get("classname", "").removeprefix(module).strip(".")
            found["::".join(filter(None, [file, *inner.split("."), name]))] = "\n".join(texts)
    return found


def count(report: Path, result: Result) -> None:
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        return
    result.failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    result.skipped = int(suite.get("skipped", 0))
    result.passed = int(suite.get("tests", 0)) - result.failed - result.skipped
    result.told = [
        (one.get("name", ""), one.get("value", "")) for one in suite.iterfind(".//property")
    ]
