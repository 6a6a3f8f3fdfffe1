"""A process that does one thing with shared data, and says what came of it.

``worker.py URL REALM WHAT …``: each line that it prints is a fact that is true when it is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import FileChanged, StoreError
from flask_clustertoken.settings import Settings


def update(node: TokenAuthority, name: str, count: str) -> None:
    """Add *count* numbers to one list."""
    data = node.shared("lists")
    for number in range(int(count)):
        mine = [int(name), number]
        data.update("all", lambda found, mine=mine: [*found, mine], [])  # type: ignore[misc]
    print("done", flush=True)


def once(node: TokenAuthority, log: str, slots: str) -> None:
    """Ask for each slot; run it by adding a line to *log*."""
    data = node.shared("tasks")
    print("ready", flush=True)
    for slot in range(int(slots)):
        if data.once("task", str(slot)):
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{slot}\n")
    print("done", flush=True)


def hold(node: TokenAuthority, seconds: str) -> None:
    """Take the lease, waiting for it; say the fence, and whether it is held, until the end."""
    with node.shared("tasks").lease("lease", float(seconds), wait=3600) as lease:
        print(f"fence {lease.fence}", flush=True)
        for _ in sys.stdin:
            print("held" if lease.held else "lost", flush=True)


def schedule(node: TokenAuthority, log: str) -> None:
    """A scheduler as each server has one: a task for each second, until the end."""
    from apscheduler.schedulers.blocking import BlockingScheduler

    data = node.shared("tasks")

    def run() -> None:
        slot = datetime.now(timezone.utc).replace(microsecond=0)
        if data.once("task", slot):
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{slot:%H:%M:%S} {os.getpid()}\n")

    scheduler = BlockingScheduler(timezone="UTC")
    scheduler.add_job(run, "cron", second="*", misfire_grace_time=1)
    print("ready", flush=True)
    scheduler.start()


def store(node: TokenAuthority, seed: str) -> None:
    """Store files under three names, over and over."""
    files, size = node.files("many"), 0
    while True:
        size = (size + 110_001) % 450_000
        body = sha256(f"{seed} {size}".encode()).digest() * (size // 32)
        files.put(f"file-{size % 3}", body)
        print("stored", flush=True)


def read(node: TokenAuthority, seed: str, count: str) -> None:
    """Read those files, each whole; delete one now and then."""
    files, done = node.files("many"), 0
    for turn in range(100_000):
        if done >= int(count):
            break
        key = f"file-{turn % 3}"
        try:
            with files.open(key) as opened:
                body, info = opened.read(), opened.info
        except (FileNotFoundError, FileChanged):
            continue
        assert len(body) == info.size, key
        assert sha256(body).hexdigest() == info.sha256, key
        assert body == body[:32] * (len(body) // 32), key
        done += 1
        if turn % 7 == int(seed):
            files.delete(key)
    print(f"read {done}", flush=True)


def main() -> None:
    url, realm, what, *arguments = sys.argv[1:]
    settings = Settings(store=url, realm=realm, secret=("k" * 40,), files_total=16 * 1024**3)
    node = TokenAuthority(settings, active=False)
    calls: dict[str, Callable[..., None]] = {
        one.__name__: one for one in (update, once, hold, schedule, store, read)
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
