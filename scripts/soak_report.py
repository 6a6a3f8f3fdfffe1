"""The report of a full run: what its long tests counted, with date, seed and versions.

Each stage stands with the commit that it was run at, so that one that was run anew replaces
itself and leaves the others as they were. The facts are kept beside the table, as JSON.
"""

from __future__ import annotations

import json
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

PACKAGES = ("Flask", "Werkzeug", "gunicorn", "gevent", "kazoo", "Authlib")


class Stage(Protocol):
    """How one stage ended."""

    stage: str
    outcome: str
    seconds: float
    passed: int
    failed: int
    told: list[tuple[str, str]]


def write(file: Path, stages: Sequence[Stage], seed: int, only: Sequence[str] = ()) -> None:
    """Write the report of *stages* into *file*, as Markdown, and their facts beside it.

    Where *only* a part of their tests was run, it stands beside the whole, and replaces nothing.
    """
    facts = file.with_suffix(".json")
    known: dict[str, Any] = json.loads(facts.read_text()) if facts.exists() else {}
    for one in stages:
        known[" ".join([one.stage, *only])] = {
            "outcome": one.outcome,
            "tests": one.passed + one.failed,
            "minutes": round(one.seconds / 60, 1),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "commit": _commit(),
            "seed": seed,
            "versions": _versions(),
            "told": sorted(one.told),
        }
    facts.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    file.write_text(_table(known))


def _table(known: dict[str, Any]) -> str:
    lines = [
        "| stage | outcome | tests | minutes | date | commit | seed |",
        "|---|---|---:|---:|---|---|---:|",
        *(
            f"| {name} | {one['outcome']} | {one['tests']} | {one['minutes']} | {one['date']} "
            f"| {one['commit']} | {one['seed']} |"
            for name, one in known.items()
        ),
        "",
        "Versions: " + "; ".join(dict.fromkeys(one["versions"] for one in known.values())) + ".",
        "",
        "| what | counted |",
        "|---|---|",
        *(f"| {what} | {counted} |" for one in known.values() for what, counted in one["told"]),
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
