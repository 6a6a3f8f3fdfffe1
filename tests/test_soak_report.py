"""What the full run writes down: each stage by itself, and no failure over what passed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import soak_report
import stages


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(soak_report, "_server", lambda stage: "Valkey 9.1.2")
    return tmp_path / "soak.md"


def ended(outcome: str, counted: str, stage: str = "redis") -> stages.Result:
    return stages.Result(stage, outcome, 120.0, passed=3, told=[("no fault", counted)])


def write(file: Path, *results: stages.Result, only: tuple[str, ...] = ()) -> str:
    soak_report.write(file, results, 7, "abc1234", only)
    return file.read_text()


def test_a_stage_that_was_run_anew_replaces_itself(file: Path) -> None:
    """And leaves the others as they were."""
    write(file, ended("passed", "rounds 1"), ended("passed", "rounds 2", "cluster"))
    said = write(file, ended("passed", "rounds 3"))
    assert "rounds 1" not in said
    assert "| redis | no fault | rounds 3 |" in said
    assert "| cluster | no fault | rounds 2 |" in said
    assert said.count("| redis | passed | 3 | 2.0 |") == 1
    assert "| abc1234 | 7 |" in said
    assert "Valkey 9.1.2" in said


def test_a_failure_replaces_nothing_that_passed(file: Path) -> None:
    """It stands there where nothing did."""
    write(file, ended("passed", "rounds 1"))
    assert "rounds 1" in write(file, ended("failed (not done after 900 s)", "rounds 2"))
    said = write(file, ended("failed (not done after 900 s)", "rounds 2", "cluster"))
    assert "| cluster | failed (not done after 900 s) |" in said
    assert "| cluster | passed |" in write(file, ended("passed", "rounds 3", "cluster"))


def test_a_part_stands_beside_the_whole(file: Path) -> None:
    """By the words that chose it."""
    write(file, ended("passed", "rounds 1"))
    said = write(file, ended("passed", "rounds 10,000"), only=("-k", "random"))
    assert "| redis | no fault | rounds 1 |" in said
    assert "| redis -k random | no fault | rounds 10,000 |" in said


def test_another_server_has_a_row_of_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it says of itself, not by where its programs lie."""
    write(file, ended("passed", "rounds 1"))
    monkeypatch.setenv("CLUSTERTOKEN_TEST_REDIS", "valkey-server")
    said = write(file, ended("passed", "rounds 2"))
    assert "| redis | no fault | rounds 1 |" in said
    assert "| redis (Valkey 9.1.2) | no fault | rounds 2 |" in said


def test_the_report_itself_makes_nothing_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several stages each would change it under the next one."""

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(soak_report, "ROOT", tmp_path)
    report, code = tmp_path / "docs" / "soak.md", tmp_path / "code.py"
    report.parent.mkdir()
    for one in (report, report.with_suffix(".json"), code):
        one.write_text("before")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    clean = git("rev-parse", "--short", "HEAD")
    report.write_text("after")
    report.with_suffix(".json").write_text("after")
    assert soak_report.commit(report) == clean
    assert soak_report.commit(None) == f"{clean}-dirty"
    code.write_text("after")
    assert soak_report.commit(report) == f"{clean}-dirty"
