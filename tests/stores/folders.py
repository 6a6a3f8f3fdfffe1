"""What the tests of the embedded store do with its folder, also as somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flask_clustertoken.stores.base import NewEntry, Put
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.testing.contract import in_a_child

NOBODY = 65534
Open = Callable[..., DirectoryStore]


def entry(name: str) -> NewEntry:
    return NewEntry(name, b"body of " + name.encode(), None)


def fill(store: DirectoryStore, count: int = 40) -> str:
    """Write records and entries; returns the epoch."""
    for number in range(count):
        store.append([entry(f"e{number}")], [Put(f"record/{number}", b"v" * 200, None)])
    return store.root().epoch


def database(folder: Path) -> Path:
    return folder / "default.sqlite3"


def by_another_process(code: str, *arguments: object) -> None:
    """Run *code* elsewhere: opening a database's file here would drop SQLite's own locks."""
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, timeout=30)


def as_nobody(work: Callable[[], bool]) -> bool:
    """What *work* answers for a user without rights: in a child, which gives root's up."""

    def child() -> bool:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return work()

    return in_a_child(child)
