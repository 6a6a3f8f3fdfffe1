"""``scripts/run-cluster --store redis``, run as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ensemble.test_show import ROOT, of_the_show
from tests.servers.ports import spare_ports

pytestmark = [pytest.mark.redis, pytest.mark.gunicorn]


def test_the_show_tells_its_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The primary dies in the midst of it; what was revoked stays so, and work goes on."""
    (port,) = spare_ports(1)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cluster_show", "--store", "redis"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for words in (
        "accepted by 6 workers",
        "refused by every worker after",
        "Killing the Redis server that leads",
        "the server is back",
        "good on every worker",
    ):
        assert words in said, said
    assert of_the_show(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
