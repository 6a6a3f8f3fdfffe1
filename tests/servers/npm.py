"""What the tests load from npm: fetched once, and anew when the versions change."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.servers.running import CannotRun

#: What was fetched lies below here, in a folder for each ``package-lock.json``.
BUILD = Path(__file__).resolve().parent.parent.parent / "build"


def fetch(here: Path, name: str, *also: str) -> Path:
    """Let npm fetch what *here*/package-lock.json names, unless it is there; gives the folder.

    It has the files *also* of *here* beside it. Raises :class:`CannotRun` where npm is not
    installed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise CannotRun(f"this test needs the program {program!r}, which is not here")
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        # (Tests run side by side, and half of what one fetches is of no use to another.)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for one in also:
            shutil.copy(here / one, folder)
        fetched = folder / "fetched.json"
        wanted = (here / "package-lock.json").read_bytes()
        if fetched.exists() and fetched.read_bytes() == wanted:
            return folder
        for one in ("package.json", "package-lock.json"):
            shutil.copy(here / one, folder / one)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, timeout=180, stdin=subprocess.DEVNULL)
        fetched.write_bytes(wanted)
    return folder
