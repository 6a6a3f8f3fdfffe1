"""As whom PostgreSQL and PgBouncer run in the tests, and where: both refuse to run as root."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.running import CannotRun


@functools.cache
def programs() -> Path:
    """The folder with PostgreSQL's own programs: Debian keeps them out of the PATH.

    ``CLUSTERTOKEN_TEST_POSTGRESQL`` names that of another version.
    """
    wished = os.environ.get("CLUSTERTOKEN_TEST_POSTGRESQL")
    if wished:
        return Path(wished)
    folders = sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda one: float(one.split("/")[4])
    )
    for folder in [*reversed(folders), *os.environ.get("PATH", os.defpath).split(":")]:
        if os.access(Path(folder, "initdb"), os.X_OK):
            return Path(folder)
    raise CannotRun("the PostgreSQL tests need the program 'initdb', which is not here")


@functools.cache
def somebody() -> pwd.struct_passwd | None:
    """Whom the servers run as, where the tests run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotRun("PostgreSQL does not run as root, and there is no user postgres or nobody")


def as_somebody() -> dict[str, Any]:
    """For :mod:`subprocess`: as whom, in which surroundings."""
    user = somebody()
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    how: dict[str, Any] = {"env": {**kept, "LC_ALL": "C"}, "stdin": subprocess.DEVNULL}
    if user is not None:
        how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return how


#: Bytes that have to be free in memory for servers to be put there.
ROOM = 2 << 30


def new_folder(*, disk: bool = False) -> Path:
    """A folder of its own for whoever runs the servers, in one that lets them through.

    In memory, where there is room: a server is a thousand files, which a busy disk makes and
    removes for half a minute. *disk*: not there, for whoever measures.
    """

    def lets_through(folder: Path) -> bool:
        return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))

    user = somebody()
    places = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]
    memory = Path("/dev/shm")
    if not disk and memory.is_dir() and shutil.disk_usage(memory).free > ROOM:
        places.insert(0, memory)
    place = next(
        (one for one in places if one.is_dir() and (user is None or lets_through(one))), None
    )
    if place is None:
        raise CannotRun(f"no folder for temporary files lets the user {user and user.pw_name} in")
    folder = Path(tempfile.mkdtemp(prefix="clustertoken-pg-", dir=place))
    give(folder)
    return folder


def give(path: Path) -> None:
    user = somebody()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def run(*command: str | Path, timeout: float = 120.0) -> str:
    """Run one of PostgreSQL's programs to its end; what it said."""
    name, *rest = map(str, command)
    done = subprocess.run(
        [str(programs() / name), *rest],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **as_somebody(),
    )
    if done.returncode:
        raise CannotRun(f"{name} failed: {done.stdout[-1500:]}")
    return done.stdout
