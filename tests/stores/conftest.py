"""A folder for the embedded store, and handles on it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores.directory import DirectoryStore

from .folders import Open


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def open_(folder: Path, clock: ManualClock) -> Iterator[Open]:
    """Gives handles on the store in *folder* and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def make(path: Path = folder, timeout: float = 5.0) -> DirectoryStore:
            store = DirectoryStore(path, clock=clock, timeout=timeout)
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder whose parents everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="clustertoken-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
