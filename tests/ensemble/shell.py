"""The command line as a user has it: a real process, its code, and what it said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_clustertoken.stores import open_store
from tests.gunicorn.server import ROOT, GunicornServer

SECRET = "one key for every host of the test, long enough"


@dataclass(frozen=True)
class Said:
    """What a command said, how it ended, and after how many seconds."""

    code: int
    out: str
    err: str
    took: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def begin(url: str) -> None:
    """What the first start of an app does, and no command: make the store."""
    with open_store(url) as store:
        store.root()


def launch(url: str, *words: str, key_file: Path | None = None, **more: str) -> Any:
    """``python -m flask_clustertoken``, started; *more* are options before the command."""
    command = [sys.executable, "-m", "flask_clustertoken", "--store", url]
    if key_file is not None:
        command += ["--secret-file", str(key_file)]
    for name, value in more.items():
        command += [f"--{name}", value]
    return subprocess.Popen(
        [*command, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tokens(
    url: str, *words: str, key_file: Path | None = None, timeout: float = 60.0, **more: str
) -> Said:
    """The same, until its end."""
    start = time.monotonic()
    process = launch(url, *words, key_file=key_file, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return Said(process.returncode, out, err, time.monotonic() - start)


class Host(GunicornServer):
    """gunicorn with the example on a store that others share: ready once its workers are fresh."""

    def start(self) -> None:
        self.start_unready()
        self.wait_fresh()


def host(
    folder: Path, url: str, name: str, *options: str, workers: int = 2, **more: object
) -> Host:
    """A host called *name* with its own instance folder; *more* are settings."""
    home = folder / name
    home.mkdir(exist_ok=True)
    given = {"STORE": url, **({} if "SECRET_FILE" in more else {"SECRET": SECRET}), **more}
    return Host(home, *options, workers=workers, node=name, settings=given)
