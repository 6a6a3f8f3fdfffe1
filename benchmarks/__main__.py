"""Measures what a token costs, beside nothing and beside what else one could take.

    python -m benchmarks                     everything; some half an hour
    python -m benchmarks --quick             everything, roughly; some four minutes
    python -m benchmarks --only inprocess    one part (may be given several times)
    python -m benchmarks --out FOLDER        where the results go (default: docs/performance)

The parts:

    inprocess   a request in process: no token, Flask's session cookie, Flask-Login,
                Flask-JWT-Extended, Flask-Session, a ZooKeeper read, and ours
    gunicorn    the same behind gunicorn (2 sync workers), under load from wrk
    operations  ours: seen token, first sight, renewal, login, logout, API token
    trips       ours: each call on the Redis store, beside bare round trips
    redisrealm  ours: a realm on Redis, to a million: memory, time, how soon a revocation is seen
    commits     ours: login, log-out, proof of freshness and so on in PostgreSQL, beside bare
                statements of psycopg; and from a log-out to the refusal in other processes
    rows        ours: up to 100,000 tokens and revocations in PostgreSQL: time, bytes, dead rows
                (--million: up to a million)
    quorum      ours: login, log-out, API token in ZooKeeper, beside one bare quorum write
    start       from 1 to 200 nodes that start at once on an empty ZooKeeper realm: their writes
    spread      from a revocation to the first refusal in every other process
    scale       the model of what a cluster of any size costs, checked against counts
    locks       a token's check beside none, and beside a hundred thousand locks of others
    gateway     ours: what it costs nginx to ask, beside a bare WSGI app and oauth2-proxy
    growth      from a thousand to a million tokens and revocations: time, memory, start, pauses

Servers (Redis, PostgreSQL, a ZooKeeper ensemble of three) are started on spare ports of this
machine and ended with the run. Needs the extra "bench", redis-server, postgresql, wrk, Java and
Maven; "make bench" installs the Python packages. A part whose programs are missing is left out,
and the results say so.

Each part writes PART.json and its plots (SVG); README.md in the same folder is the table of
all parts that are there, with machine and versions. Absolute times depend on the machine and
its neighbours: compare ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from .apps import close_all
from .machine import describe
from .report import write
from .run import Part, Result, Run
from .servers import CannotRun, Servers

PARTS = (
    "inprocess",
    "gunicorn",
    "operations",
    "trips",
    "redisrealm",
    "commits",
    "rows",
    "quorum",
    "start",
    "spread",
    "scale",
    "locks",
    "gateway",
    "growth",
)
OUT = Path(__file__).resolve().parent.parent / "docs" / "performance"


def part(name: str) -> Part:
    return cast(Part, import_module(f"{__package__}.{name}"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--million", action="store_true", help="rows: up to a million")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help="a part")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where results go")
    options = parser.parse_args(arguments)

    chosen = options.only or list(PARTS)
    # Warnings of an ensemble without access control, of a view that is rebuilt on purpose.
    logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    machine = {**describe(), "how": "quick" if options.quick else "full"}
    missing: list[str] = []
    started = time.monotonic()

    def keep(name: str, result: Result) -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        whole = {**result, "machine": machine, "seconds": round(time.monotonic() - started)}
        text = json.dumps(whole, indent=1, ensure_ascii=False)
        (options.out / f"{name}.json").write_text(text + "\n")
        write(options.out, {one: part(one) for one in PARTS})

    with Servers() as servers:
        run = Run(servers, quick=options.quick, million=options.million, keep=keep)
        for name in PARTS:
            if name not in chosen:
                continue
            run.begin(name)
            started = time.monotonic()
            try:
                result: Result = part(name).measure(run)
            except CannotRun as reason:
                run.say(f"left out: {reason}")
                missing.append(name)
                continue
            finally:
                close_all()
            run.keep(name, result)
            run.say(f"done, in {time.monotonic() - started:.0f} s")
    print(f"\nThe results are in {options.out}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
