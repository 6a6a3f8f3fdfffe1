"""The stages of the tests: what each selects, what it needs, how long it may take.

Started by ``scripts/run-tests``, which makes the environment first.
"""

from __future__ import annotations

import argparse
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import soak_report

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

#: What is looked for (of several names one is enough), and the package that brings it.
JAVA = {("java",): "default-jre-headless", ("mvn",): "maven"}
NGINX = {("nginx",): "nginx"}
REDIS = {("redis-server",): "redis-server", ("redis-sentinel",): "redis-sentinel"}
POSTGRESQL = {("initdb",): "postgresql", ("pgbouncer",): "pgbouncer"}
BROWSER = {
    ("chromium", "chromium-browser"): "chromium",
    ("chromedriver", "chromium.chromedriver"): "chromium-driver",
}
#: (It fetches what the browser is given to run, htmx and Turbo, and an OpenID provider for node,
#: which comes with it.)
NPM = {("npm",): "npm"}


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

    def missing(self) -> list[str]:
        """The packages to install: those of which no program is there."""
        return [
            package
            for names, package in self.needs.items()
            if not any(shutil.which(name, path=PATH) for name in names)
        ]


#: Limits, not what they take: what a machine needs that is two and a half times slower. (What is
#: expected of all of them together has its limit in .ci/run.)
STAGES = (
    Stage(
        "quick",
        "not (processes or gunicorn or browser or zookeeper or redis or postgresql or keycloak)",
        600,
        900,
        parallel=True,
    ),
    Stage(
        "processes",
        "(processes or gunicorn) and not (browser or zookeeper or redis or postgresql or keycloak)",
        1200,
        3600,
        {**NGINX, **NPM},
        parallel=True,
    ),
    Stage("browser", "browser and not (zookeeper or keycloak)", 420, 600, {**BROWSER, **NPM}),
    Stage("redis", "redis and not keycloak", 900, 1800, {**REDIS, **NGINX}),
    Stage(
        "postgresql",
        "postgresql and not keycloak",
        900,
        1800,
        {**POSTGRESQL, **NGINX},
        parallel=True,
    ),
    Stage("cluster", "zookeeper and not keycloak", 1200, 3600, {**JAVA, **NGINX}),
    Stage("keycloak", "keycloak", 900, 3600, {**JAVA, **NGINX, **BROWSER}),
)


@dataclass
class Result:
    """How a stage ended: ``passed``, ``left out …`` or ``failed …``."""

    stage: str
    outcome: str
    seconds: float = 0.0
    #: How busy the machine's processors were with it, of all that they could be.
    busy: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    #: Tests that failed among the others and passed by themselves.
    again: list[str] = field(default_factory=list)
    #: What its long tests counted.
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.outcome.startswith("failed")


def pytest_command(stage: Stage, *more: str) -> list[str]:
    spread = ["--numprocesses=auto"] if stage.parallel else []
    return [sys.executable, "-m", "pytest", "-m", stage.marks, *spread, *more]


def environment(soak: bool) -> dict[str, str]:
    env = {**os.environ, "PATH": PATH, "CLUSTERTOKEN_TEST_SERVERS": "required"}
    if soak:
        env["CLUSTERTOKEN_TEST_FULL"] = "1"
    return env


def is_empty(stage: Stage, soak: bool, more: Sequence[str]) -> bool:
    """Whether nothing carries the marks. Asked before packages are installed: they are big."""
    command = pytest_command(stage, "--collect-only", "-qq", *more)
    collected = subprocess.run(
        command, cwd=ROOT, env=environment(soak), stdin=subprocess.DEVNULL, capture_output=True
    )
    return collected.returncode == NO_TESTS


