"""Behind gunicorn: requests per second of two sync workers under load from wrk.

Every application has its server; one is under load at a time, with the bare app measured
directly before and after. Workers, wrk and the stores share the processors of this machine.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median

from tests.servers.ports import spare_ports

from .apps import PEERS, Ask, check
from .measure import wait_until
from .run import Result, Run, markdown_table
from .servers import CannotRun
from .svg import bars

TITLE = "Behind gunicorn, under load"

WORKERS = 2
CONNECTIONS = 16
#: How often all servers are started anew. Two servers of one and the same app differ by one or two
#: hundredths for as long as they live, by what memory they happened to get (measured).
STARTS = 4
#: How far the shares of the control may lie apart, so that those of the others mean anything.
TRUSTED = 0.05
#: Those whose shares lie so close together that they are measured in each round, ...
NEAR = {"bare-again", "bare-cookie", "floor"} | {name for name in PEERS if PEERS[name].ours}
#: ... and the others in one of so many.
FAR = 4
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What one load measured."""

    requests: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


class Server:
    """Gunicorn with one application, and what its client sends."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process
        self.headers: dict[str, str] = {}

    def ask(
        self, method: str, path: str, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("gunicorn ended at once")
        with suppress(OSError, HTTPException):
            self.ask("GET", "/none", {})
            return True
        return False

    def workers(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(one) for one in found.split()]

    def cpu(self) -> float:
        """Seconds of processor time that the workers have used."""
        total = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def load(self, seconds: float) -> Load:
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency"]
        for name, value in self.headers.items():
            command += ["-H", f"{name}: {value}"]
        before = self.cpu()
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self.port}/me"],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
        said = done.stdout
        if "Non-2xx" in said:
            raise RuntimeError(f"not every answer was a 200:\n{said}")
        total = int(_found(r"(\d+) requests in", said))
        return Load(
            requests=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
            p50_ms=_milliseconds(_found(r"\n +50%\s+(\S+)", said)),
            p99_ms=_milliseconds(_found(r"\n +99%\s+(\S+)", said)),
            cpu_us=(self.cpu() - before) / total * 1e6,
        )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something else:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@contextmanager
def gunicorn(name: str) -> Iterator[Server]:
    """The application *name* under gunicorn."""
    (port,) = spare_ports(1)
    command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--log-level", "error"]
    command += ["--bind", f"127.0.0.1:{port}", f"benchmarks.apps:serve({name!r})"]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A group of its own, so that no worker is left behind.
        start_new_session=True,
    )
    server = Server(port, process)
    try:
        wait_until(server.answers, 40, f"{name}'s first answer")
        wait_until(lambda: len(server.workers()) == WORKERS, 20, "the start of all workers")
        ask: Ask = server.ask
        server.headers = check(ask) or PEERS[name].sends
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(run: Run) -> Result:
    if shutil.which("wrk") is None:
        raise CannotRun("wrk is not installed (Debian: apt-get install wrk)")
    run.say("starting Redis and ZooKeeper")
    run.publish_servers()
    starts, rounds = run.rounds(STARTS, 1), run.rounds(8, 1)
    # As short as wrk can: what disturbs then disturbs the bare app beside it too.
    seconds = 1.0
    bares: list[Load] = []
    #: By name: for each start, what was measured, and the share of bare's requests/s.
    taken: dict[str, list[list[tuple[Load, float]]]] = {}
    for start in range(starts):
        for found in taken.values():
            found.append([])
        with ExitStack() as stack:
            servers = {}
            for name in PEERS:
                run.say(f"start {start + 1} of {starts}: {name}")
                servers[name] = stack.enter_context(gunicorn(name))
            bare = servers.pop("bare")
            for server in (bare, *servers.values()):
                server.load(1.0)  # warm
            bares.append(bare.load(seconds))
            names = list(servers)
            for count in range(rounds):
                run.say(f"start {start + 1} of {starts}, round {count + 1} of {rounds}")
                random.shuffle(names)
                for name in names:
                    if count % FAR and name not in NEAR:
                        continue
                    load = servers[name].load(seconds)
                    bares.append(bare.load(seconds))
                    share = load.requests / ((bares[-2].requests + bares[-1].requests) / 2)
                    taken.setdefault(name, [[]])[-1].append((load, share))
    time.sleep(0.5)
    return {
        "starts": starts,
        "rounds": rounds,
        "seconds_a_load": seconds,
        "bare": _row([[(one, 1.0) for one in bares]]),
        "others": dict(
            sorted(
                ((name, _row(found)) for name, found in taken.items()),
                key=lambda item: -item[1]["ratio"],
            )
        ),
    }


def _row(by_start: list[list[tuple[Load, float]]]) -> dict[str, float]:
    loads = [load for found in by_start for load, _ in found]
    shares = [share for found in by_start for _, share in found]
    medians = [median(share for _, share in found) for found in by_start]
    return {
        "ratio": round(median(shares), 3),
        "ratio_low": round(min(medians), 3),
        "ratio_high": round(max(medians), 3),
        "requests": round(median(one.requests for one in loads)),
        "p50_ms": round(median(one.p50_ms for one in loads), 2),
        "p99_ms": round(median(one.p99_ms for one in loads), 2),
        "cpu_us": round(median(one.cpu_us for one in loads)),
    }


def table(result: Result) -> str:
    bare = result["bare"]
    again = result["others"]["bare-again"]
    control, same_client = again["ratio"], result["others"]["bare-cookie"]["ratio"]
    rows = [
        [
            PEERS[name].title,
            f"{one['ratio']:.2f} [{one['ratio_low']:.2f} – {one['ratio_high']:.2f}]",
            f"{one['ratio'] / control:.2f}",
            f"{one['ratio'] / same_client:.2f}",
            f"{one['requests']:,}",
            f"{one['p50_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
            f"{one['cpu_us']:,}",
        ]
        for name, one in sorted(result["others"].items(), key=lambda item: item[1]["cpu_us"])
    ]
    head = [
        "application",
        "share of bare’s requests/s [by start]",
        "of the control",
        "of bare with such a client",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "worker CPU µs/request",
    ]
    return (
        f"gunicorn with {WORKERS} sync workers; wrk with {CONNECTIONS} connections, "
        f"{result['seconds_a_load']:g} s a load, {result['rounds']} rounds after each of "
        f"{result['starts']} starts (what is far from bare: in one round of {FAR}). Bare: "
        f"{bare['requests']:,} requests/s, {bare['cpu_us']} µs of worker CPU a request. Shares are "
        "medians of all, and from the lowest to the highest of a start: the control (bare once "
        f"more) reads {control:.2f}, from {again['ratio_low']:.2f} to {again['ratio_high']:.2f}, "
        "and what differs by less than that cannot be told apart. Sorted by the workers’ processor "
        "time, which neighbours disturb least.\n\n" + _verdict(again) + markdown_table(head, rows)
    )


def _verdict(again: dict[str, float]) -> str:
    """A warning where the bare app did not even agree with itself."""
    if again["ratio_high"] - again["ratio_low"] <= TRUSTED:
        return ""
    return (
        "**The machine was too busy for this part:** the bare app differs from itself by more "
        f"than {TRUSTED:g}. Its requests/s and shares decide nothing; measure again on a quiet "
        "machine.\n\n"
    )


def plots(result: Result) -> dict[str, str]:
    rows = [
        (PEERS[name].title, one["cpu_us"], name.startswith("ours"))
        for name, one in sorted(result["others"].items(), key=lambda item: item[1]["cpu_us"])
    ]
    return {"gunicorn": bars("Processor time of the workers for a request", rows, "µs")}
