"""The folder of the embedded store: may it be used, and may anything be made in it?"""

from __future__ import annotations

import os
import stat

from ...errors import ConfigurationError, StoreUnavailable
from ..base import Remark

#: File systems where another machine may write too. Locks and shared memory, on which the
#: embedded store rests, do not hold between machines there.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb2",
        "smb3",
        "smbfs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.davfs",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.lustre",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.smbnetfs",
        "fuse.sshfs",
    }
)

_README = """\
This folder is the shared store of a Flask-ClusterToken app, one set of files a realm:

  <realm>.sqlite3        the database: logins, API tokens, revocations, the list of nodes
  <realm>.sqlite3-wal    what was written last and is not in the database file yet
  <realm>.sqlite3-shm    how the processes find their way in the -wal file
  <realm>.head           the number of the last revocation, shared by all processes
  *.damaged-<time>       a database that could not be read and was set aside

While the app runs: do not copy, replace or delete any of these files, and do not keep them
on a network file system. Look into the database, and back it up, only like this:

  sqlite3 -readonly <realm>.sqlite3 ".backup '/somewhere/else/<realm>.sqlite3'"

To restore: stop the app on this host, delete <realm>.sqlite3, -wal and -shm, put the copy in
place as <realm>.sqlite3, leave <realm>.head as it is, start the app, and run
"flask tokens restored". Without a backup everyone signs in again and API tokens are lost.
"""


def _mount_table() -> str:
    """What is mounted where, in Linux's words; empty on other systems."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return table.read()
    except OSError:
        return ""


def _file_system(path: str) -> str:
    """The type of the file system that holds *path*, ``""`` where the system does not say."""
    best, kind = "", ""
    for line in _mount_table().splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = fields[4]
        for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, sign)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one is seen.
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


def _nearest(path: str) -> str:
    """*path*, or the closest folder above it that exists."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def may_create(folder: str) -> None:
    """Raises :class:`StoreUnavailable` where files made now would belong to the wrong user.

    A command line run as root must not leave files behind that the app cannot open.
    """
    owner = os.stat(_nearest(folder)).st_uid
    if os.geteuid() == 0 and owner != 0:
        raise StoreUnavailable(
            f"{folder} belongs to the user with id {owner} and the store's files are not there "
            f"yet: as root nothing is created in it. Start the app first, or run this as that user."
        )


def no_file_in_the_way(folder: str) -> None:
    """Raises :class:`ConfigurationError` where a file is what *folder*, or a part of it, names.

    Opens nothing, so that it can be said before the start: no waiting would help.
    """
    nearest = _nearest(folder)
    if not os.path.isdir(nearest):
        raise ConfigurationError("STORE", f"{nearest} is not a folder.", "Choose another path.")


def prepare(folder: str, *, create: bool) -> None:
    """Make *folder* if *create* says so, and refuse one that cannot keep what it is given.

    Raises :class:`ConfigurationError` for a network file system or a folder that everybody
    may write, :class:`StoreUnavailable` where it is missing or cannot be made.
    """
    kind = _file_system(os.path.realpath(_nearest(folder)))
    if kind in NETWORK_FILE_SYSTEMS:
        raise ConfigurationError(
            "STORE",
            f"{folder} is on a network file system ({kind}), where the embedded store is not safe.",
            "Choose a folder on a local disk of this host, or for several hosts a server: "
            "zookeeper://h1:2181,h2:2181/root",
        )
    no_file_in_the_way(folder)
    if not os.path.exists(folder):
        if not create:
            raise StoreUnavailable(f"the folder {folder} is not there any more")
        may_create(folder)
        os.makedirs(folder, mode=0o700, exist_ok=True)
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigurationError(
            "STORE", f"everybody may write in {folder}.", f"Run: chmod 700 {folder}"
        )


def create_file(path: str) -> None:
    """An empty *path* that only its owner may read, if it is not there yet."""
    may_create(os.path.dirname(path))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return


def explain(folder: str) -> None:
    """Put the note for the operator into *folder* where it is missing."""
    path = os.path.join(folder, "README.txt")
    try:
        if not os.path.exists(path):
            create_file(path)
            with open(path, "w", encoding="utf-8") as note:
                note.write(_README)
    except (OSError, StoreUnavailable):
        return  # the store works without its note


def remarks(folder: str) -> list[Remark]:
    """What the operator ought to know of *folder*, which is there."""
    found = []
    if os.stat(folder).st_mode & (stat.S_IROTH | stat.S_IXOTH | stat.S_IWOTH):
        found.append(
            Remark(
                "warning",
                f"every user of this host can look into {folder}",
                f"Run: chmod 700 {folder}",
            )
        )
    for name in sorted(os.listdir(folder)):
        if ".damaged-" in name:
            found.append(
                Remark(
                    "warning",
                    f"{name} was set aside because it could not be read",
                    "Put a backup back if there is one (README.txt says how), or delete it.",
                )
            )
    return found
