"""Types: programs as their authors write them pass ``mypy --strict``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "tests" / "typing").glob("*.py"))


def check(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.processes
def test_programs_of_users_are_typed(tmp_path: Path) -> None:
    """Decorators keep a view's type, and no call needs a cast or an ignore."""
    pytest.importorskip("mypy")

    done = check("--follow-imports=silent", *map(str, PROGRAMS), cache=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_mistakes_of_users_are_found(tmp_path: Path) -> None:
    """What would be wrong at run time is wrong to mypy: a kind, a subject, a proxy as a text."""
    pytest.importorskip("mypy")
    program = tmp_path / "mistakes.py"
    program.write_text(
        "from flask_clustertoken import ClusterToken, current_token, token_required\n"
        "tokens = ClusterToken()\n"
        "tokens.login(1)\n"
        'token_required(kind="robot")\n'
        "name: str = current_token.subject\n"
        "tokens.logout().seq\n"
    )

    done = check("--follow-imports=silent", str(program), cache=tmp_path / "cache")

    wrong = [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line]
    assert wrong == ["3", "4", "5", "6"], done.stdout
