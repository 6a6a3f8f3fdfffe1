"""The line of cron that the docs show, as cron runs it on three servers at the same moment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rounds import rounds
from tests.shared.places import Place, looking

pytestmark = pytest.mark.processes

DOCS = Path(__file__).resolve().parents[2] / "docs"

SHOP = """
from flask import Flask
from flask_clustertoken import ClusterToken

app = Flask(__name__)
app.config.from_prefixed_env()
tokens = ClusterToken(app)
"""


def command() -> str:
    """What cron gives to the shell: without the times, and a percent sign is its own again."""
    (row,) = re.findall(r"^   0 3 \* \* \*  (.+)$", (DOCS / "shared.rst").read_text(), re.M)
    return str(row).replace("\\%", "%")


def test_the_line_runs_the_job_on_one_server_a_night(tmp_path: Path) -> None:
    """Each night one of them runs it; the line that the docs show is what is run here."""
    (tmp_path / "shop.py").write_text(SHOP)
    ran = tmp_path / "ran"
    report = tmp_path / "report"
    report.write_text(f"#!/bin/sh\necho $NIGHT >> {ran}\n")
    report.chmod(0o755)
    date = tmp_path / "date"
    date.write_text('#!/bin/sh\ntest "$*" = "-u +%F" && echo $NIGHT\n')
    date.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    text = command().replace("/opt/shop/bin/report", str(report))
    assert text != command()
    store = f"directory://{tmp_path}/shared"
    with looking(Place(store)):
        pass  # (it is there, as after the app was started)
    nights = [f"2026-12-{day:02}" for day in range(1, 1 + rounds(2, 5))]
    for night in nights:
        env = {
            **os.environ,
            "PATH": path,
            "NIGHT": night,
            "FLASK_CLUSTERTOKEN_STORE": store,
        }
        servers = [
            subprocess.Popen(["sh", "-c", text], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        assert [one.communicate(timeout=300)[0] for one in servers] == [b"", b"", b""]
        assert [one.returncode for one in servers] == [0, 0, 0]
    assert ran.read_text().split() == nights
