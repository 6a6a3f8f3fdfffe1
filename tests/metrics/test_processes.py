"""What processes counted that are gone: put together, never twice, never taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.metrics import processes
from flask_clustertoken.metrics.processes import VARIABLE, CountsFolder, count_together

#: A process that counts what it is told to, and ends.
COUNTS = """
import sys
from prometheus_client import Counter, Gauge, Histogram
seen = Counter("seen", "-", ["kind"], registry=None)
seen.labels("a").inc(int(sys.argv[1]))
Histogram("took", "-", registry=None, buckets=(1.0,)).observe(0.5)
Gauge("here", "-", registry=None, multiprocess_mode="liveall").set(1)
"""


def count(folder: Path, number: int) -> None:
    """A process counts *number* and is gone."""
    subprocess.run(
        [sys.executable, "-c", COUNTS, str(number)],
        env={**os.environ, VARIABLE: str(folder)},
        check=True,
        timeout=60,
    )


def told(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return {sample.name: sample.value for one in registry.collect() for sample in one.samples}


def test_the_counts_of_processes_that_are_gone_are_kept_in_one_file(tmp_path: Path) -> None:
    """However many have been there: no counter falls back, and no folder fills up."""
    for number in (1, 2, 3):
        count(tmp_path, number)
    before = told(tmp_path)
    assert before["seen_total"] == 6
    for _ in range(2):  # (the second time there is nothing left to do)
        with CountsFolder(tmp_path).settled():
            after = told(tmp_path)
    assert after["seen_total"] == 6
    assert after["took_count"] == 3
    assert after["took_sum"] == 1.5
    assert "here" not in after, "what lives with its process is gone with it"
    names = sorted(path.name for path in tmp_path.glob("*.db"))
    assert names == ["counter_gone.db", "histogram_gone.db"]
    count(tmp_path, 10)
    with CountsFolder(tmp_path).settled():
        assert told(tmp_path)["seen_total"] == 16


def test_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    """Its files are open: what it counts later must not be lost."""
    count(tmp_path, 1)
    mine = tmp_path / f"counter_{os.getpid()}.db"
    next(tmp_path.glob("counter_*.db")).rename(mine)
    with CountsFolder(tmp_path).settled():
        assert mine.exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_process_that_got_the_number_of_one_that_is_gone_is_another(tmp_path: Path) -> None:
    """Else its gauge would say for ever that a worker is stale."""
    count(tmp_path, 1)
    old = tmp_path / f"gauge_liveall_{os.getpid()}.db"
    next(tmp_path.glob("gauge_*.db")).rename(old)
    os.utime(old, (0, 0))  # it was written long before this process began
    with CountsFolder(tmp_path).settled():
        assert not old.exists()


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that all users share, a name can be taken before us."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "prometheus_client")
    monkeypatch.setattr(processes.tempfile, "gettempdir", lambda: str(tmp_path))
    count_together("/srv/app", "default")
    (folder,) = tmp_path.iterdir()
    assert os.environ.pop(VARIABLE) == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}.*somebody else"):
        count_together("/srv/app", "default")
    folder.rmdir()
    folder.symlink_to("/")
    with pytest.raises(ConfigurationError, match=VARIABLE):
        count_together("/srv/app", "default")
    assert VARIABLE not in os.environ


def test_too_late_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library decides at its import whether processes are counted together."""
    monkeypatch.delenv(VARIABLE, raising=False)
    import prometheus_client  # noqa: F401

    with pytest.raises(ConfigurationError, match=r"imported before.*Set it to an empty folder"):
        count_together("/srv/app", "default")


def test_a_folder_that_is_named_is_the_operator_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken as it is."""
    monkeypatch.setenv(VARIABLE, "/run/counts")
    count_together("/srv/app", "default")
    assert os.environ[VARIABLE] == "/run/counts"
