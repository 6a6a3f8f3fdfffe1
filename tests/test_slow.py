"""``scripts/slow``: a command gets a share of the machine, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import slow  # noqa: E402


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """What Linux shows of control groups of the first kind."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    return tmp_path


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    return tmp_path


def written(folder: Path) -> dict[str, str]:
    (made,) = folder.glob("slow-*")
    return {one.name: one.read_text() for one in made.iterdir()}


def test_the_share_is_of_all_processors(older: Path) -> None:
    """Two of them at 40 % have 80 % of one, in the units of the older kind."""
    slow.Group(40, older).join()

    said = written(older / "cpu")
    share = int(said["cpu.cfs_quota_us"]) / int(said["cpu.cfs_period_us"])
    assert share == pytest.approx(0.4 * (os.cpu_count() or 1))
    assert said["cgroup.procs"] == str(os.getpid())


def test_the_newer_kind_of_groups(newer: Path) -> None:
    """The same in one file."""
    slow.Group(25, newer).join()

    quota, period = map(int, written(newer)["cpu.max"].split())
    assert quota / period == pytest.approx(0.25 * (os.cpu_count() or 1))


@pytest.fixture
def without_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = slow.Group
    monkeypatch.setattr(slow, "Group", lambda percent: made(percent, tmp_path))


def test_without_groups_it_says_what_to_do(
    without_groups: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never runs the command at full speed and lets that pass for slow."""
    assert slow.main(["40", "touch", "/nowhere/file"]) == 2

    share = round(40 * (os.cpu_count() or 1))
    assert f"systemd-run --user --scope -p CPUQuota={share}% COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["40"], ["0", "true"], ["140", "true"], ["--no-browser"]])
def test_a_share_and_a_command_are_needed(arguments: list[str]) -> None:
    """Anything else is told, with the exit status of a wrong call."""
    with pytest.raises(SystemExit) as wrong:
        slow.main(arguments)
    assert wrong.value.code == 2


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_status_is_the_commands(older: Path, status: int) -> None:
    """And so is what it is told."""
    text = (
        "import sys, pathlib; sys.path.insert(0, 'scripts'); import slow; made = slow.Group\n"
        f"slow.Group = lambda percent: made(percent, pathlib.Path({str(older)!r}))\n"
        "made.remove = lambda self: None\n"
        "sys.exit(slow.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", text, "40", "--no-browser", "sh", "-c", f"exit {status}"]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == status
    assert written(older / "cpu")["cgroup.procs"].isdecimal()
