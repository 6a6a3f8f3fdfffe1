"""Runs a command as on a slower machine. Started by ``scripts/slow``, which says how.

The control group has so much of the processors' time in each period, a short one, so that what
runs is slow all the time and does not stand still for the half of each tenth of a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: Where Linux shows control groups.
ROOT = Path("/sys/fs/cgroup")

#: Microseconds in which the share is used up and given anew.
PERIOD = 20_000

#: A page that is drawn anew some times a second.
PAGE = """<!doctype html><title>drawing</title><body><script>
const boxes = Array.from({length: 100}, () => {
  return document.body.appendChild(document.createElement("b"));
});
let round = 0;
setInterval(() => {
  round += 1;
  boxes.forEach((box, n) => {
    box.textContent = round * 7 + n;
    box.style.fontSize = `${10 + (round + n) % 30}px`;
    box.style.color = `hsl(${(round * 5 + n) % 360} 80% 50%)`;
  });
}, 200);
</script>"""


class CannotBeSlow(Exception):
    """No control group can be made; the message says what to do instead."""


class Group:
    """A control group of the older or the newer kind, with *percent* of each processor."""

    def __init__(self, percent: float, root: Path = ROOT) -> None:
        quota = round(PERIOD * (os.cpu_count() or 1) * percent / 100)
        if (root / "cpu" / "cpu.cfs_quota_us").exists():
            above = root / "cpu"
            said = {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota}
        elif (root / "cgroup.controllers").exists():
            above = root
            said = {"cpu.max": f"{quota} {PERIOD}"}
            with suppress(OSError):
                (root / "cgroup.subtree_control").write_text("+cpu")
        else:
            raise CannotBeSlow(f"no control groups for processors are at {root}")
        self._folder = above / f"slow-{os.getpid()}"
        try:
            self._folder.mkdir()
            for name, value in said.items():
                (self._folder / name).write_text(str(value))
        except OSError as error:
            self.remove()
            raise CannotBeSlow(f"no control group can be made: {error}") from error

    def join(self) -> None:
        """From here on this process has the group's share, and whatever it starts too."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self) -> list[int]:
        with suppress(OSError):
            return [int(one) for one in (self._folder / "cgroup.procs").read_text().split()]
        return []

    def remove(self, patience: float = 10.0) -> None:
        """End whatever is still in it; then it goes."""
        end = time.monotonic() + patience
        while self._folder.exists() and time.monotonic() < end:
            for pid in self.pids():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                self._folder.rmdir()
            time.sleep(0.05)


@contextmanager
def drawing(group: Group) -> Iterator[None]:
    """A browser that draws a page all the time, with its part of the share."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise CannotBeSlow("chromium is not here: install it, or say --no-browser")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder, "page.html")
        page.write_text(PAGE)
        with (Path(folder) / "log").open("wb") as log:
            browser = subprocess.Popen(
                [
                    *(program, "--headless=new", "--no-sandbox", "--disable-gpu"),
                    *("--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"),
                    # (Else it ends as soon as the page is there.)
                    *("--remote-debugging-port=0", page.as_uri()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=group.join,
                start_new_session=True,
            )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def run(command: Sequence[str], group: Group) -> int:
    """The exit status of *command*. An interrupt is its to answer."""
    process = subprocess.Popen(command, preexec_fn=group.join)

    def hand_on(number: int, _: object) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    # (A terminal tells both.)
    signal.signal(signal.SIGINT, lambda *_: None)
    return process.wait()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/slow")
    parser.add_argument("percent", type=float, help="of the speed of each processor, as 40")
    parser.add_argument("--no-browser", action="store_true", help="no page is drawn meanwhile")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = list(arguments)
    # (After the share it would be taken for the command's.)
    quiet = given[1:2] == ["--no-browser"]
    if quiet:
        del given[1]
    options = parser.parse_args(given)
    if not options.command or not 0 < options.percent <= 100:
        parser.error("a share between 0 and 100 and a command are needed")
    try:
        group = Group(options.percent)
    except CannotBeSlow as error:
        print(f"{error}. As root it works; or, with systemd,", file=sys.stderr)
        share = round(options.percent * (os.cpu_count() or 1))
        print(f"    systemd-run --user --scope -p CPUQuota={share}% COMMAND", file=sys.stderr)
        return 2
    try:
        if quiet or options.no_browser:
            return run(options.command, group)
        with drawing(group):
            return run(options.command, group)
    except (CannotBeSlow, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        group.remove()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.exit(status if status >= 0 else 128 - status)
