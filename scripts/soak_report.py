"""The report of a full run: what its long tests counted, with date, seed and versions."""

from __future__ import annotations

import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

PACKAGES = ("Flask", "Werkzeug", "gunicorn", "gevent", "kazoo", "Authlib")


class Stage(Protocol):
    """How one stage ended."""

    stage: str
    outcome: str
    seconds: float
    passed: int
    failed: int
    told: list[tuple[str, str]]


def write(file: Path, stages: Sequence[Stage], seed: int) -> None:
    """Write the report of *stages* into *file*, as Markdown."""
    lines = [
        f"Run of {datetime.now(timezone.utc):%Y-%m-%d} at commit {_commit()}, seed {seed}; "
        f"{_machine()}.",
        "",
        "| stage | outcome | tests | minutes |",
        "|---|---|---:|---:|",
        *(
            f"| {one.stage} | {one.outcome} | {one.passed + one.failed} | {one.seconds / 60:.1f} |"
            for one in stages
        ),
        "",
        "| what | counted |",
        "|---|---|",
        *(f"| {what} | {counted} |" for one in stages for what, counted in sorted(one.told)),
    ]
    file.write_text("\n".join(lines) + "\n")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