def run_pytest(command: list[str], limit: int, soak: bool) -> int | None:
    """Pytest's exit status; ``None`` if it took longer than *limit* seconds.

    It runs in a process group of its own, so that whatever its tests left behind ends with it.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(soak), stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            # First only pytest itself: it says what it had, and its fixtures end their servers.
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(stage: Stage, soak: bool, more: Sequence[str]) -> Result:
    limit = stage.full_limit if soak else stage.limit
    print(f"\n=== {stage.name} (at most {limit} s)", flush=True)
    result = Result(stage.name, "passed")
    if stage.name != "quick" and is_empty(stage, soak, more):
        result.outcome = "left out (no tests of this kind)"
        print(result.outcome, flush=True)
        return result
    missing = stage.missing()
    if missing:
        script = ["sh", "scripts/install-packages", *missing]
        if subprocess.run(script, cwd=ROOT, stdin=subprocess.DEVNULL).returncode != 0:
            result.outcome = f"failed (not installed: {', '.join(missing)})"
            return result

    report = REPORTS / f"{stage.name}.xml"
    report.unlink(missing_ok=True)
    started, used = time.monotonic(), used_by_children()
    status = run_pytest(pytest_command(stage, f"--junitxml={report}", *more), limit, soak)
    result.seconds = time.monotonic() - started
    result.busy = (used_by_children() - used) / (result.seconds * (os.cpu_count() or 1))
    if status is None:
        result.outcome = f"failed (not done after {limit} s)"
    elif status != 0:
        result.outcome = f"failed (pytest's exit status is {status})"
    if report.exists():
        count(report, result)
        if status == 1 and not soak and stage.name != "quick":
            run_again(stage, report, result, more)
    if not result.good:
        result.failed = max(result.failed, 1)
    return result


def run_again(stage: Stage, report: Path, result: Result, more: Sequence[str]) -> None:
    """Run the few tests that failed once more, by themselves, as CPython's own runner does.

    Real servers and processes share a machine here, and one that stalls for seconds says nothing
    of the code. Said is which these were. Only what was late is run again: an answer that was
    wrong, or a promise that was seen broken, counts at once.
    """
    failed = failures(report)
    if not failed or len(failed) > AGAIN or not all(map(only_late, failed.values())):
        return
    print(f"\n=== {stage.name}: once more, by themselves: {', '.join(failed)}", flush=True)
    command = pytest_command(stage, *more, *failed)
    if run_pytest(command, AGAIN_LIMIT, soak=False) == 0:
        result.again = list(failed)
        result.outcome = f"passed ({len(failed)} at the second try)"
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


def used_by_children() -> float:
    """Seconds of processor time of everything that ended below this process so far."""
    used = os.times()
    return used.children_user + used.children_system


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


def show(stages: Sequence[Stage]) -> None:
    for stage in stages:
        needs = ", ".join(stage.needs.values()) or "nothing but Python"
        print(f"{stage.name:<10} at most {stage.limit} s; needs {needs}")


def conclude(results: Sequence[Result]) -> int:
    print("\n=== The stages")
    for result in results:
        numbers = f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped"
        spent = f"{result.seconds:5.0f} s, processors busy {result.busy:4.0%}"
        print(f"{result.stage:<10} {result.outcome:<34} {spent}   {numbers}")
    for result in results:
        for name in result.again:
            print(f"failed among the others, passed by itself: {name}")
    print()
    print(
        f"{sum(result.passed for result in results)} passed, "
        f"{sum(result.failed for result in results)} failed, "
        f"{sum(result.skipped for result in results)} skipped"
    )
    return 0 if all(result.good for result in results) else 1


def main(arguments: Sequence[str]) -> int:
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(prog="scripts/run-tests", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="only the stage without servers")
    parser.add_argument("--stage", action="append", choices=names, help="only this stage")
    parser.add_argument("--soak", action="store_true", help="the full run, with all the rounds")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was counted")
    parser.add_argument("--list", action="store_true", help="show the stages")
    parser.add_argument("pytest", nargs="*", metavar="-- …", help="what follows is for pytest")
    options = parser.parse_args(arguments)
    chosen = [*(options.stage or []), *(["quick"] if options.quick else [])] or names
    stages = [stage for stage in STAGES if stage.name in chosen]
    if options.list:
        show(stages)
        return 0

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    REPORTS.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(2**32)
    more = [f"--randomly-seed={seed}", *options.pytest]
    results: list[Result] = []
    try:
        for stage in stages:
            results.append(run(stage, options.soak, more))
            if options.report is not None:
                soak_report.write(options.report, results, seed, only=options.pytest)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return conclude(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
