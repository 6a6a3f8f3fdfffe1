"""The show of the README, run as a person runs it; it ends with its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.ports import spare_ports
from tests.waiting import wait_until

pytestmark = [pytest.mark.zookeeper, pytest.mark.gunicorn]

ROOT = Path(__file__).parents[2]


def of_the_show(temporary: Path) -> list[str]:
    """The command lines of processes that work in *temporary*."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (one / "environ").read_bytes(), (one / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={temporary}".encode() in environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_the_show_tells_its_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A login is good everywhere, a log-out is one everywhere, a server dies meanwhile; and when
    the terminal is closed every process ends and every file goes."""
    (port,) = spare_ports(1)
    told = tmp_path / "told"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with told.open("wb") as output:
        show = subprocess.Popen(
            [sys.executable, "-m", "scripts.cluster_show", "--stay"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(port), "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: show.poll() is not None or "Ctrl-C" in told.read_text(), 120)
        said = told.read_text()
        assert show.poll() is None, said
        for words in (
            "accepted by 6 workers",
            "refused by every worker after",
            "Killing the ZooKeeper server that leads",
            "the server is back",
            "good on every worker",
        ):
            assert words in said, said
        assert of_the_show(temporary)

        show.send_signal(signal.SIGHUP)

        assert show.wait(60) == 128 + signal.SIGHUP
    finally:
        show.kill()
        show.wait(10)
    wait_until(lambda: of_the_show(temporary) == [])
    assert list(temporary.iterdir()) == []
