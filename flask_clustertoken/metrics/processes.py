"""Processes: one folder in which all processes of a server count, those of before included.

A scrape meets one worker of several, and workers come and go (``max_requests``). What each counted
lies in files of its own that prometheus-client adds up (its *multiprocess mode*), so no counter
ever falls back. Files of processes that are gone are put together here: else a server that
recycles its workers had thousands of them after a week.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

#: Names the folder; prometheus-client reads it when it is imported.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: A file of one process: what is in it, how its gauges are taken together, and whose it is.
OF_PROCESS = re.compile(r"(?P<type>counter|histogram|summary|gauge_live[a-z]*)_(?P<pid>\d+)\.db")

#: Whose files those are that were put together.
GONE = "gone"


def count_together(instance_path: str, realm: str) -> None:
    """Let this server's processes count in one folder, unless one is named already.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where it is too late for that,
    or where the folder is somebody else's.
    """
    if os.environ.get(VARIABLE):
        return
    if "prometheus_client" in sys.modules:
        raise ConfigurationError(
            VARIABLE,
            "prometheus_client was imported before it was set, and counts in each process apart.",
            "Set it to an empty folder in the server's environment, "
            "or make Metrics(app) before your own metrics are imported.",
        )
    name = sha256(f"{os.path.abspath(instance_path)}\0{realm}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"clustertoken-metrics-{os.geteuid()}-{name}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise ConfigurationError(
            VARIABLE, f"{folder} cannot be made: {error}", "Set it to a folder of the server's own."
        ) from error
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise ConfigurationError(
            VARIABLE,
            f"{folder} is there and belongs to somebody else.",
            "Remove it, or set the variable to a folder of the server's own.",
        )
    os.environ[VARIABLE] = str(folder)


class CountsFolder:
    """The folder in which this server's processes count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def settled(self) -> Iterator[None]:
        """What processes left that are gone is put together, and stays so meanwhile."""
        with open(self.path / "lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in sorted(self.path.glob("*.db")):
                found = OF_PROCESS.fullmatch(path.name)
                if found is not None and not _is_alive(int(found["pid"]), path):
                    self._put_away(path, found["type"])
            yield

    def _put_away(self, path: Path, kind: str) -> None:
        if not kind.startswith("gauge"):
            # (Killed between these two lines, its counts stand twice: a step up, and no reset.)
            self._add_up(path, self.path / f"{kind}_{GONE}.db")
        path.unlink(missing_ok=True)

    def _add_up(self, path: Path, into: Path) -> None:
        from prometheus_client import mmap_dict

        files: Any = mmap_dict.MmapedDict  # (it has no types)
        counted = list(files.read_all_values_from_file(str(path)))
        total = files(str(into))
        try:
            for key, value, *_ in counted:
                total.write_value(key, total.read_value(key)[0] + value, 0.0)
        finally:
            total.close()


def _is_alive(pid: int, path: Path) -> bool:
    """Whether the process is there that writes *path*, and not another one that got its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    began = _began_at(pid)
    try:
        # (A second: the kernel says when a process began in ticks since the machine did.)
        return began is None or began <= path.stat().st_mtime + 1
    except FileNotFoundError:
        return False


def _began_at(pid: int) -> float | None:
    """The time of day at which process *pid* began; ``None`` where the system does not say."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
    except (OSError, StopIteration, IndexError, ValueError):
        return None
    return boot + int(after_name[19]) / os.sysconf("SC_CLK_TCK")
