"""``scripts/run-example`` ends with its terminal, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.servers.ports import spare_ports
from tests.waiting import wait_until

from .server import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.gunicorn]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def group_of(leader: int) -> list[int]:
    """The processes of the session that *leader* began, zombies aside."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            words = (one / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z" and words[3] == str(leader):
            found.append(int(one.name))
    return found


@pytest.mark.parametrize("how", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_the_example_ends_with_its_terminal(how: str, tmp_path: Path) -> None:
    """Closed, Ctrl-C or told to end: gunicorn and its workers go, and it does not just reload."""
    (port,) = spare_ports(1)
    # The script, but with the environment that these tests run in.
    script = (ROOT / "scripts" / "run-example").read_text()
    for words, instead in (
        ('cd "$(dirname "$0")/.."', ""),
        ("sh scripts/venv example", ""),
        ("${VENV:-.venv}/bin/python", "$PY"),
    ):
        assert words in script
        script = script.replace(words, instead)
    (tmp_path / "run-example").write_text(script)
    started = subprocess.Popen(
        ["sh", str(tmp_path / "run-example")],
        cwd=ROOT,
        env={
            **os.environ,
            "PORT": str(port),
            "WORKERS": "2",
            "PY": sys.executable,
            "INSTANCE": str(tmp_path / "instance"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(port), 60)
        # As a terminal does: to the whole group.
        os.killpg(started.pid, getattr(signal, how))
        started.wait(30)
        wait_until(lambda: group_of(started.pid) == [], 10)
    finally:
        for pid in group_of(started.pid):
            os.kill(pid, signal.SIGKILL)
        started.wait(10)
