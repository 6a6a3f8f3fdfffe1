"""A process that does one thing with shared data, and says what came of it.

``python -m tests.shared.worker URL REALM SHIFT WHAT …``: each line that it prints is a fact that
is true when it is printed. Its wall clock is *SHIFT* seconds ahead of the host's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, Clock, SystemClock
from flask_clustertoken.errors import FileChanged, StoreError, StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.shared.upload import GRACE
from tests.rounds import FULL

Answer = TypeVar("Answer")

#: Seconds between two reads of one process.
PAUSE = 0.0 if FULL else 0.02


def insisting(call: Callable[[], Answer]) -> Answer:
    """The answer, however often a store that is short of time has to be asked for it: as an app
    does it that is told that what it asked for may have been done, or may not."""
    while True:
        with suppress(StoreUnavailable):
            return call()


class Shifted(SystemClock):
    """A host's clock that somebody has set."""

    def __init__(self, ahead: float) -> None:
        self.time = lambda: time.time() + ahead  # type: ignore[method-assign]


def update(node: TokenAuthority, name: str, count: str) -> None:
    """Add *count* numbers to one list."""
    data = node.shared("lists")
    for number in range(int(count)):
        mine = [int(name), number]

        def change(found: list[list[int]], mine: list[int] = mine) -> list[list[int]]:
            return found if mine in found else [*found, mine]

        insisting(lambda change=change: data.update("all", change, []))  # type: ignore[misc]
    print("done", flush=True)


def once(node: TokenAuthority, log: str, slots: str) -> None:
    """At a word, ask for each slot; run it by adding a line to *log*."""
    data = node.shared("tasks")
    print("ready", flush=True)
    sys.stdin.readline()
    for slot in range(int(slots)):
        if insisting(lambda slot=slot: data.once("task", str(slot))):  # type: ignore[misc]
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{slot}\n")
    print("done", flush=True)


def hold(node: TokenAuthority, key: str, seconds: str, log: str) -> None:
    """Take the lease, waiting for it; say the fence, and whether it is held, until the end.

    As long as it is held, acts: a line in *log* with the fence and the moment *before* the look.
    """
    node.store.root()
    print("asks", flush=True)
    with node.shared("tasks").lease(key, float(seconds), wait=3600) as lease:
        over = threading.Event()

        def act() -> None:
            with open(log, "a", encoding="ascii", buffering=1) as file:
                while not over.is_set():
                    at = time.monotonic()
                    if lease.held:
                        file.write(f"{lease.fence} {at!r}\n")
                    over.wait(0.005)

        acting = threading.Thread(target=act, daemon=True)
        acting.start()
        print(f"fence {lease.fence}", flush=True)
        for _ in sys.stdin:
            print("held" if lease.held else "lost", flush=True)
        over.set()
        acting.join()


def schedule(node: TokenAuthority, log: str) -> None:
    """The scheduler that the docs show, as each server has one, with a slot for each second."""
    where = Path(__file__).resolve().parents[2] / "docs" / "examples" / "scheduled.py"
    spec = importlib.util.spec_from_file_location("scheduled", where)
    assert spec is not None
    assert spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    for name, value in (("STORE", node.settings.store), ("REALM", node.settings.realm)):
        os.environ[f"FLASK_CLUSTERTOKEN_{name}"] = value
    os.environ["FLASK_CLUSTERTOKEN_SECRET"] = json.dumps(node.settings.secret)
    spec.loader.exec_module(example)

    def run(text: str) -> None:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{text.split()[-1]} {os.getpid()}\n")

    example.EVERY, example.report.__defaults__ = 1, (run,)
    example.start()
    print("ready", flush=True)
    threading.Event().wait()


def store(node: TokenAuthority, seed: str, pause: str = "0") -> None:
    """Store files under three names, over and over, with *pause* seconds between two."""
    files, size = node.files("many"), 0
    while True:
        size = (size + 110_001) % 450_000
        body = sha256(f"{seed} {size}".encode()).digest() * (size // 32)
        insisting(lambda key=f"file-{size % 3}", body=body: files.put(key, body))  # type: ignore[misc]
        print("stored", flush=True)
        time.sleep(float(pause))


def read(node: TokenAuthority, seed: str) -> None:
    """Read those files, each whole, and delete one now and then, until there is a word for us."""
    over = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    files, done, turn = node.files("many"), 0, 0
    while not over.wait(PAUSE):
        turn += 1
        key = f"file-{turn % 3}"
        try:
            with files.open(key) as opened:
                body, info = opened.read(), opened.info
        except (FileNotFoundError, FileChanged, StoreUnavailable):
            continue
        assert len(body) == info.size, key
        assert sha256(body).hexdigest() == info.sha256, key
        assert body == body[:32] * (len(body) // 32), key
        done += 1
        if turn % 7 == int(seed):
            insisting(lambda key=key: files.delete(key))  # type: ignore[misc]
    print(f"read {done}", flush=True)


def sweep(node: TokenAuthority) -> None:
    """Sweep what was replaced or deleted, as if its readers had had their time."""
    clock: Clock = Shifted(GRACE + 2 * SKEW)
    print("sweeping", flush=True)
    while True:
        insisting(lambda: sweep_files(node.store, clock))
        time.sleep(0.1)


def main() -> None:
    url, realm, shift, what, *arguments = sys.argv[1:]
    settings = Settings(store=url, realm=realm, secret=("k" * 40,), files_total=16 * 1024**3)
    node = TokenAuthority(settings, active=False, clock=Shifted(float(shift)))
    calls: dict[str, Callable[..., None]] = {
        one.__name__: one for one in (update, once, hold, schedule, store, read, sweep)
    }
    try:
        calls[what](node, *arguments)
    except StoreError as error:
        print(f"trouble {error}", flush=True)
        raise
    finally:
        node.close()


if __name__ == "__main__":
    main()
