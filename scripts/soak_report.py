"""The report of a full run: what its long tests counted, with date, seed and versions.

Each stage stands with the commit that it was run at, so that one that was run anew replaces
itself and leaves the others as they were; one that failed replaces nothing that passed. The
facts are kept beside the table, as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ("Flask", "Werkzeug", "gunicorn", "gevent", "kazoo", "redis", "psycopg", "Authlib")

#: By stage: the variable that names another server than the one that is there.
OTHERS = {"redis": "CLUSTERTOKEN_TEST_REDIS", "postgresql": "CLUSTERTOKEN_TEST_POSTGRESQL"}


class Stage(Protocol):
    """How one stage ended."""

    stage: str
    outcome: str
    seconds: float
    passed: int
    failed: int
    told: list[tuple[str, str]]


def write(
    file: Path, stages: Sequence[Stage], seed: int, commit: str, only: Sequence[str] = ()
) -> None:
    """Write the report of *stages* into *file*, as Markdown, and their facts beside it.

    Where *only* a part of their tests was run, or against another server, it stands beside the
    whole, and replaces nothing.
    """
    facts = file.with_suffix(".json")
    known: dict[str, Any] = json.loads(facts.read_text()) if facts.exists() else {}
    for one in stages:
        server = _server(one.stage)
        other = [f"({server})"] if os.environ.get(OTHERS.get(one.stage, "")) else []
        name = " ".join([one.stage, *other, *only])
        before = known.get(name, {}).get("outcome", "")
        if before.startswith("passed") and not one.outcome.startswith("passed"):
            continue
        known[name] = {
            "outcome": one.outcome,
            "tests": one.passed + one.failed,
            "minutes": round(one.seconds / 60, 1),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "commit": commit,
            "seed": seed,
            "versions": ", ".join(filter(None, [_versions(), server])),
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
        "| stage | what | counted |",
        "|---|---|---|",
        *(
            f"| {name} | {what} | {counted} |"
            for name, one in known.items()
            for what, counted in one["told"]
        ),
    ]
    return "\n".join(lines) + "\n"


def commit(file: Path | None) -> str:
    """What is tested, for :func:`write`. (The report's own *file* is no part of it.)"""
    excluded = [f":(exclude,top){one.resolve().relative_to(ROOT)}" for one in _files(file)]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *excluded)
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _files(file: Path | None) -> list[Path]:
    """The report and its facts, where they lie among what is tested."""
    both = [] if file is None else [file, file.with_suffix(".json")]
    return [one for one in both if one.resolve().is_relative_to(ROOT)]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _server(stage: str) -> str:
    command = [sys.executable, "-m", "tests.servers.versions", stage]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    packages = ", ".join(found)
    return f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
