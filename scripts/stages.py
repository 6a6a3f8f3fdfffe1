"""The stages of the tests: what each selects, what it needs, how long it may take.

Started by ``scripts/run-tests``, which makes the environment first.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import lanes
import one_stage
import soak_report
from one_stage import Result, Stage, Way

#: What is looked for (of several names one is enough), and the package that brings it.
JAVA = {("java",): "default-jre-headless", ("mvn",): "maven"}
NGINX = {("nginx",): "nginx"}
REDIS = {("redis-server",): "redis-server", ("redis-sentinel",): "redis-sentinel"}
PROMETHEUS = {("prometheus",): "prometheus", ("promtool",): "prometheus"}
POSTGRESQL = {
    ("initdb",): "postgresql",
    ("pgbouncer",): "pgbouncer",
    ("faketime",): "faketime",
}
BROWSER = {
    ("chromium", "chromium-browser"): "chromium",
    ("chromedriver", "chromium.chromedriver"): "chromium-driver",
}
#: (A browser binds logins over HTTPS alone, by a certificate that it trusts.)
CERTUTIL = {("certutil",): "libnss3-tools"}
#: (It fetches what the browser is given to run, htmx and Turbo, and an OpenID provider for node,
#: which comes with it.)
NPM = {("npm",): "npm"}
#: What stands before the gateway and behind it.
OTHER_SERVICES = {("caddy",): "caddy", ("node",): "nodejs", ("go",): "golang-go"}

#: Every mark that stands for servers, processes or a browser, and that of what is run by itself.
#: A test may carry several; it is run in one stage, the first of these that is its own:
#: quiet, keycloak, cluster, postgresql, redis, gateway, browser, processes; else quick.
#:
#: They begin in the order of this list, each as soon as there is room for it (see lanes.py): of
#: those that keep the processors busy one at a time, and beside it those that mostly wait, the
#: longest first. The limits are what a machine needs that is two and a half times slower, where
#: others run beside. (What is expected of all of them together has its limit in .ci/run.)
STAGES = (
    Stage(
        "quick",
        "not (processes or gunicorn or browser or gateway or redis or postgresql or zookeeper"
        " or keycloak or quiet)",
        1200,
        900,
        parallel=True,
        one_process=True,
    ),
    Stage(
        "cluster",
        "zookeeper and not (keycloak or quiet)",
        2700,
        3600,
        {**JAVA, **NGINX, **BROWSER, **CERTUTIL},
    ),
    Stage("keycloak", "keycloak and not quiet", 2700, 3600, {**JAVA, **NGINX, **BROWSER}),
    Stage(
        "processes",
        "(processes or gunicorn)"
        " and not (browser or gateway or redis or postgresql or zookeeper or keycloak or quiet)",
        2400,
        3600,
        {**NGINX, **NPM},
        parallel=True,
    ),
    # (Ten thousand rounds over gunicorn are half an hour each; in the full run of PostgreSQL's an
    # hour of dead rows as well.)
    Stage(
        "redis",
        "redis and not (postgresql or zookeeper or keycloak or quiet)",
        1800,
        7200,
        {**REDIS, **NGINX, **PROMETHEUS},
    ),
    Stage(
        "postgresql",
        "postgresql and not (zookeeper or keycloak or quiet)",
        1800,
        10_800,
        {**POSTGRESQL, **NGINX},
        parallel=True,
    ),
    Stage(
        "gateway",
        "gateway and not (redis or postgresql or zookeeper or keycloak or quiet)",
        900,
        1800,
        {**NGINX, **OTHER_SERVICES},
    ),
    Stage(
        "browser",
        "browser and not (gateway or redis or postgresql or zookeeper or keycloak or quiet)",
        900,
        600,
        {**BROWSER, **NPM, **NGINX, **CERTUTIL},
    ),
    Stage(
        "quiet",
        "quiet",
        900,
        1800,
        JAVA,
        alone="its crowds take the whole machine, and others would be late with them",
    ),
)


#: What is built upon the library: left out of the inner loop, which is the rooms up to the command
#: line. (Each has its folder: scripts/run-tests --quick -- tests/console.)
UPON = ("binding", "console", "example", "gateway", "keycloak", "metrics", "providers", "tracing")


def inner(stage: Stage) -> list[str]:
    """For pytest: of *stage* what is run behind each change, in less than a minute."""
    left_out = [f"--ignore=tests/{one}" for one in UPON]
    return ["-m", f"({stage.marks}) and not long", *left_out]


def show(stages: Sequence[Stage]) -> None:
    for stage in stages:
        needs = ", ".join(stage.needs.values()) or "nothing but Python"
        alone = f"; by itself: {stage.alone}" if stage.alone else ""
        print(f"{stage.name:<10} at most {stage.limit} s; needs {needs}{alone}")


def conclude(results: Sequence[Result], seconds: float = 0.0) -> int:
    """Say how all ended; the exit status."""
    print("\n=== The stages")
    for result in results:
        numbers = f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped"
        spent = f"{result.seconds:5.0f} s, {result.used:5.0f} s of a processor"
        print(f"{result.stage:<10} {result.outcome:<34} {spent}   {numbers}")
    if seconds:
        busy = sum(result.used for result in results) / (seconds * (os.cpu_count() or 1))
        print(f"all in {seconds:.0f} s, processors busy {busy:.0%}")
    for result in results:
        for name in result.again:
            print(f"failed among the others, passed by itself: {name}")
    if not any(result.ran for result in results):
        print("No test was run.")
        return 1
    print()
    print(
        f"{sum(result.passed for result in results)} passed, "
        f"{sum(result.failed for result in results)} failed, "
        f"{sum(result.skipped for result in results)} skipped"
    )
    return 0 if all(result.good for result in results) else 1


def run(stages: Sequence[Stage], way: Way, at_once: int, report: Path | None, seed: int) -> int:
    """Run them all, and what was late once more when nothing else runs; the exit status."""
    began = time.monotonic()
    results: list[Result] = []
    commit = soak_report.commit(report)

    def ended(result: Result) -> None:
        results.append(result)
        if report is not None:
            only = [one for one in way.more if not one.startswith("--randomly-seed=")]
            soak_report.write(report, [result], seed, commit, only=only)

    try:
        lanes.Lanes(stages, way, at_once, ended=ended).go()
        results.sort(key=lambda one: [stage.name for stage in stages].index(one.stage))
        for stage, result in zip(stages, results, strict=True):
            if result.late:
                one_stage.run_again(stage, result, way)
    except (KeyboardInterrupt, one_stage.Stopped):
        print("\nStopped.", file=sys.stderr)
        return 130
    return conclude(results, time.monotonic() - began)


def main(arguments: Sequence[str]) -> int:
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(prog="scripts/run-tests", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="only the stage without servers")
    parser.add_argument(
        "--inner", action="store_true", help="of that what a minute is enough for: the core's"
    )
    parser.add_argument("--stage", action="append", choices=names, help="only this stage")
    parser.add_argument("--soak", action="store_true", help="the full run, with all the rounds")
    parser.add_argument(
        "--one-by-one", action="store_true", help="no stage beside another; what it says is seen"
    )
    parser.add_argument(
        "--at-once", type=int, metavar="N", help=f"so many stages at most (default {lanes.AT_ONCE})"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was counted")
    parser.add_argument("--list", action="store_true", help="show the stages")
    parser.add_argument("pytest", nargs="*", metavar="-- …", help="what follows is for pytest")
    options = parser.parse_args(arguments)
    quick = ["quick"] if options.quick or options.inner else []
    chosen = [*(options.stage or []), *quick] or names
    stages = [stage for stage in STAGES if stage.name in chosen]
    if options.list:
        show(stages)
        return 0

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    # (A full run measures as well: its stages are for themselves.)
    one_by_one = options.one_by_one or options.soak or len(stages) == 1
    at_once = 1 if one_by_one else max(1, options.at_once or lanes.AT_ONCE)
    seed = random.randrange(2**32)
    only = inner(stages[0]) if options.inner else []
    way = Way(
        soak=options.soak,
        more=[f"--randomly-seed={seed}", *only, *options.pytest],
        apart=at_once > 1,
    )
    return run(stages, way, at_once, options.report, seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
