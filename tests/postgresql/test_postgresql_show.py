"""``scripts/run-cluster --store postgresql``, run as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.ensemble.test_show import ROOT, of_the_show
from tests.servers.ports import spare_ports
from tests.servers.unprivileged import new_folder

pytestmark = [pytest.mark.postgresql, pytest.mark.gunicorn]


def test_the_show_tells_its_story_and_leaves_nothing_behind() -> None:
    """The standby is promoted in the midst of it; what was revoked stays so, and work goes on."""
    (port,) = spare_ports(1)
    # (Not pytest's own folder: the servers' user may not look into that.)
    temporary = new_folder()
    temporary.chmod(0o755)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.cluster_show", "--store", "postgresql"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(port), "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        for words in (
            "accepted by 6 workers",
            "refused by every worker after",
            "Cutting the PostgreSQL primary off",
            "takes nothing for done",
            "the standby was promoted",
            "good on every worker",
        ):
            assert words in said, said
        assert of_the_show(temporary) == []
        assert list(temporary.iterdir()) == []
    finally:
        temporary.rmdir()
